"""Check that this machine can run a plan, before the plan is loaded.

A plan is for one version of TensorRT, one kind of GPU and one source of the attention's plugin. The
manifest has all three; TensorRT's own message for a plan that does not fit names none of them.
"""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import cast

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.errors import BundleError
from darnet_trt.kernels.build import cached_library, source_key
from darnet_trt.kernels.driver import driver_refusal
from darnet_trt.kernels.library import Library, architecture, covers, has_code
from darnet_trt.runtime.engines.tensorrt.package import (
    PACKAGES,
    PORTABLE,
    RTX_TARGETS,
    TensorRTBackend,
)

_BFLOAT16 = (8, 0)  # the first compute capability that has it
_BUILD_HERE = "build the bundle on this machine with: darnet-trt build"
_REFUSED = (
    "TensorRT-RTX refuses this GPU: build the bundle on this machine with --target tensorrt or "
    "--target onnxruntime:cuda"
)


def check_version(artifact: Artifact, found: str) -> None:
    """Check that the installed version of TensorRT can load a plan.

    Raises:
        BundleError: It cannot.
    """
    package = PACKAGES[cast(TensorRTBackend, artifact.backend)][0]
    built = artifact.producer.get(package)
    if built is None:
        raise BundleError(
            f"the manifest does not say which {package} built the plan {artifact.name!r}",
            do=_BUILD_HERE,
        )
    compatible = artifact.plan is not None and artifact.plan.version_compatible
    if found == built or (compatible and _numbers(found) >= _numbers(built)):
        return
    raise BundleError(
        f"the plan {artifact.name!r} was built by {package} {built}; installed is {found}",
        do=f"install {package}=={built}, or {_BUILD_HERE}",
    )


def check_target(artifact: Artifact, name: str, capability: tuple[int, int]) -> None:
    """Check that a plan is for this GPU.

    Args:
        artifact: The plan.
        name: Name of the GPU.
        capability: Compute capability of the GPU.

    Raises:
        BundleError: It is for another GPU.
    """
    here = "sm{}{}".format(*capability)
    if artifact.precision == "bf16" and capability < _BFLOAT16:
        raise BundleError(
            f"the plan {artifact.name!r} computes in bfloat16, which this GPU, {here} ({name}), "
            "does not have",
            do="build with --precision fp16",
        )
    fits = here in RTX_TARGETS if artifact.target == PORTABLE else here == artifact.target
    if not fits:
        raise BundleError(
            f"the plan {artifact.name!r} is for {artifact.target}; this GPU is {here} ({name})",
            do=_REFUSED
            if artifact.backend == "tensorrt-rtx" and here not in RTX_TARGETS
            else _BUILD_HERE,
        )


def needed_library(
    artifact: Artifact, capability: tuple[int, int], driver: int | None
) -> Path | None:
    """Return the plugin library to load before the plan; None if it needs none or contains it.

    Args:
        artifact: The plan.
        capability: Compute capability of the GPU.
        driver: From `driver_cuda_version`.

    Raises:
        BundleError: The library is absent, for other GPUs or too new for the driver.
        UsageError: The library in the cache is broken.
    """
    card = None if artifact.plan is None else artifact.plan.plugin
    if card is None:
        return None
    library = None
    target, cuda = card.target, card.cuda
    if not card.embedded:
        if card.source != source_key():
            raise BundleError(
                f"the plan {artifact.name!r} needs the plugin of sources {card.source}; this "
                f"darnet-trt has {source_key()}",
                do=f"install the version of darnet-trt that built it, or {_BUILD_HERE}",
            )
        library = cached_library("cuda", [capability])
        if library is None:
            raise BundleError(
                f"the plan {artifact.name!r} needs the plugin's CUDA build, which is not compiled",
                do="compile it with: darnet-trt plugin build",
            )
        loaded = Library(library)
        target, cuda = loaded.target, loaded.cuda
    if not covers(target, capability):
        here = architecture(capability)
        raise BundleError(
            f"the plan {artifact.name!r} needs the plugin for {here}, but it is for {target}",
            do=f"compile it with: darnet-trt plugin build --arch {here}"
            + (", and build the bundle again" if card.embedded else ""),
        )
    if (why := driver_refusal(cuda, driver, as_ptx=not has_code(target, capability))) is not None:
        raise BundleError(
            f"the plan {artifact.name!r} needs a plugin that this machine cannot run: {why}",
            do="update the driver, or compile the plugin with an older CUDA toolkit"
            + (" and build the bundle again" if card.embedded else ""),
        )
    return library


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "10.13.2.6" → (10, 13, 2, 6)."""
    return tuple(map(int, takewhile(str.isdigit, version.split("."))))
