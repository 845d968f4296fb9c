"""A classified study as a Comprehensive 3D SR (PS3.3 A.35.13) by TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.runtime.delivery.identity import uid_of
from darnet_trt.runtime.delivery.objects import references
from darnet_trt.runtime.delivery.objects.codes import class_code, plain
from darnet_trt.runtime.delivery.objects.dataset import (
    MAKER,
    RESEARCH,
    arguments,
    finish,
    header_of,
    observer,
)
from darnet_trt.runtime.delivery.objects.references import stand_in
from darnet_trt.runtime.delivery.source import Slice, Source
from darnet_trt.runtime.prediction.results.overlay import grown, telling_slices
from darnet_trt.runtime.prediction.results.result import UNLIKE, Evidence, Made, Result

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

TELLING: Final = 3
"""Slices that a report names for each class: an image library of all would take ten seconds."""


def make_report(
    result: Result,
    evidence: Evidence,
    source: Source,
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
) -> Made:
    """Make the structured report of a result with status "ok"."""
    from highdicom import sr

    header = header_of(source)
    telling = {
        name: _telling(evidence, number, source) for number, name in enumerate(result.probabilities)
    }
    shown = sorted({one for slices in telling.values() for one in slices}, key=source.slices.index)
    library = [stand_in(header, source, one) for one in shown]
    content = sr.MeasurementReport(
        observation_context=observer(result),
        procedure_reported=sr.CodedConcept("25045-6", "LN", "CT unspecified body region"),
        title=sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
        imaging_measurements=[
            _group(name, result, source, about, class_codes, telling[name])
            for name in result.probabilities
        ],
        referenced_images=library or None,
    )[0]
    report = sr.Comprehensive3DSR(
        evidence=library or [stand_in(header, source, source.slices[0])],
        content=content,
        is_complete=True,
        previous_versions=references.predecessors(header, result),
        **arguments("sr", result, source),
    )
    report.CurrentRequestedProcedureEvidenceSequence = references.evidence(header, source)
    if shown:
        _correct_library(report, header, source, shown)
    private = [code.scheme for code in class_codes.values() if code.scheme.startswith("99")]
    return finish("sr", report, result, source, private)


def _telling(evidence: Evidence, number: int, source: Source) -> list[Slice]:
    """Return the slices with most evidence for a class; none where nothing is for it."""
    depth = evidence.volume.shape[0]
    shown = grown(evidence.cam[number], evidence.volume.shape)
    if shown.max() <= 0:
        return []
    chosen = [source.slice_at(voxel, depth) for voxel in telling_slices(shown, TELLING)]
    return list(dict.fromkeys(chosen))


def _correct_library(
    report: Dataset, header: Dataset, source: Source, shown: Sequence[Slice]
) -> None:
    """Set in the image library what a stand-in cannot say of a slice."""
    (library,) = _named(report, "111028")
    (group,) = library.ContentSequence
    images = [item for item in group.ContentSequence if item.ValueType == "IMAGE"]
    for image, one in zip(images, shown, strict=True):
        (reference,) = image.ReferencedSOPSequence
        reference.ReferencedSOPClassUID = source.instances[one.instance].sop_class
        if one.frame is not None:
            reference.ReferencedFrameNumber = one.frame
        if "SliceThickness" not in header:
            image.ContentSequence.remove(*_named(image, "112225"))


def _named(item: Dataset, code: str) -> list[Dataset]:
    """Return the content items with a concept name."""
    names = ((one.ConceptNameCodeSequence[0].get("CodeValue"), one) for one in item.ContentSequence)
    return [one for name, one in names if name == code]


def _group(
    name: str,
    result: Result,
    source: Source,
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
    telling: Sequence[Slice],
) -> Any:
    """Return the TID 1501 group of a class."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    images = [
        sr.SourceImageForMeasurement(
            source.instances[one.instance].sop_class,
            source.instances[one.instance].sop_uid,
            None if one.frame is None else [one.frame],
        )
        for one in telling
    ]
    probability = sr.Measurement(
        name=sr.CodedConcept("122157", "DCM", "Probability"),
        value=round(result.probabilities[name], 6),
        unit=sr.CodedConcept("1", "UCUM", "no units"),
        referenced_images=images or None,
    )
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=uid_of(f"tracking {name}", result, source), identifier=plain(f"{name} ({RESEARCH})")
        ),
        finding_type=class_code(name, class_codes),
        finding_sites=[sr.FindingSite(anatomic_location=codes.SCT.Lung)],
        algorithm_id=sr.AlgorithmIdentification(
            name=MAKER,
            version=result.toolkit,
            parameters=[
                f"bundle SHA-256 {result.bundle_sha256}",
                f"engine {result.artifact}",
                f"precision {result.precision}",
                f"attention {about.attention}",
                f"trained on {plain(result.trained_on)}",
                *(plain(each) for each in result.warnings if each.code == UNLIKE),
                result.intended_use,
            ],
        ),
        measurements=[probability],
    )
