"""Read the tables that come with a data set."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError

REPLACE: Final = "download it again, or move it away"


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
        raise UsageError(f"cannot be read ({error})", where=table, do=REPLACE) from error
