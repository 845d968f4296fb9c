"""Read `results.jsonl`: which lines it has, which of them stand, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.runtime.prediction.results.result import SCHEMA_VERSION, Result

JSONL: Final = "results.jsonl"

_LONGEST: Final = 1 << 20  # bytes; a line of ours has some 5,000
_START: Final = f'{{"schema_version": {SCHEMA_VERSION}, "scan": "'.encode()
_OTHER: Final = "choose another folder"


class Lines:
    """The results of an open file, from its start, one at a time.

    Args:
        file: `results.jsonl`, open for reading.
        path: Its name, for errors.

    Attributes:
        offset: Where the line of the last result begins, in bytes.
        length: How long it is without its line end.
        end: Where the next line begins, or would.
        torn: How many bytes after `end` are a line that was cut off when its run was killed.
        ended: Whether the last whole line has its line end.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.offset = self.length = self.end = self.torn = 0
        self.ended = True

    def __iter__(self) -> Iterator[Result]:
        """Yield each result.

        Raises:
            UsageError: A line is no result of this schema.
            OutputError: The file cannot be read.
        """
        number = 0
        while line := self._next():
            number += 1
            self.ended = line.endswith(b"\n")
            self.offset, self.length = self.end, len(line.rstrip())
            if not line.strip():  # an editor's empty line
                self.end += len(line)
                continue
            try:
                result = parsed(line)
            except (ValueError, RecursionError) as error:  # of JSON, or of pydantic
                if not self.ended and _is_cut_off(line):
                    self.torn = len(line)
                    self.ended = True
                    return
                self._refuse(number, line, error)
            self.end += len(line)
            yield result

    def _next(self) -> bytes:
        try:
            return self._file.readline(_LONGEST + 1)
        except OSError as error:
            raise cannot_read(self._path, error) from error

    def _refuse(self, number: int, line: bytes, error: Exception) -> NoReturn:
        if len(line) > _LONGEST:
            what = "is longer than any result"
        elif isinstance(error, _OtherSchemaError):
            what = f"has {error}, and this version reads schema {SCHEMA_VERSION}"
        else:
            what = f"is not a result (schema {SCHEMA_VERSION})"
        raise UsageError(f"line {number} {what}", where=self._path, do=_OTHER) from error


class _OtherSchemaError(ValueError):
    """The line has another schema version, or none."""


def parsed(line: bytes) -> Result:
    """Return a line's result; a byte order mark and a Windows line end do no harm.

    Raises:
        ValueError, RecursionError: It is none.
    """
    if len(line) > _LONGEST:
        raise ValueError
    # pydantic's own parser refuses paths that are not UTF-8
    content = json.loads(line, parse_constant=_no_number)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if type(version) is not int:
        raise ValueError
    if version != SCHEMA_VERSION:
        raise _OtherSchemaError(f"schema {version}")
    return Result.model_validate(content)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _is_cut_off(line: bytes) -> bool:
    """Return whether a line without an end began as ours do, and may be one.

    After a power cut a file may end with zeros in place of what was written last.
    """
    written = line.rstrip(b"\0")
    if len(written) > _LONGEST:
        return False
    return written.startswith(_START) or _START.startswith(written)


def cannot_read(path: Path, error: OSError) -> OutputError:
    """Return the error for results that cannot be read."""
    return OutputError(
        f"cannot be read ({error.strerror or error})",
        where=path,
        do="check its permissions and its disk",
    )


def open_lines(path: Path) -> BinaryIO:
    """Open a results file for reading.

    Raises:
        UsageError: It is no file: a folder, a pipe.
        OutputError: It cannot be opened.
    """
    if not path.is_file():
        raise UsageError("is not a file, expected results", where=path, do=_OTHER)
    try:
        return path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error


def read_results(path: Path) -> Iterator[Result]:
    """Yield the results that stand, in the order in which they were finished.

    The file is read twice and never held: first for which line is the newest of each study. A
    last line that is still being written, or was cut off, is left out.

    Args:
        path: A folder that `predict` wrote into, or its `results.jsonl`.

    Raises:
        UsageError: There are no results, or a line is no result of this schema.
        OutputError: The file cannot be read.
    """
    file = path / JSONL if path.is_dir() else path
    if not file.exists():
        raise UsageError("holds no results", where=path, do="name a folder that predict wrote")
    with open_lines(file) as opened:
        lines = Lines(opened, file)
        newest = {result.key: lines.offset for result in lines}
        opened.seek(0)
        end, lines = lines.end, Lines(opened, file)
        for result in lines:
            if lines.offset >= end:  # written since
                return
            if newest[result.key] == lines.offset:
                yield result
