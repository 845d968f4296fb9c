"""Opening a bundle and loading one of its engines, with every file checked before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from pydantic import ValidationError

from darnet_trt.errors import BundleError, UsageError
from darnet_trt.runtime.manifest import SCHEMA_VERSION, Artifact, Manifest
from darnet_trt.runtime.onnxruntime import OnnxRuntimeRunner
from darnet_trt.runtime.openvino import OpenVINORunner, emulates
from darnet_trt.runtime.runner import Runner

__all__ = [
    "Bundle",
    "Engine",
    "load_engine",
    "load_runner",
    "open_bundle",
    "pick_artifact",
    "verified_file",
]

_MANIFEST: Final = "manifest.json"
_REBUILD: Final = "build the bundle again, or copy it again from where it was built"

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


@dataclass(frozen=True, eq=False)
class Engine:
    """An engine of a bundle, loaded.

    Attributes:
        artifact: Which one.
        runner: What runs it.
        warnings: Why it is another than the bundle's default, or slow.
    """

    artifact: Artifact
    runner: Runner
    warnings: tuple[str, ...] = ()


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest and check that it is whole.

    The artifacts' hashes are checked by `load_engine`, for what it loads.

    Raises:
        BundleError: Absent, not a bundle, corrupt, of another schema, incomplete, or with a file
            outside its folder.
    """
    raw = _read_manifest(path)
    manifest = _parse(raw, path / _MANIFEST)
    names = [artifact.name for artifact in manifest.artifacts]
    if len(set(names)) < len(names):
        raise BundleError("two artifacts have one name", where=path / _MANIFEST, do=_REBUILD)
    if manifest.default is not None and manifest.default not in names:
        raise BundleError(
            f"the default artifact {manifest.default!r} is not in it",
            where=path / _MANIFEST,
            do=_REBUILD,
        )
    for artifact in manifest.artifacts:
        if not artifact.files:
            raise BundleError(
                f"the artifact {artifact.name!r} has no file", where=path / _MANIFEST, do=_REBUILD
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
            "the bundle has no default engine: none of them ran where it was built",
            where=bundle.path,
            do=f"choose one with --artifact: {_listed(known)}",
        )
    if wanted not in known:
        raise UsageError(
            f"the bundle has no artifact {wanted!r}",
            where=bundle.path,
            do=f"it has {_listed(known)}",
        )
    return known[wanted]


def load_engine(
    bundle: Bundle, artifact: str | None = None, *, threads: int | None = None
) -> Engine:
    """Verify and load the engine to classify with.

    The default may be in a precision that this CPU lacks (bfloat16): OpenVINO then takes another
    one, or emulates it, three times slower than float32. Another engine that passed the parity
    gate in float32, which every CPU has, takes its place then, with a warning. One that was named
    is never replaced.

    Args:
        bundle: From `open_bundle`.
        artifact: Its name; None takes the bundle's default.
        threads: CPU threads; None leaves the number to the engine.

    Raises:
        UsageError: No such artifact.
        BundleError: A file was altered, the engine does not fit the manifest, this machine
            cannot run it, or would run it in a precision that the parity gate has not seen.
        MissingPackageError: The engine's package is not installed.
    """
    chosen = pick_artifact(bundle, artifact)
    runner = _load(bundle, chosen, threads)
    gated = chosen.effective_precision or chosen.precision
    if runner.precision != gated:
        remark = f"this CPU runs it in {runner.precision}, which was not checked"
    elif chosen.backend == "openvino" and emulates(runner.precision):
        remark = f"this CPU emulates {runner.precision}, slower than fp32"
    else:
        return Engine(chosen, runner)
    stand_in = _stand_in(bundle, chosen) if artifact is None else None
    if stand_in is not None:
        runner.close()
        warning = f"engine {stand_in.name} instead of the default {chosen.name}: {remark}"
        return Engine(stand_in, load_runner(bundle, stand_in.name, threads=threads), (warning,))
    if runner.precision == gated:
        return Engine(chosen, runner, (f"engine {chosen.name}: {remark}",))
    runner.close()
    others = [a.name for a in bundle.manifest.artifacts if a != chosen and a.backend in _LOADERS]
    raise BundleError(
        f"the artifact {chosen.name!r} was checked in {gated} but this machine runs it in "
        f"{runner.precision}",
        where=bundle.path,
        do=f"choose another with --artifact: {_listed(others)}",
    )


def load_runner(bundle: Bundle, artifact: str, *, threads: int | None = None) -> Runner:
    """The engine of that name and no other; see `load_engine`."""
    return load_engine(bundle, artifact, threads=threads).runner


