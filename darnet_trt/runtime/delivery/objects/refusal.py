"""A refused study as a Basic Text SR (PS3.3 A.35.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from darnet_trt.runtime.delivery.objects.codes import PRIVATE, plain
from darnet_trt.runtime.delivery.objects.dataset import (
    MAKER,
    RESEARCH,
    arguments,
    finish,
    header_of,
    observer,
)
from darnet_trt.runtime.delivery.objects.references import evidence, predecessors, stand_in
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import Made, Result

if TYPE_CHECKING:
    from highdicom.sr import ContainerContentItem


def make_refusal(result: Result, source: Source) -> Made:
    """Make the text of a result with status "refused"."""
    from highdicom.sr import EnhancedSR
    from pydicom.uid import BasicTextSRStorage

    header = header_of(source)
    made = EnhancedSR(  # holds all that a Basic Text SR does; highdicom has none
        evidence=[stand_in(header, source, source.slices[0])],
        content=_content(result),
        is_complete=True,
        previous_versions=predecessors(header, result),
        **arguments("refusal", result, source),
    )
    made.CurrentRequestedProcedureEvidenceSequence = evidence(header, source)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    return finish("refusal", made, result, source)


def _content(result: Result) -> ContainerContentItem:
    from highdicom import sr
    from highdicom.sr import CodedConcept, RelationshipTypeValues

    contains = RelationshipTypeValues.CONTAINS

    def text(value: str, code: str, scheme: str, meaning: str) -> Any:
        return sr.TextContentItem(CodedConcept(code, scheme, meaning), value, contains)

    root = sr.ContainerContentItem(
        CodedConcept("not-classified", PRIVATE, f"Scan not classified - {RESEARCH}")
    )
    content = sr.ContentSequence(is_root=False)
    english = CodedConcept("en-US", "RFC5646", "English (United States)")
    content.extend(sr.LanguageOfContentItemAndDescendants(english))
    content.extend(observer(result))
    content.append(
        sr.CodeContentItem(
            CodedConcept("121071", "DCM", "Finding"),
            CodedConcept(result.code, PRIVATE, result.code.replace("-", " ")[:64]),
            contains,
        )
    )
    content.append(text(plain(result.reason), "121106", "DCM", "Comment"))
    content.append(text(f"{MAKER} {result.toolkit}", "111001", "DCM", "Algorithm Name"))
    content.append(text(result.intended_use, "121106", "DCM", "Comment"))
    root.ContentSequence = content
    return root
