"""Read from a bundle what tells scans unlike those that trained its weights."""

from __future__ import annotations

from darnet_trt.bundle.arrays import read_arrays
from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import BundleError
from darnet_trt.evaluation.familiarity import Familiarity


def read_familiarity(bundle: Bundle) -> Familiarity | None:
    """Check and read the file; return None if the bundle has none.

    Raises:
        BundleError: The file is missing, altered, not readable, or of another network or version.
    """
    stored = bundle.manifest.familiarity
    if stored is None:
        return None
    found = read_arrays(bundle, stored.file, Familiarity.unpacked)
    try:
        found.check(len(bundle.manifest.classes), bundle.manifest.model.features)
    except ValueError as error:
        where = bundle.path / stored.file
        raise BundleError(str(error), where=where, do="build the bundle again") from error
    return found
