"""Say which scans were chosen, and what they cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from darnet_trt.calibration.scans.sample import Sample, SampledScan
from darnet_trt.scan.cohorts import Cohort


def notes(
    sample: Sample, calibrating: Sequence[SampledScan], judging: Sequence[SampledScan]
) -> Iterator[str]:
    """Yield what the user should know of the choice, a sentence each."""
    if sample.left_out:
        left_out = len(sample.left_out)
        yield (
            f"{left_out} scan{'s' * (left_out > 1)} could not be used, the first: "
            f"{sample.left_out[0]}"
        )
    yield from _on_training(sample, calibrating, judging)
    if len(calibrating) < sample.calibrating:
        yield (
            f"{len(calibrating)} scans calibrate instead of {sample.calibrating}, so that "
            f"{len(judging)} scans of other patients can judge"
        )
    if sample.cohort is not None:
        present = {scan.label for scan in calibrating}
        yield from (
            f"no {label} scan calibrates" for label in sample.cohort.classes if label not in present
        )


def _on_training(
    sample: Sample, calibrating: Sequence[SampledScan], judging: Sequence[SampledScan]
) -> Iterator[str]:
    if sample.trained is None:
        yield (
            "nobody knows which of these scans trained the weights: an ONNX file, and a bundle or "
            "checkpoint of an older version, do not say (give the run, or train again)"
        )
        return
    if not sample.unseen:
        yield (
            "every scan is of a patient that trained the weights, so int8 cannot be shown to keep "
            "the decisions (give scans of other patients)"
        )
    else:
        seen = len(set(calibrating) & set(sample.seen))
        yield (
            f"{len(judging)} scans judge, of patients that did not train the weights; of the "
            f"{len(calibrating)} that calibrate, {seen} did"
        )
    if sample.seen and not sample.copies:
        yield (
            f"{len(sample.seen)} patients have the name of one that trained the weights, but "
            "other scans; if they are other patients, name them otherwise"
        )


def source(cohort: Cohort | None, scans: Sequence[SampledScan], path: Path) -> str:
    """Describe scans in a sentence."""
    if cohort is None:
        return f"{len(scans)} scans of {path.resolve().name}, classes not known"
    entries = tuple(e for scan in scans if (e := scan.origin.entry))
    counts = Counter(scan.label for scan in scans)
    listed = ", ".join(f"{counts[label]} {label}" for label in cohort.classes)
    return f"{cohort.describe(entries)}: {listed}"
