"""Read from a bundle what tells scans unlike those that trained its weights."""

from __future__ import annotations

from darnet_trt.bundle.reading import REBUILD, Bundle, verified_file
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
    file = verified_file(bundle, stored.file)
    try:
        with file.open("rb") as stream:
            found = Familiarity.load(stream)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BundleError(
            f"cannot be read ({type(error).__name__})", where=file, do=REBUILD
        ) from error
    try:
        found.check(len(bundle.manifest.classes), bundle.manifest.model.features)
    except ValueError as error:
        raise BundleError(str(error), where=file, do="build the bundle again") from error
    return found
