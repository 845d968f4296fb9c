"""Choose the plugin library, if any, that a plan's fused attention runs in."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from darnet_trt.bundle.plan import PluginLibrary
from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library, cached_library, source_key
from darnet_trt.kernels.check import check_driver, check_library
from darnet_trt.kernels.library import Library, architecture, covers
from darnet_trt.kernels.toolchain import find_nvcc
from darnet_trt.runtime.engines.tensorrt.package import (
    PACKAGES,
    PORTABLE,
    RTX_TARGETS,
    TensorRTBackend,
)

PluginMode = Literal["auto", "on", "off"]

# NVIDIA documents no plugins for TensorRT-RTX; this is the only version in which they were tried.
_RTX_WITH_PLUGINS: Final = "1.7"


@dataclass(frozen=True)
class Plugin:
    """A plugin library to build plans with.

    Attributes:
        path: The file.
        card: Its entry in the manifest.
    """

    path: Path
    card: PluginLibrary


def choose_plugin(
    mode: PluginMode,
    backend: TensorRTBackend,
    targets: Collection[str],
    log: Callable[[str], None],
) -> dict[str, Plugin]:
    """Choose the plugin library, and return it for each target whose plan gets it.

    It is one for CUDA, from this user's cache; of several, one that runs on all targets is
    preferred. With "auto" a portable plan's must run on all of TensorRT-RTX's targets. Plans built
    with one for the CPU do not run until the one for CUDA is compiled, so it must be asked for.

    Args:
        mode: "on" compiles a library if there is none, and fails if it cannot be used; without
            nvcc it compiles one for the CPU, which is enough to build TensorRT-RTX plans. "auto"
            goes without the plugin where there is no library for CUDA or it cannot be used, for
            single targets too, and logs why. "off" always goes without.
        backend: Of the plans.
        targets: GPUs of the plans.
        log: Takes the reason.

    Raises:
        BuildError: Mode is "on" and there is no library, or the backend or a target cannot use it.
        OutputError: Mode is "on" and the cache cannot be written.
    """
    if mode == "off":
        return {}
    library = cached_library("cuda", [c for target in targets for c in _capabilities(target)])
    if library is None:
        if mode == "auto":
            log("building plans without the plugin: compile it with darnet-trt plugin build")
            return {}
        library = _compiled(backend, log)
    refusal = _version_refused(backend, library)
    if refusal is None and backend == "tensorrt":  # it runs the plugin while it builds
        refusal = check_driver(library)
    if refusal is not None:
        if mode == "on":
            raise BuildError(refusal, where=library, do="build without it: --plugin off")
        log(f"building plans without the plugin: {refusal}")
        return {}
    served = []
    for target in targets:
        missing = _uncovered(library, target)
        if missing is None or (mode == "on" and target == PORTABLE):
            served.append(target)  # asked for, a portable plan may run on some GPUs alone
        elif mode == "on":
            raise BuildError(missing, where=library, do="build without it: --plugin off")
        else:
            log(f"building {target} plans without the plugin: {missing}")
    if not served:
        return {}
    loaded = Library(library)
    embedded = loaded.target != "cpu"
    if not embedded:
        log("plans built with the plugin for the CPU: to run they need the plugin for CUDA")
    card = PluginLibrary(
        source=source_key(),
        target=loaded.target,
        cuda=loaded.cuda,
        sha256=sha256_of(library),
        embedded=embedded,
    )
    return dict.fromkeys(served, Plugin(library, card))


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
                f"plugins were tried only with TensorRT-RTX {_RTX_WITH_PLUGINS}, found "
                f"{answer.version}"
            )
    return answer.reason


def _uncovered(library: Path, target: str) -> str | None:
    """Return which GPU of a target the library has no code for; None if it runs on all."""
    compiled_for = Library(library).target
    if compiled_for == "cpu":
        return None
    for capability in _capabilities(target):
        if not covers(compiled_for, capability):
            missing = "sm{}{}".format(*capability)
            arch = f" --arch {architecture(capability)}"
            if target == PORTABLE:
                missing, arch = f"{missing}, where a portable plan runs too", ""
            return (
                f"the plugin has code for {compiled_for.removeprefix('cuda ')}, not for {missing} "
                f"(compile it: darnet-trt plugin build{arch})"
            )
    return None


def _capabilities(target: str) -> list[tuple[int, int]]:
    """Return the compute capabilities of a target: "sm120" → [(12, 0)]."""
    named = [t for t in RTX_TARGETS if t != PORTABLE] if target == PORTABLE else [target]
    return [divmod(int(name.removeprefix("sm")), 10) for name in named]
