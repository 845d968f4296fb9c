"""Remember which file belonged to which study, in a SQLite file that may be lost at any time.

The index only saves reading headers again. Where it is lost, damaged, foreign or of another
version, it is made anew; where it cannot be kept at all (a full disk, a share that SQLite cannot
work on), a temporary one serves this run. None of that is an error.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

INDEX: Final = ".darnet-trt.index"
"""The file's name in an output folder; hidden, so that no walk takes it for a scan."""

_OURS, _VERSION = 0x6461726E, 1  # SQLite's application_id ("darn") and user_version
_COMMIT_S = 1.0  # what a SIGKILL may cost: the headers of so many seconds are read again
_END = b"\xff" * 8  # sorts after every file name: UTF-8 has no such byte
# fmt: off
_TABLES = """
CREATE TABLE piece (
    id INTEGER PRIMARY KEY, folder BLOB NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    files BLOB NOT NULL
);
CREATE INDEX place ON piece (folder, first);
CREATE TABLE holds (key TEXT, piece INTEGER, PRIMARY KEY (key, piece)) WITHOUT ROWID;
CREATE INDEX held ON holds (piece);
CREATE TABLE study (key TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
"""
_OVERLAPPING = "SELECT id, first, last, files FROM piece WHERE folder=? AND first<? AND last>?"
_HOLDING = "SELECT folder, files FROM piece JOIN holds ON piece.id = holds.piece WHERE key = ?"
_BELOW = "SELECT DISTINCT folder FROM piece WHERE folder = ? OR (folder > ? AND folder < ?)"
# fmt: on
# An index of another program's making may hold anything.
_DAMAGED = (sqlite3.Error, ValueError, TypeError, KeyError, IndexError, zlib.error)


@dataclass(frozen=True, slots=True)
class Known:
    """A file as it was when it was read.

    Attributes:
        size: In bytes.
        mtime_ns: When it was changed last.
        key: Of the study it belongs to; empty where it belongs to none.
    """

    size: int
    mtime_ns: int
    key: str


Names = dict[str, Known]
_T = TypeVar("_T")


class Index:
    """Which files were read, and which study each belongs to; only one process may use it.

    Args:
        file: Where it is kept; None: in a temporary file that has no name.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._db = self._opened()
        self._committed = time.monotonic()

    def files(self, folder: Path, after: str | None, upto: str | None) -> Names:
        """Return a folder's known files, by name.

        Args:
            folder: Absolute.
            after: Only names after this one; None: from the first.
            upto: Only names up to this one; None: to the last.
        """
        low, high = _bounds(after, upto)

        def read(db: sqlite3.Connection) -> Names:
            rows = db.execute(_OVERLAPPING, (os.fsencode(folder), high, low))
            known = [item for row in rows for item in _unpacked(row[3]).items()]
            return {name: k for name, k in known if low < os.fsencode(name) <= high}

        return self._safely(read)

    def keep(self, folder: Path, after: str | None, upto: str | None, names: Names) -> set[str]:
        """Replace what is known of a folder between two names.

        Returns:
            Keys of the studies that lost all the files that were known in this folder's range.
        """
        low, high = _bounds(after, upto)
        place = os.fsencode(folder)
        lost: set[str] = set()

        def replace(db: sqlite3.Connection) -> None:
            lost.clear()
            old = list(db.execute(_OVERLAPPING, (place, high, low)))
            for piece, first, last, packed in old:
                before = _unpacked(packed)
                lost.update(k.key for n, k in before.items() if low < os.fsencode(n) <= high)
                _delete(db, piece)
                if first < low:
                    rest = {n: k for n, k in before.items() if os.fsencode(n) <= low}
                    _insert(db, place, first, low, rest)
                if last > high:
                    rest = {n: k for n, k in before.items() if os.fsencode(n) > high}
                    _insert(db, place, high, last, rest)
            _insert(db, place, low, high, names)

        self._write(replace)
        return lost - {known.key for known in names.values()} - {""}

    def set_content(self, contents: Iterable[tuple[str, str]]) -> None:
        """Remember the content of studies, given as (key, content)."""
        rows = list(contents)
        self._write(lambda db: db.executemany("INSERT OR REPLACE INTO study VALUES (?, ?)", rows))

    def content(self, key: str) -> str | None:
        """Return the content that a study had when it was found last."""
        rows = self._read("SELECT content FROM study WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def files_of(self, key: str) -> list[Path]:
        """Return the files that are known of a study."""

        def read(db: sqlite3.Connection) -> list[Path]:
            rows = [
                (os.fsdecode(row[0]), _unpacked(row[1])) for row in db.execute(_HOLDING, (key,))
            ]
            return [
                Path(folder, name)
                for folder, names in rows
                for name, known in names.items()
                if known.key == key
            ]

        return self._safely(read)

    def held(self, key: str) -> bool:
        """Return whether any file is known of a study."""
        return bool(self._read("SELECT 1 FROM holds WHERE key = ? LIMIT 1", (key,)))

    def folders(self, below: Path) -> list[Path]:
        """Return the known folders at and below a path."""
        place = os.fsencode(below)
        inside = place.rstrip(b"/") + b"/"
        rows = self._read(_BELOW, (place, inside, inside[:-1] + b"0"))  # "0" comes after "/"
        return [Path(os.fsdecode(row[0])) for row in rows]

    def forget(self, folder: Path) -> set[str]:
        """Forget a folder's files; return the keys of the studies they belonged to."""
        return self.keep(folder, None, None, {})

    def close(self) -> None:
        """Write what is not yet written, and close the file."""
        with suppress(sqlite3.Error):
            self._db.commit()
        with suppress(sqlite3.Error):
            self._db.close()
        self._file = None  # a search that is being broken off may still ask: the file stays

    def _read(self, query: str, values: Sequence[object]) -> list[Any]:
        return self._safely(lambda db: db.execute(query, values).fetchall())

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        self._safely(change)
        if time.monotonic() - self._committed > _COMMIT_S:
            self._safely(lambda db: db.commit())
            self._committed = time.monotonic()

    def _safely(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do what is wanted; where the database fails, do it with an empty one."""
        try:
            return work(self._db)
        except _DAMAGED:
            with suppress(sqlite3.Error):
                self._db.close()
            self._remove()
            self._file = None  # it failed once: this run keeps a temporary one
            self._db = self._opened()
            return work(self._db)

    def _opened(self) -> sqlite3.Connection:
        """Return the file's database, made anew where it is not ours; else a temporary one."""
        for _ in range(2 if self._file else 0):
            assert self._file is not None
            try:
                return _kept(self._file)
            except (*_DAMAGED, OSError):
                self._remove()
        return _prepared(sqlite3.connect("", check_same_thread=False))

    def _remove(self) -> None:
        if self._file:
            for ending in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):
                    Path(f"{self._file}{ending}").unlink()


