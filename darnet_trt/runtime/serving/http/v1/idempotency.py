"""Remember requests by their Idempotency-Key, so that one that is sent again is served once.

What was answered is on the disk before the answer goes out, so that a key holds over a restart.
Source: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from darnet_trt.machine.files import remove_left_over, whole_file

LONGEST_KEY: Final = 255
_TIDY_S: Final = 3600.0


class Record(BaseModel):
    """A request that was served.

    Attributes:
        digest: Of what it brought.
        studies: That came of it.
        known: How many of its files were there before.
        ignored: Kind → how many of its files hold no scan.
        refused: Of each file that cannot be used, its name and why.
    """

    digest: str
    studies: list[str]
    known: int
    ignored: dict[str, int]
    refused: list[tuple[str, str]]


class Records:
    """The requests that had a key.

    Args:
        folder: Where they are kept; it need not exist.
        keep_s: For how long.
    """

    def __init__(self, folder: Path, keep_s: float) -> None:
        self._folder, self._keep_s = folder, keep_s
        self._under_way: set[Path] = set()
        self._lock = threading.Lock()
        self._tidied_s = -math.inf
        self._tidy()
        with suppress(OSError):
            remove_left_over(folder, lambda name: True)

    @contextmanager
    def begun(self, key: str) -> Iterator[Path]:
        """Hold a key while its request is under way; give the file of its record.

        Raises:
            HTTPException: The key is malformed (400), or held already (409).
        """
        if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
            text = f"the Idempotency-Key is not 1 to {LONGEST_KEY} printable ASCII characters"
            raise HTTPException(400, text)
        file = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        with self._lock:
            if file in self._under_way:
                raise HTTPException(409, "a request with this Idempotency-Key is under way")
            self._under_way.add(file)
        try:
            yield file
        finally:
            with self._lock:
                self._under_way.remove(file)

    def read(self, file: Path) -> Record | None:
        """Return the record of a key; None where there is none, or it is too old."""
        with suppress(OSError, ValidationError):
            if time.time() - file.stat().st_mtime <= self._keep_s:
                return Record.model_validate_json(file.read_bytes())
        return None

    def write(self, file: Path, record: Record) -> None:
        """Keep the record of a key, on the disk.

        Raises:
            OutputError: It cannot be written.
        """
        self._tidy()
        with whole_file(file, private=True, durable=True) as writing:
            writing.write(record.model_dump_json().encode())

    def _tidy(self) -> None:
        """Make the folder, and remove what is too old; once in a while."""
        with self._lock:
            if time.monotonic() - self._tidied_s < _TIDY_S:
                return
            self._tidied_s = time.monotonic()
        with suppress(OSError):  # `whole_file` says why
            self._folder.mkdir(mode=0o700, exist_ok=True)
            for file in self._folder.glob("*.json"):
                if time.time() - file.stat().st_mtime > self._keep_s:
                    file.unlink()
