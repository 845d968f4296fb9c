"""Read the tables that come with a data set."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError

REPLACE: Final = "download it again, or move it away"
"""What to do with a file of the data set that is not as it should be."""


def rows_of(table: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a table: number, and the fields of these columns.

    Raises:
        UsageError: It cannot be read, or lacks a column.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"has no column {', '.join(missing)}", where=table, do=REPLACE)
            for row in reader:
                yield reader.line_num, {name: (row[name] or "").strip() for name in columns}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable_table(table, error, REPLACE) from error


def unreadable_table(
    table: Path, error: Exception, do: str, *, folder: str = "rename it, or move it away"
) -> UsageError:
    """Return the error for a CSV file that cannot be read.

    Args:
        table: The file.
        error: What reading it raised.
        do: What to do where its content is no CSV.
        folder: What to do where it is a folder.
    """
    if isinstance(error, IsADirectoryError):
        return UsageError("is a folder, expected a table (CSV)", where=table, do=folder)
    if isinstance(error, OSError):
        return UsageError(
            f"cannot be read ({error.strerror})",
            where=table,
            do="check its path and its permissions",
        )
    if "field limit" in str(error):
        return UsageError(
            f"has a field of more than {csv.field_size_limit():,} characters",
            where=table,
            do="look for a quotation mark that is never closed",
        )
    return UsageError(f"cannot be read ({error})", where=table, do=do)


def is_part(name: str) -> bool:
    """Return whether a text can be the name of one file or folder, and leads nowhere else."""
    return name.strip() not in ("", ".", "..") and {"/", "\\", "\0"}.isdisjoint(name)


def refuse_paths(names: Iterable[str]) -> None:
    """Raise ValueError where one of the names of folders is a path."""
    for name in names:
        if not is_part(name):
            raise ValueError(f"{name!r} is no name of a folder")
