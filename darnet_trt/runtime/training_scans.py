"""Read from a bundle which scans trained its weights."""

from __future__ import annotations

from darnet_trt.bundle.arrays import read_arrays
from darnet_trt.bundle.reading import Bundle
from darnet_trt.evaluation.seen import TrainingScans


def training_scans_of(bundle: Bundle) -> TrainingScans | None:
    """Return what trained a bundle's weights; None where it does not say.

    Raises:
        BundleError: The file that says it cannot be read.
    """
    stored = bundle.manifest.training_scans
    return None if stored is None else read_arrays(bundle, stored.file, TrainingScans.unpacked)
