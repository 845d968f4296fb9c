"""Inspect studies without a network: every verdict, and the series that would be chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from darnet_trt.errors import Finding, ScanError, UnreadableScanError
from darnet_trt.scan.isolated import OF_ONE_SCAN, Reader
from darnet_trt.scan.loading.choice import none_loads, rank, skipped
from darnet_trt.scan.loading.load import best_first, judge_pixels
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.scan.series import Choice, Format, Series, Study, Verdict

SCHEMA_VERSION: Final = 2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeriesReport(_Part):
    """One series and its verdict.

    Attributes:
        path: The volume file, or the folder that holds the slices.
        format: Which reader reads it.
        series_uid: SeriesInstanceUID (0020,000E), empty for other formats than DICOM.
        number: SeriesNumber (0020,0011).
        description: SeriesDescription (0008,103E), or the file's name.
        kernel: ConvolutionKernel (0018,1210).
        slices: Slices in the series.
        matrix: Rows and columns of a slice (h, w); 0 where they are not known.
        spacing_mm: Along d, h, w; None where it is not known.
        verdict: Whether it can be classified.
        reason: Why.
        code: The reason's code; empty when ok.
        warnings: What is unusual about it.
        chosen: Whether a prediction classifies this series.
    """

    path: str
    format: Format
    series_uid: str
    number: int | None
    description: str
    kernel: str
    slices: int
    matrix: tuple[int, int]
    spacing_mm: tuple[float, float, float] | None
    verdict: Literal["ok", "refused", "failed"]
    reason: str
    code: str
    warnings: tuple[Finding, ...]
    chosen: bool


class StudyReport(_Part):
    """One study, its series, and the status that a prediction would give it.

    Attributes:
        path: Its folder or file.
        study_uid: StudyInstanceUID (0020,000D), empty for other formats than DICOM.
        pixels_checked: False: judged by headers alone.
        patient_id: PatientID (0010,0020), or empty.
        series: In a fixed order.
        chosen: Index of the series that a prediction classifies.
        status: As in a prediction's result.
        why: Why this series, or why none.
        code: The code of why none; empty when ok.
    """

    path: str
    study_uid: str
    pixels_checked: bool
    patient_id: str
    series: tuple[SeriesReport, ...]
    chosen: int | None
    status: Literal["ok", "refused", "failed"]
    why: str
    code: str


class PathError(_Part):
    """A path where nothing could be read."""

    path: str
    error: str
    code: str


class FileCounts(_Part):
    """What became of the files under the paths.

    Attributes:
        found: All of them.
        used: Those in the studies.
        unread: Those that should be scans and cannot be read; each is a failed study.
        ignored: Kind of the others → how many.
    """

    found: int
    used: int
    unread: int
    ignored: dict[str, int]


class Inspection(_Part):
    """Everything that was found under some paths."""

    schema_version: Literal[2] = SCHEMA_VERSION
    studies: tuple[StudyReport, ...]
    errors: tuple[PathError, ...]
    files: FileCounts

    def json_text(self) -> str:
        """Return the JSON, ASCII only: paths that are not UTF-8 are written as escapes."""
        return json.dumps(self.model_dump(mode="json"), indent=1)


def inspect_study(study: Study, spec: Preprocessing, pixels: Reader | None) -> StudyReport:
    """Judge every series of a study, and choose as a prediction does.

    Args:
        study: From `find_studies`.
        spec: Decides which slices are decoded, and what the greys of picture files mean.
        pixels: Reads the pixels; None: judge by headers alone, which do not show whether it is a
            chest in Hounsfield units.
    """
    verdicts = [_verdict(series, spec, pixels) for series in study.series]
    choice, status, why = _choose(study, verdicts, spec, pixels)
    chosen = None if choice is None else study.series.index(choice.series)
    return StudyReport(
        path=str(study.path),
        study_uid=study.uid,
        pixels_checked=pixels is not None,
        patient_id=study.patient_id,
        series=tuple(
            _report(series, verdict, chosen=index == chosen)
            for index, (series, verdict) in enumerate(zip(study.series, verdicts, strict=True))
        ),
        chosen=chosen,
        status=status,
        why=why,
        code="" if status == "ok" else why.code,
    )


def _verdict(series: Series, spec: Preprocessing, pixels: Reader | None) -> Verdict:
    known = series.verdict
    if pixels is None or not known.usable:
        return known
    try:
        return pixels.run(judge_pixels, series, spec, where=series.path)
    except OF_ONE_SCAN as error:  # the process died, or is at fault
        return Verdict(False, Finding(error.code, error.what), known.warnings, readable=False)


def _choose(
    study: Study, verdicts: Sequence[Verdict], spec: Preprocessing, pixels: Reader | None
) -> tuple[Choice | None, Literal["ok", "refused", "failed"], Finding]:
    """Return the series that a prediction would classify, its status, and why."""
    failed: list[tuple[Series, Verdict]] = []
    try:
        ranked = rank(study)
    except ScanError as error:
        return None, _status(not isinstance(error, UnreadableScanError)), error.what
    if pixels is not None and len(ranked) > 1:
        with suppress(*OF_ONE_SCAN):  # the process died: its verdict says so
            ranked = pixels.run(best_first, ranked, spec, where=study.path)
    for choice in ranked:
        verdict = verdicts[study.series.index(choice.series)]
        if verdict.usable:
            others = (skipped(series, other.reason) for series, other in failed)
            return choice, "ok", Finding("usable", "; ".join([choice.why, *others]))
        failed.append((choice.series, verdict))
    why = none_loads([(series, verdict.reason) for series, verdict in failed])
    return None, _status(failed[0][1].readable), why


def _status(readable: bool) -> Literal["refused", "failed"]:
    return "refused" if readable else "failed"


def _report(series: Series, verdict: Verdict, *, chosen: bool) -> SeriesReport:
    return SeriesReport(
        path=str(series.path),
        format=series.format,
        series_uid=series.uid,
        number=series.number,
        description=series.description,
        kernel=series.kernel,
        slices=series.slices,
        matrix=series.matrix,
        spacing_mm=series.spacing_mm,
        verdict="ok" if verdict.usable else _status(verdict.readable),
        reason=verdict.reason,
        code="" if verdict.usable else verdict.reason.code,
        warnings=verdict.warnings,
        chosen=chosen,
    )
