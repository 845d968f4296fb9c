"""Replace what names a patient by keyed hashes, which join results and name nobody."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError, one_line
from darnet_trt.runtime.prediction.results.result import Result

FIELDS: Final = ("patient_id", "accession_number", "study_date")
"""The fields of a result that name a patient or an examination."""

_DIGITS: Final = 16
_CHECK_DIGITS: Final = 8
_SHORTEST: Final = 16  # bytes of a key: 64 bits where they are hexadecimal digits
_LONGEST: Final = 4096  # bytes; another file was named by mistake


class Pseudonyms:
    """Make pseudonyms: HMAC-SHA256 (RFC 2104) of a field's name and value.

    The same patient has the same pseudonym wherever the same key is used, and without the key
    nobody can try out patients' numbers or dates. The user's own key is made when it is first
    needed, and kept in $XDG_CONFIG_HOME/darnet-trt/pseudonyms.key (mode 0600).

    Args:
        key: The file of another key; None: the user's own.
        notify: Called with a warning where the user's own key cannot be kept.

    Raises:
        UsageError: The named key cannot be read, or is none.
    """

    def __init__(
        self, key: Path | None = None, notify: Callable[[str], None] = lambda line: None
    ) -> None:
        self._notify = notify
        self._tried = key is not None
        self._key = None if key is None else _named_key(key)

    def applied(self, result: Result) -> Result:
        """Return a result with pseudonyms; with nulls where no key can be kept.

        One that has pseudonyms already stays as it is.
        """
        if result.pseudonymous:
            return result
        named = {field: getattr(result, field) for field in FIELDS}
        if any(named.values()):
            self._make_sure_of_a_key()
        hidden = {f: self._of(f, value) if value else None for f, value in named.items()}
        return result.model_copy(update={**hidden, "pseudonymous": True})

    def key(self) -> bytes:
        """Return the key, for other machines; make the user's own where there is none.

        Raises:
            UsageError: The user's own cannot be kept.
        """
        self._make_sure_of_a_key()
        if self._key is None:
            raise UsageError(
                "the key of the pseudonyms cannot be kept",
                do="name one with --pseudonym-key, or give --identifiers",
            )
        return self._key

    def check(self) -> str:
        """Return what tells keys apart and names none; empty where none was used yet."""
        if self._key is None:
            return ""
        return hmac.new(self._key, b"which key", hashlib.sha256).hexdigest()[:_CHECK_DIGITS]

    def _of(self, field: str, value: str) -> str | None:
        if self._key is None:
            return None
        text = f"{field}\0{value}".encode("utf-8", "backslashreplace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()[:_DIGITS]

    def _make_sure_of_a_key(self) -> None:
        if self._tried:
            return
        self._tried = True
        try:
            self._key = _own_key()
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: there is no home
            reason = one_line(str(error))
            self._notify(
                "warning: no patient ID, accession number and study date in the results: the key "
                f"of their pseudonyms cannot be kept ({reason}); name one with --pseudonym-key"
            )


def _named_key(file: Path) -> bytes:
    try:
        return _read(file)
    except FileNotFoundError as error:
        how = f"copy the key of the first machine there, or make one: openssl rand -hex 32 > {file}"
        raise UsageError("does not exist", where=file, do=how) from error
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UsageError(
            f"cannot be read as a key of pseudonyms ({reason})",
            where=file,
            do="name a file of one line, such as: openssl rand -hex 32",
        ) from error


def _own_key() -> bytes:
    """Return the user's own key; make it where there is none.

    Raises:
        OSError, RuntimeError: It can be neither read nor made.
        ValueError: The file holds none.
    """
    base = os.environ.get("XDG_CONFIG_HOME")
    file = (Path(base) if base else Path.home() / ".config") / "darnet-trt" / "pseudonyms.key"
    with suppress(FileNotFoundError):
        return _read(file)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent) as whole:  # mode 0600
        whole.write(f"{secrets.token_hex(32)}\n".encode())
        whole.flush()
        os.fsync(whole.fileno())
        with suppress(FileExistsError):  # another process was faster: its key is everybody's
            os.link(whole.name, file)
    return _read(file)


def _read(file: Path) -> bytes:
    """Return the key in a file, without white space around it.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds no key.
    """
    if file.exists() and not file.is_file():
        raise ValueError("it is not a file")
    with file.open("rb") as opened:
        key = opened.read(_LONGEST + 1).strip()
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"it holds {len(key)} bytes, expected {_SHORTEST} to {_LONGEST}")
    return key
