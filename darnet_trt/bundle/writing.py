"""Write a bundle under a temporary name, then rename it: a bundle is complete or absent."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from darnet_trt.bundle.manifest import FILE_NAME, Manifest, content_digest
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import DarnetError, UsageError
from darnet_trt.machine.files import cannot_write

_AT_FDCWD: Final = -100  # linux/fcntl.h: paths are relative to the working directory
_RENAME_EXCHANGE: Final = 2  # linux/fs.h


def hashes(folder: Path, *files: Path) -> dict[str, str]:
    """Return the SHA-256 of files, by path relative to the bundle's folder."""
    return {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` with the digest of its content."""
    digest = content_digest(json.loads(manifest.model_dump_json()))
    sealed = manifest.model_copy(update={"content_sha256": digest})
    (folder / FILE_NAME).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")


@contextmanager
def bundle_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Make a folder to fill, which becomes `out` when the block ends without an exception.

    Any exception, Ctrl-C included, leaves nothing behind and an existing bundle untouched. With
    `force` the new bundle replaces the old one in one step if the file system can exchange two
    names (Linux), else in two.

    Raises:
        UsageError: `out` exists and `force` was not given, or it is not a bundle.
        OutputError: It cannot be written.
    """
    check_free(out, force=force)
    place = out.absolute()
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    made: list[Path] = []
    try:
        made = [p for p in reversed(place.parents) if not p.exists()]
        for parent in made:
            parent.mkdir()
        temporary.mkdir()
        yield temporary
        check_free(out, force=force)  # another build may have come first
        _move(temporary, place)
    except OSError as error:
        raise cannot_write(out, error) from error
    except DarnetError as error:
        if error.where is not None and Path(error.where).is_relative_to(temporary):
            error.where = os.fspath(out)  # the user does not know the temporary name
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not out.exists():
            for parent in reversed(made):
                if parent.exists() and not any(parent.iterdir()):
                    parent.rmdir()


def check_free(out: Path, *, force: bool) -> None:
    """Refuse a path that exists.

    Raises:
        UsageError: It exists and is not a bundle, or it is one and `force` is not given.
        OutputError: It cannot be read.
    """
    try:
        if not out.exists() and not out.is_symlink():
            return
        is_bundle = (out / FILE_NAME).is_file()
    except OSError as error:
        raise cannot_write(out, error) from error
    if not is_bundle:
        raise UsageError("this exists and is not a bundle", where=out, do="choose another -o")
    if not force:
        raise UsageError(
            "this bundle exists already",
            where=out,
            do="choose another -o, or replace it with --force",
        )


def _move(temporary: Path, out: Path) -> None:
    """Rename; an old bundle gets the temporary name, which is deleted next."""
    if not out.exists():
        temporary.rename(out)
        return
    try:
        _exchange(temporary, out)
    except (OSError, AttributeError):  # the system or the file system cannot exchange names
        old = out.with_name(f".{out.name}.{os.getpid()}.old")
        out.rename(old)
        try:
            temporary.rename(out)
        except BaseException:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step (renameat2(2)), so that a reader always finds a bundle."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
