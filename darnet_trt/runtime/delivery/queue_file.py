"""Open the SQLite file of a queue; put one that cannot be used aside."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import OutputError

_OURS, _VERSION = 0x64617271, 1  # SQLite's application_id ("darq") and user_version
_ENDINGS: Final = ("", "-wal", "-journal", "-shm")


class QueueFile:
    """A SQLite file of our tables; threads may share it.

    Args:
        file: Its name. It can be read by its owner only: it names studies.
        tables: SQL that makes its tables where it is new.
        notify: Called with a line where an old file was put aside.

    Raises:
        OutputError: It cannot be kept there, or a change cannot.
    """

    def __init__(self, file: Path, tables: str, notify: Callable[[str], None]) -> None:
        self._file = file
        self._lock = threading.RLock()
        try:
            try:
                self._db = _kept(file, tables)
            except (_NotOursError, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.OperationalError):  # the disk's, not the content's
                    raise
                aside = _put_aside(file)
                notify(f"warning: {file} is no queue of this version, and is now {aside.name}")
                self._db = _kept(file, tables)
        except (OSError, sqlite3.Error) as error:
            raise self._cannot(error) from error

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Do all that is inside, or none of it; it is in the file at the end."""
        with self._lock:
            try:
                if self._db.in_transaction:
                    yield self._db
                    return
                self._db.execute("BEGIN")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._cannot(error) from error

    def do(self, query: str, *values: object) -> list[Any]:
        """Execute one statement; return its rows."""
        with self.change() as db:
            return db.execute(query, values).fetchall()

    def close(self) -> None:
        """Close it; every later call fails."""
        with self._lock, suppress(sqlite3.Error):
            self._db.close()

    def _cannot(self, error: Exception) -> OutputError:
        return OutputError(
            f"the queue cannot be kept ({getattr(error, 'strerror', None) or error})",
            where=self._file,
            do="check free space and permissions",
        )


class _NotOursError(Exception):
    """The file holds something else, or is of another version."""


def _kept(file: Path, tables: str) -> sqlite3.Connection:
    """Open or make the file.

    Raises:
        _NotOursError: It is no queue of this version.
        OSError, sqlite3.Error: It cannot be opened, or is damaged.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(file.lstat().st_mode):
            raise _NotOursError
    inside = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(inside, 0o600)
    finally:
        os.close(inside)
    # As for the index of a history: the folder's lock sees to it that there is one writer.
    uri = f"{file.absolute().as_uri()}?nolock=1"
    db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            script = f"PRAGMA application_id = {_OURS}; PRAGMA user_version = {_VERSION};"
            db.executescript(f"BEGIN; {tables}; {script} COMMIT;")
        query = "SELECT * FROM pragma_application_id, pragma_user_version, pragma_quick_check(1)"
        if db.execute(query).fetchone() != (_OURS, _VERSION, "ok"):
            raise _NotOursError
    except BaseException:
        db.close()
        raise
    return db


def _put_aside(file: Path) -> Path:
    aside = file.with_name(f"{file.name}.old")
    for ending in _ENDINGS:
        with suppress(FileNotFoundError):
            Path(f"{file}{ending}").replace(f"{aside}{ending}")
    return aside
