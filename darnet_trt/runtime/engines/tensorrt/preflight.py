"""Whether this machine can run a plan, asked before anything of the plan is loaded.

A plan is for one version of TensorRT, one kind of GPU and one source of the attention's plugin;
the manifest has all three. TensorRT's own message for a plan that does not fit names none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.errors import BundleError
from darnet_trt.kernels.build import cached_library, source_key
from darnet_trt.kernels.library import Library, architecture, covers
from darnet_trt.runtime.engines.cuda.device import CudaDevice
from darnet_trt.runtime.engines.tensorrt.gpu import open_device
from darnet_trt.runtime.engines.tensorrt.package import (
    PACKAGES,
    PORTABLE,
    RTX_TARGETS,
    TensorRTBackend,
    import_tensorrt,
)

__all__ = ["Ready", "check_target", "check_version", "needed_library", "preflight"]

_BUILD_HERE = "build the bundle on this machine with: darnet-trt build"


@dataclass(frozen=True, eq=False)
class Ready:
    """What a plan that fits this machine is loaded with.

    Attributes:
        trt: The package.
        device: The GPU.
        library: The plugin library to load first; None: it needs none, or carries it.
    """

    trt: Any
    device: CudaDevice
    library: Path | None


def preflight(artifact: Artifact) -> Ready:
    """Check package, version, GPU and plugin, in this order.

    Raises:
        MissingPackageError: A package that runs it is not installed.
        DeviceError: There is no GPU or no driver.
        BundleError: The plan is for another version, GPU or plugin; says which and what is here.
    """
    backend = cast(TensorRTBackend, artifact.backend)
    trt = import_tensorrt(backend)
    check_version(artifact, trt.__version__)
    device = open_device(backend)
    check_target(artifact, device.name, device.capability)
    return Ready(trt, device, needed_library(artifact, device.capability))


def check_version(artifact: Artifact, found: str) -> None:
    """Refuse a plan of another version of TensorRT.

    Raises:
        BundleError: It is.
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
        f"the plan {artifact.name!r} was built by {package} {built}, and here is {found}",
        do=f"install {package}=={built}, or {_BUILD_HERE}",
    )


def check_target(artifact: Artifact, name: str, capability: tuple[int, int]) -> None:
    """Refuse a plan for another GPU.

    Args:
        artifact: The plan.
        name: Of the GPU here.
        capability: Its compute capability.

    Raises:
        BundleError: It is for another.
    """
    here = "sm{}{}".format(*capability)
    if artifact.target == PORTABLE:
        fits = here in RTX_TARGETS
    elif artifact.plan is not None and artifact.plan.hardware_compatible:
        fits = capability >= (8, 0)
    else:
        fits = artifact.target == here
    if not fits:
        raise BundleError(
            f"the plan {artifact.name!r} is for {artifact.target}, and here is {here} ({name})",
            do=_BUILD_HERE,
        )


def needed_library(artifact: Artifact, capability: tuple[int, int]) -> Path | None:
    """The plugin library to load before the plan; None where it needs none or carries it.

    Raises:
        BundleError: It needs one that is not here, or was made for other GPUs.
        UsageError: The library in the cache is broken.
    """
    card = None if artifact.plan is None else artifact.plan.plugin
    if card is None:
        return None
    library = None
    target = card.target
    if not card.embedded:
        if card.source != source_key():
            raise BundleError(
                f"the plan {artifact.name!r} needs the plugin of sources {card.source}, and this "
                f"darnet-trt has {source_key()}",
                do=f"install the darnet-trt that built it, or {_BUILD_HERE}",
            )
        library = cached_library("cuda", [capability])
        if library is None:
            raise BundleError(
                f"the plan {artifact.name!r} needs the plugin's CUDA build, which is not here",
                do="compile it with: darnet-trt plugin build",
            )
        target = Library(library).target
    if not covers(target, capability):
        here = architecture(capability)
        raise BundleError(
            f"the plan {artifact.name!r} needs the plugin for {here}, and it is for {target}",
            do=f"compile it with: darnet-trt plugin build --arch {here}"
            + (", and build the bundle again" if card.embedded else ""),
        )
    return library


def _numbers(version: str) -> tuple[int, ...]:
    """ "10.13.2.6" → (10, 13, 2, 6); what follows the numbers does not count."""
    parts = []
    for part in version.split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)