def _kept(file: Path) -> sqlite3.Connection:
    """Open or make the index file, readable by its owner only.

    Raises:
        OSError, sqlite3.Error, ValueError: It cannot be opened, or is no index of this version.
    """
    inside = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        os.fchmod(inside, 0o600)
    finally:
        os.close(inside)
    # The output folder has one writer, which its own lock sees to. Without SQLite's locks, and
    # with the write-ahead log's index in memory, it also works on shares without locks or mmap.
    uri = f"{file.absolute().as_uri()}?nolock=1"
    db = sqlite3.connect(uri, uri=True, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        return _prepared(db)
    except BaseException:
        db.close()
        raise


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    """Make the tables in an empty database; refuse one that is not ours."""
    query = "SELECT * FROM pragma_application_id, pragma_user_version"
    made = db.execute(query).fetchone()
    empty = not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    if empty:
        db.executescript(_TABLES)
        db.execute(f"PRAGMA application_id = {_OURS}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        db.commit()
    elif made != (_OURS, _VERSION):
        raise ValueError(made)
    return db


def _bounds(after: str | None, upto: str | None) -> tuple[bytes, bytes]:
    return (
        b"" if after is None else os.fsencode(after),
        _END if upto is None else os.fsencode(upto),
    )


def _insert(db: sqlite3.Connection, folder: bytes, first: bytes, last: bytes, names: Names) -> None:
    if not names:
        return
    columns = "INSERT INTO piece (folder, first, last, files) VALUES (?, ?, ?, ?)"
    row = db.execute(columns, (folder, first, last, _packed(names))).lastrowid
    keys = {known.key for known in names.values()} - {""}
    db.executemany("INSERT INTO holds VALUES (?, ?)", [(key, row) for key in keys])


def _delete(db: sqlite3.Connection, piece: int) -> None:
    db.execute("DELETE FROM holds WHERE piece = ?", (piece,))
    db.execute("DELETE FROM piece WHERE id = ?", (piece,))


def _packed(names: Names) -> bytes:
    """Pack files column by column, which compresses to some 15 bytes a file."""
    keys = list(dict.fromkeys(known.key for known in names.values()))
    number = {key: i for i, key in enumerate(keys)}
    known = names.values()
    columns = [list(names), [k.size for k in known], [k.mtime_ns for k in known]]
    text = json.dumps([keys, *columns, [number[k.key] for k in known]], separators=(",", ":"))
    return zlib.compress(text.encode(), 6)


def _unpacked(packed: bytes) -> Names:
    keys, names, *columns = json.loads(zlib.decompress(packed))
    return {
        name: Known(size, mtime_ns, keys[number])
        for name, size, mtime_ns, number in zip(names, *columns, strict=True)
    }
