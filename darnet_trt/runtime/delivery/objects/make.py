"""Make the objects of a result."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.delivery.objects.map import make_map
from darnet_trt.runtime.delivery.objects.picture import make_picture
from darnet_trt.runtime.delivery.objects.refusal import make_refusal
from darnet_trt.runtime.delivery.objects.report import make_report
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import REFUSAL, Evidence, Made, Result


def need_highdicom() -> None:
    """Check that highdicom is installed.

    Raises:
        MissingPackageError: It is not.
    """
    if find_spec("highdicom") is None:  # its import takes a second, and is not needed here
        raise MissingPackageError("highdicom", extra="dicom")


def make_objects(
    result: Result,
    evidence: Evidence | None,
    source: Source,
    kinds: Sequence[str],
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
) -> tuple[Made, ...]:
    """Make objects of a result; the same one gives the same bytes.

    Args:
        result: With status "ok", or "refused" for a refusal.
        evidence: Its input and map; not needed for a refusal.
        source: What they take over from the study.
        kinds: Of `OBJECTS`, or "refusal".
        about: The bundle's card of the network.
        class_codes: Codes that the bundle gives to classes.

    Returns:
        In the order of `kinds`; without a map where the source has no grid.

    Raises:
        MissingPackageError: highdicom is not installed.
    """
    need_highdicom()

    def one(kind: str) -> Made | None:
        if kind == REFUSAL:
            return make_refusal(result, source)
        assert evidence is not None
        if kind == "sr":
            return make_report(result, evidence, source, about, class_codes)
        if kind == "sc":
            return make_picture(result, evidence, source)
        if source.grid is None:
            return None
        return make_map(result, evidence, source, source.grid, class_codes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom remarks on names of a single component
        return tuple(filter(None, map(one, kinds)))
