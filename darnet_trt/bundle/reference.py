"""Inputs and the reference's outputs for them, stored in a bundle for `darnet-trt bundle check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.arrays import read_arrays
from darnet_trt.bundle.manifest import Reference
from darnet_trt.bundle.reading import Bundle, sha256_of

_FILE: Final = "reference.npz"


@dataclass(frozen=True, eq=False)
class ReferenceOutputs:
    """Inputs that float16 holds exactly, and the float32 reference's outputs for them.

    Attributes:
        inputs: float32 (n, 1, d, h, w).
        logits: float32 (n, classes).
        cam: Class activation map, float32 (n, classes, d/8, h/16, w/16).
        features: The pooled features, float32 (n, 8·width); None in older bundles.
    """

    inputs: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None


def write_reference(folder: Path, outputs: ReferenceOutputs, source: str) -> Reference:
    """Write the file, inputs as float16, and return its entry in the manifest.

    Args:
        folder: The bundle's.
        outputs: What to write.
        source: Describes the inputs.
    """
    file = folder / _FILE
    arrays = {
        "inputs": outputs.inputs.astype(np.float16),
        "logits": outputs.logits,
        "cam": outputs.cam,
        "features": outputs.features,
    }
    with file.open("wb") as stream:
        given: dict[str, Any] = {name: a for name, a in arrays.items() if a is not None}
        np.savez_compressed(stream, **given)
    return Reference(file=_FILE, sha256=sha256_of(file), scans=len(outputs.inputs), source=source)


def read_reference(bundle: Bundle) -> ReferenceOutputs | None:
    """Check and read the file; return None if the bundle has none.

    Raises:
        BundleError: The file is missing, altered or not readable.
    """
    reference = bundle.manifest.reference
    if reference is None:
        return None
    return read_arrays(bundle, reference.file, _outputs)


def _outputs(stored: Mapping[str, npt.NDArray[Any]]) -> ReferenceOutputs:
    inputs, logits, cam = (stored[name] for name in ("inputs", "logits", "cam"))
    return ReferenceOutputs(inputs.astype(np.float32), logits, cam, stored.get("features"))
