"""Make the objects of a result."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from darnet_trt.bundle.manifest import ClassCode, ModelCard
from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.delivery.objects.dataset import Made, Predecessor
from darnet_trt.runtime.delivery.objects.map import make_map
from darnet_trt.runtime.delivery.objects.picture import make_picture
from darnet_trt.runtime.delivery.objects.refusal import make_refusal
from darnet_trt.runtime.delivery.objects.report import make_report
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import Evidence, Result

KINDS: Final = ("sr", "pm", "sc")
"""Of a classified study; a refused one has "refusal"."""


def need_highdicom() -> None:
    """Check that highdicom is installed.

    Raises:
        MissingPackageError: It is not.
    """
    try:
        import highdicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError("highdicom", extra="dicom") from error


def make_objects(
    result: Result,
    evidence: Evidence | None,
    source: Source,
    kinds: Sequence[str],
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
    predecessor: Predecessor | None = None,
) -> tuple[Made, ...]:
    """Make objects of a result; the same one gives the same bytes.

    Args:
        result: With status "ok", or "refused" for a refusal.
        evidence: Its input and map; not needed for a refusal.
        source: What they take over from the study.
        kinds: Of `KINDS`, or "refusal".
        about: The network.
        class_codes: Codes that the bundle gives to classes.
        predecessor: The report that this one replaces.

    Returns:
        In the order of `kinds`; without a map where the source has no grid.

    Raises:
        MissingPackageError: highdicom is not installed.
    """
    need_highdicom()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom remarks on names of a single component
        return tuple(_made(result, evidence, source, kinds, about, class_codes, predecessor))


def _made(
    result: Result,
    evidence: Evidence | None,
    source: Source,
    kinds: Sequence[str],
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
    predecessor: Predecessor | None,
) -> Iterator[Made]:
    for kind in kinds:
        if kind == "refusal":
            yield make_refusal(result, source)
            continue
        assert evidence is not None
        if kind == "sr":
            yield make_report(result, evidence, source, about, class_codes, predecessor)
        elif kind == "pm" and source.grid is not None:
            yield make_map(result, evidence, source, source.grid, class_codes)
        elif kind == "sc":
            yield make_picture(result, evidence, source)
