"""Open a bundle, and check each of its files before use."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

from pydantic import ValidationError

from darnet_trt.bundle.manifest import (
    FILE_NAME,
    SCHEMA_VERSION,
    Artifact,
    Manifest,
    content_digest,
)
from darnet_trt.errors import BundleError, UsageError

REBUILD: Final = "build the bundle again, or copy it again from where it was built"
"""The remedy for a damaged bundle."""

_OTHER: Final = "install the darnet-trt that built it, or build the bundle again"

# A manifest has some kilobytes; a larger file is something else and is not read into memory.
_MAX_MANIFEST_BYTES: Final = 16 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A folder with one network's engines.

    Attributes:
        path: The folder.
        manifest: Its description.
        sha256: Hash of `manifest.json`. It identifies the whole bundle, because the manifest has
            the hash of every file.
    """

    path: Path
    manifest: Manifest
    sha256: str


def open_bundle(path: str | os.PathLike[str], *, complete: bool = True) -> Bundle:
    """Read a bundle's manifest and check that all files are there.

    `verified_file` checks the hash of a file before it is loaded.

    Args:
        path: The folder.
        complete: False opens a bundle with missing files too.

    Raises:
        BundleError: The bundle is absent, corrupt, of another schema or incomplete, two classes
            have one name, or a file is outside the folder.
    """
    path = Path(path)
    raw = _read_manifest(path)
    try:
        manifest = _parse(raw, path / FILE_NAME)
    except RecursionError as error:  # nested hundreds deep
        raise BundleError("not valid JSON", where=path / FILE_NAME, do=REBUILD) from error
    for fault in _faults(manifest):
        raise BundleError(fault, where=path / FILE_NAME, do=REBUILD)
    if complete:
        for name in manifest.files:
            _inside(path, name)
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest())


def pick_artifact(bundle: Bundle, name: str | None = None) -> Artifact:
    """Return the artifact of that name, or the default one.

    Raises:
        UsageError: No artifact has the name, or none was named and there is no default.
    """
    known = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    wanted = bundle.manifest.default if name is None else name
    if wanted is None:
        raise UsageError(
            "no default engine: none that was asked for ran and passed the checks on the machine "
            "that built the bundle",
            where=bundle.path,
            do="build it on this machine with an engine that runs here (--target openvino), or "
            f"choose one with --artifact: {listed(known)}",
        )
    if wanted not in known:
        raise UsageError(
            f"unknown engine {wanted!r}",
            where=bundle.path,
            do=f"choose from {listed(known)}",
        )
    return known[wanted]


def verified_file(bundle: Bundle, name: str) -> Path:
    """Check a file's hash and return its path.

    Raises:
        BundleError: The bundle does not list it, or it is missing or altered.
    """
    expected = bundle.manifest.files.get(name)
    if expected is None:
        raise BundleError(f"the bundle has no {name}", where=bundle.path, do=REBUILD)
    file = _inside(bundle.path, name)
    try:
        found = sha256_of(file)
    except OSError as error:
        raise BundleError(
            f"cannot be read ({error.strerror})", where=file, do="check its permissions"
        ) from error
    if found != expected:
        raise BundleError(
            "altered or damaged: the SHA-256 differs from the manifest's", where=file, do=REBUILD
        )
    return file


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> bytes:
    file = path / FILE_NAME
    try:
        if not path.exists():
            raise BundleError("there is no such bundle", where=path, do="check the path")
        if not path.is_dir():
            raise BundleError(
                "this is a file; a bundle is a folder",
                where=path,
                do="make one with: darnet-trt build RUN -o BUNDLE",
            )
        if not file.is_file():
            raise BundleError(
                f"it is not a bundle: there is no {FILE_NAME}",
                where=path,
                do="make one with: darnet-trt build RUN -o BUNDLE",
            )
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError("too large for a manifest", where=file, do=REBUILD)
        return file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"cannot be read ({error.strerror})", where=path, do="check its permissions"
        ) from error


def _parse(raw: bytes, file: Path) -> Manifest:
    try:
        content = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError, too
        raise BundleError("not valid JSON", where=file, do=REBUILD) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise BundleError("has no schema version", where=file, do=REBUILD)
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise BundleError(
            f"schema version {version} is {age} than this toolkit's {SCHEMA_VERSION}",
            where=file,
            do=_OTHER,
        )
    if content.get("content_sha256") != content_digest(content):
        raise BundleError(
            "edited or damaged: the content does not match content_sha256",
            where=file,
            do=REBUILD,
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BundleError(
                f"{place}: this version of darnet-trt does not know it", where=file, do=_OTHER
            ) from error
        raise BundleError(f"{place}: {first['msg']}", where=file, do=REBUILD) from error


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's parser takes and JSON (RFC 8259) does not have."""
    raise ValueError(name)


def _faults(manifest: Manifest) -> Iterator[str]:
    names = [artifact.name for artifact in manifest.artifacts]
    if len(set(names)) < len(names):
        yield "two artifacts have one name"
    if len(set(manifest.classes)) < max(len(manifest.classes), 2):
        found = listed(manifest.classes)
        yield f"expected two or more classes with different names, found {found}"
    if manifest.default is not None and manifest.default not in names:
        yield f"the default artifact {manifest.default!r} is not in it"
    for artifact in manifest.artifacts:
        if not artifact.files:
            yield f"the artifact {artifact.name!r} has no file"


def _inside(root: Path, name: str) -> Path:
    """Return the file's path; refuse names and links that leave the folder."""
    pure = PurePosixPath(name)
    file = root / pure
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise BundleError(
            f"names a file outside the bundle: {name!r}", where=root / FILE_NAME, do=REBUILD
        )
    try:
        file.resolve(strict=True).relative_to(root.resolve())
    except FileNotFoundError as error:
        raise BundleError(f"the file {name} is missing", where=root, do=REBUILD) from error
    except (ValueError, RuntimeError, OSError) as error:  # elsewhere, or a loop of links
        raise BundleError(
            f"the file {name} is a link out of the bundle", where=root, do=REBUILD
        ) from error
    if not file.is_file():
        raise BundleError(f"{name} is not a file", where=root, do=REBUILD)
    return file


def listed(names: Iterable[str]) -> str:
    """Join names for a message."""
    return ", ".join(names) or "none"
