"""Whether a plan gets the fused attention as a plugin, and from which library."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from darnet_trt.bundle.manifest import PluginLibrary
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library, cached_library, source_key
from darnet_trt.kernels.check import check_library
from darnet_trt.kernels.library import Library, architecture, covers
from darnet_trt.kernels.toolchain import find_nvcc
from darnet_trt.runtime.engines.tensorrt.package import PACKAGES, PORTABLE, TensorRTBackend

__all__ = ["Plugin", "PluginMode", "choose_plugin"]

PluginMode = Literal["auto", "on", "off"]

# NVIDIA documents no plugins for TensorRT-RTX: what works is known of this version alone.
_RTX_WITH_PLUGINS: Final = "1.7"


@dataclass(frozen=True)
class Plugin:
    """The library to build with.

    Attributes:
        path: The file.
        card: What the manifest says of it.
    """

    path: Path
    card: PluginLibrary


def choose_plugin(
    mode: PluginMode,
    backend: TensorRTBackend,
    targets: Collection[str],
    log: Callable[[str], None],
) -> Plugin | None:
    """The CUDA library in this user's cache, else the CPU one, which is enough to build RTX plans.

    Of several CUDA libraries it is one that runs on all targets, if there is such a one.

    TensorRT may run the plugin while it builds, so it gets the CUDA library only.

    Args:
        mode: "on" compiles a library where there is none, and fails where it cannot be used;
            "auto" then leaves the plugin out and says so; "off" says nothing.
        backend: Whose plans.
        targets: Their GPUs.
        log: Takes the reason.

    Raises:
        BuildError: "on", and there is no library, or this backend or a target cannot use it.
        OutputError: "on", and the cache cannot be written.
    """
    if mode == "off":
        return None
    library = cached_library("cuda", [_capability(target) for target in _named(targets)])
    if library is None and backend == "tensorrt-rtx":
        library = cached_library("cpu")
    if library is None:
        if mode == "auto":
            log("no plugin is compiled (darnet-trt plugin build): plans take standard operators")
            return None
        library = _compiled(backend, log)
    refusal = _version_refused(backend, library) or _uncovered(library, targets)
    if refusal is not None:
        if mode == "on":
            raise BuildError(refusal, where=library, do="build without it: --plugin off")
        log(f"without the plugin: {refusal}")
        return None
    target = Library(library).target
    embedded = target != "cpu"
    if not embedded:
        log("the plugin is the CPU build: plans need a CUDA build of the same sources to run")
    return Plugin(
        library,
        PluginLibrary(
            source=source_key(), target=target, sha256=sha256_of(library), embedded=embedded
        ),
    )


def _compiled(backend: TensorRTBackend, log: Callable[[str], None]) -> Path:
    try:
        find_nvcc()
    except BuildError as error:
        if backend == "tensorrt":
            raise
        log(f"{error.what}: compiling the plugin for the CPU")
        return build_library("cpu", log=log)
    return build_library("cuda", log=log)


def _version_refused(backend: TensorRTBackend, library: Path) -> str | None:
    package = PACKAGES[backend][0]
    answer = next(a for a in check_library(library) if a.package == package)
    if backend == "tensorrt-rtx" and answer.version is not None:
        found = ".".join(answer.version.split(".")[:2])
        if found != _RTX_WITH_PLUGINS:
            return (
                f"expected TensorRT-RTX {_RTX_WITH_PLUGINS}, of which it is known that it takes "
                f"plugins, found {answer.version}"
            )
    return answer.reason


def _uncovered(library: Path, targets: Collection[str]) -> str | None:
    compiled_for = Library(library).target
    if compiled_for == "cpu":
        return None
    for target in _named(targets):
        capability = _capability(target)
        if not covers(compiled_for, capability):
            return (
                f"expected code for {target}, found {compiled_for.removeprefix('cuda ')} "
                f"(darnet-trt plugin build --arch {architecture(capability)})"
            )
    return None


def _named(targets: Collection[str]) -> list[str]:
    """Those that are one GPU's."""
    return [target for target in targets if target != PORTABLE]


def _capability(target: str) -> tuple[int, int]:
    """ "sm120" → (12, 0)."""
    return divmod(int(target.removeprefix("sm")), 10)
