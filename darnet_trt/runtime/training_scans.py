"""Read from a bundle which scans trained its weights."""

from __future__ import annotations

from zipfile import BadZipFile

import numpy as np

from darnet_trt.bundle.reading import REBUILD, Bundle, verified_file
from darnet_trt.errors import BundleError
from darnet_trt.evaluation.seen import TrainingScans


def training_scans_of(bundle: Bundle) -> TrainingScans | None:
    """Return what trained a bundle's weights; None where it does not say.

    Raises:
        BundleError: The file that says it cannot be read.
    """
    stored = bundle.manifest.training_scans
    if stored is None:
        return None
    file = verified_file(bundle, stored.file)
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return TrainingScans.unpacked(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        what = f"cannot be read ({type(error).__name__})"
        raise BundleError(what, where=file, do=REBUILD) from error