def _load(bundle: Bundle, artifact: Artifact, threads: int | None) -> Runner:
    """Whatever precision it runs in."""
    if artifact.backend not in _LOADERS:
        able = [a.name for a in bundle.manifest.artifacts if a.backend in _LOADERS]
        raise BundleError(
            f"the artifact {artifact.name!r} needs {artifact.backend} on an NVIDIA GPU, "
            "which this version builds but cannot run yet",
            where=bundle.path,
            do=f"choose with --artifact: {_listed(able)}",
        )
    for name in artifact.files:
        verified_file(bundle, name)
    return _LOADERS[artifact.backend](bundle, artifact, threads)


def _stand_in(bundle: Bundle, chosen: Artifact) -> Artifact | None:
    """Another engine for the same device that passed the gate in float32; of its backend first."""
    able = [
        a
        for a in bundle.manifest.artifacts
        if a != chosen
        and (a.backend in _LOADERS and a.target == chosen.target)
        and (a.effective_precision == "fp32" and a.parity is not None and a.parity.passed)
    ]
    return min(able, key=lambda a: a.backend != chosen.backend, default=None)


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
    raise BundleError(f"it has no {name}", where=bundle.path, do=_REBUILD)


def _load_openvino(bundle: Bundle, artifact: Artifact, threads: int | None) -> Runner:
    precision = artifact.precision
    if precision == "int8":
        raise BundleError(
            f"the artifact {artifact.name!r} is int8, which this version cannot run yet",
            where=bundle.path,
        )
    runner = OpenVINORunner(bundle.path / _first(artifact), precision=precision, threads=threads)
    _check_size(bundle, artifact, runner.input_size)
    return runner


def _load_onnxruntime(bundle: Bundle, artifact: Artifact, threads: int | None) -> Runner:
    device: Literal["cpu", "cuda"] = "cuda" if artifact.target == "cuda" else "cpu"
    runner = OnnxRuntimeRunner(bundle.path / _first(artifact), device=device, threads=threads)
    _check_size(bundle, artifact, runner.input_size)
    return runner


_LOADERS: Final[dict[str, Callable[[Bundle, Artifact, int | None], Runner]]] = {
    "openvino": _load_openvino,
    "onnxruntime": _load_onnxruntime,
}


def _read_manifest(path: Path) -> bytes:
    file = path / _MANIFEST
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
                f"it is not a bundle: it has no {_MANIFEST}",
                where=path,
                do="make one with: darnet-trt build RUN -o BUNDLE",
            )
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError("it is too large to be a manifest", where=file, do=_REBUILD)
        return file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"it cannot be read ({error.strerror})", where=path, do="check its permissions"
        ) from error


def _parse(raw: bytes, file: Path) -> Manifest:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:  # invalid UTF-8 is a ValueError, too
        raise BundleError("it is not valid JSON", where=file, do=_REBUILD) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise BundleError("it has no schema version", where=file, do=_REBUILD)
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise BundleError(
            f"its schema version {version} is {age} than this toolkit's {SCHEMA_VERSION}",
            where=file,
            do="install the darnet-trt that built it, or build the bundle again",
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{place}: {first['msg']}", where=file, do=_REBUILD) from error


def _inside(root: Path, name: str) -> Path:
    """The file in the bundle; refuses names and links that leave the folder."""
    pure = PurePosixPath(name)
    file = root / pure
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name:
        raise BundleError(f"it names a file outside the bundle: {name!r}", where=root / _MANIFEST)
    try:
        file.resolve(strict=True).relative_to(root.resolve())
    except FileNotFoundError as error:
        raise BundleError(f"its file {name} is missing", where=root, do=_REBUILD) from error
    except (ValueError, RuntimeError, OSError) as error:  # elsewhere, or a loop of links
        raise BundleError(f"its file {name} is a link out of the bundle", where=root) from error
    if not file.is_file():
        raise BundleError(f"its file {name} is not a file", where=root, do=_REBUILD)
    return file


def _verify(file: Path, expected: str) -> None:
    try:
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"it cannot be read ({error.strerror})", where=file) from error
    if found != expected:
        raise BundleError(
            "it was altered or damaged: its SHA-256 is not the manifest's", where=file, do=_REBUILD
        )


def _check_size(bundle: Bundle, artifact: Artifact, size: tuple[int, int, int]) -> None:
    expected = bundle.manifest.preprocessing.size
    if size != expected:
        raise BundleError(
            f"the artifact {artifact.name!r} takes {_times(size)} voxels, but the manifest's "
            f"preprocessing makes {_times(expected)}",
            where=bundle.path,
            do=_REBUILD,
        )


def _first(artifact: Artifact) -> str:
    return next(iter(artifact.files))


def _times(size: tuple[int, int, int]) -> str:
    return "×".join(map(str, size))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
