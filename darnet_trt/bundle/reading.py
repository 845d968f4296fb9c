"""Opening a bundle; each of its files is checked before it is used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import ValidationError

from darnet_trt.bundle.manifest import (
    FILE_NAME,
    SCHEMA_VERSION,
    Artifact,
    Manifest,
    content_digest,
)
from darnet_trt.errors import BundleError, UsageError

__all__ = [
    "REBUILD",
    "Bundle",
    "listed",
    "open_bundle",
    "pick_artifact",
    "sha256_of",
    "verified_file",
]

REBUILD: Final = "build the bundle again, or copy it again from where it was built"
"""What to do about a bundle that is damaged."""

# A manifest is some kilobytes; a larger file is something else, not worth reading into memory.
_MAX_MANIFEST_BYTES: Final = 16 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A folder with one network's engines.

    Attributes:
        path: The folder.
        manifest: What it holds.
        sha256: Of `manifest.json`, which in turn has the SHA-256 of every artifact: it names
            the whole bundle.
    """

    path: Path
    manifest: Manifest
    sha256: str


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle's manifest and check that it is whole.

    The artifacts' hashes are checked by `verified_file`, for what is loaded.

    Raises:
        BundleError: Absent, not a bundle, corrupt, of another schema, incomplete, with classes
            that cannot be told apart, or with a file outside its folder.
    """
    path = Path(path)
    raw = _read_manifest(path)
    manifest = _parse(raw, path / FILE_NAME)
    names = [artifact.name for artifact in manifest.artifacts]
    if len(set(names)) < len(names):
        raise BundleError("two artifacts have one name", where=path / FILE_NAME, do=REBUILD)
    if len(set(manifest.classes)) < max(len(manifest.classes), 2):
        raise BundleError(
            f"its classes are not two or more of different names: {listed(manifest.classes)}",
            where=path / FILE_NAME,
            do=REBUILD,
        )
    if manifest.default is not None and manifest.default not in names:
        raise BundleError(
            f"the default artifact {manifest.default!r} is not in it",
            where=path / FILE_NAME,
            do=REBUILD,
        )
    for artifact in manifest.artifacts:
        if not artifact.files:
            raise BundleError(
                f"the artifact {artifact.name!r} has no file", where=path / FILE_NAME, do=REBUILD
            )
        for name in artifact.files:
            _inside(path, name)
    return Bundle(path, manifest, hashlib.sha256(raw).hexdigest())


def pick_artifact(bundle: Bundle, name: str | None = None) -> Artifact:
    """The artifact of that name, or the default one.

    Raises:
        UsageError: No artifact has the name, or none was named and there is no default.
    """
    known = {artifact.name: artifact for artifact in bundle.manifest.artifacts}
    wanted = bundle.manifest.default if name is None else name
    if wanted is None:
        raise UsageError(
            "the bundle has no default engine: none that may answer unasked ran where it was built",
            where=bundle.path,
            do="build it again on the machine that shall run it, which also checks the engines, or "
            f"choose one with --artifact: {listed(known)}",
        )
    if wanted not in known:
        raise UsageError(
            f"the bundle has no artifact {wanted!r}",
            where=bundle.path,
            do=f"it has {listed(known)}",
        )
    return known[wanted]


def verified_file(bundle: Bundle, name: str) -> Path:
    """A file of the bundle, after its hash was checked.

    Raises:
        BundleError: It is not in the bundle, or it was altered.
    """
    for artifact in bundle.manifest.artifacts:
        if name in artifact.files:
            file = _inside(bundle.path, name)
            _verify(file, artifact.files[name])
            return file
    raise BundleError(f"it has no {name}", where=bundle.path, do=REBUILD)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> bytes:
    file = path / FILE_NAME
    try:
        if not path.exists():
            raise BundleError("there is no such bundle", where=path, do="check the path")
        if not path.is_dir():
            raise BundleError(
                "it is a file; a bundle is a folder",
                where=path,
                do="make one with: darnet-trt build RUN -o BUNDLE",
            )
        if not file.is_file():
            raise BundleError(
                f"it is not a bundle: it has no {FILE_NAME}",
                where=path,
                do="make one with: darnet-trt build RUN -o BUNDLE",
            )
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError("it is too large to be a manifest", where=file, do=REBUILD)
        return file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"it cannot be read ({error.strerror})", where=path, do="check its permissions"
        ) from error


def _parse(raw: bytes, file: Path) -> Manifest:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError, too
        raise BundleError("it is not valid JSON", where=file, do=REBUILD) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise BundleError("it has no schema version", where=file, do=REBUILD)
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise BundleError(
            f"its schema version {version} is {age} than this toolkit's {SCHEMA_VERSION}",
            where=file,
            do="install the darnet-trt that built it, or build the bundle again",
        )
    if content.get("content_sha256") != content_digest(content):
        raise BundleError(
            "it was edited or damaged: its content is not that of its content_sha256",
            where=file,
            do=REBUILD,
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{place}: {first['msg']}", where=file, do=REBUILD) from error


def _inside(root: Path, name: str) -> Path:
    """The file in the bundle; refuses names and links that leave the folder."""
    pure = PurePosixPath(name)
    file = root / pure
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise BundleError(f"it names a file outside the bundle: {name!r}", where=root / FILE_NAME)
    try:
        file.resolve(strict=True).relative_to(root.resolve())
    except FileNotFoundError as error:
        raise BundleError(f"its file {name} is missing", where=root, do=REBUILD) from error
    except (ValueError, RuntimeError, OSError) as error:  # elsewhere, or a loop of links
        raise BundleError(f"its file {name} is a link out of the bundle", where=root) from error
    if not file.is_file():
        raise BundleError(f"its file {name} is not a file", where=root, do=REBUILD)
    return file


def _verify(file: Path, expected: str) -> None:
    try:
        found = sha256_of(file)
    except OSError as error:
        raise BundleError(f"it cannot be read ({error.strerror})", where=file) from error
    if found != expected:
        raise BundleError(
            "it was altered or damaged: its SHA-256 is not the manifest's", where=file, do=REBUILD
        )


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(names) or "none"
