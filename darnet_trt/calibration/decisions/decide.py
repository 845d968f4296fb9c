"""Does a quantized engine decide as the float32 engine does?

Judged on scans that gave no calibration range. With labels: COVID-19's area under the ROC curve
and the accuracy of all classes must not be inferior. With and without: class flips, and how far
probabilities moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from darnet_trt.bundle.manifest import Decisions, Difference
from darnet_trt.calibration.decisions.margins import MARGINS, Margins
from darnet_trt.calibration.decisions.measures import (
    Labelled,
    Logits,
    Movement,
    labelled,
    movement,
)
from darnet_trt.errors import UsageError
from darnet_trt.evaluation.intervals import share_at_most
from darnet_trt.scan.cohort import CLASSES

__all__ = ["decide"]


def decide(
    reference: Logits,
    candidate: Logits,
    labels: Sequence[int] | None,
    source: str,
    margins: Margins = MARGINS,
) -> Decisions:
    """Compare a candidate's decisions with the reference's.

    Args:
        reference: Logits of the float32 engine, (n, 3), in the order of CLASSES.
        candidate: Of the same scans in the same order.
        labels: Their classes; None where they are not known.
        source: Says which scans.
        margins: What may be lost.

    Raises:
        UsageError: No scans.
    """
    if not len(reference):
        raise UsageError(
            "no scan is left to judge an int8 engine's decisions on",
            do="name more scans than calibration takes",
        )
    moved = movement(reference, candidate, margins.sure_lead)
    failures, notes = _movement_failures(moved, margins), list[str]()
    truth = None
    if labels is not None and not moved.broken:
        truth = labelled(reference, candidate, np.asarray(labels, np.int64))
        failures = [*failures, *_truth_failures(truth, margins)]
        notes += _truth_notes(truth, margins)
    return Decisions(
        scans=moved.scans,
        source=source,
        labelled=None if truth is None else truth.counts,
        class_flips=moved.flips,
        sure_flips=moved.sure_flips,
        agreement=1 - moved.flips / moved.scans,
        flips_at_most=share_at_most(moved.flips, moved.scans),
        mean_probability_drift=moved.mean_drift,
        max_probability_drift=moved.max_drift,
        auc=None if truth is None else truth.auc,
        accuracy=None if truth is None else truth.accuracy,
        limits=asdict(margins),
        failures=tuple(failures),
        reserves=tuple(_reserves(moved, margins)),
        notes=tuple(notes),
        passed=not failures,
    )


def _movement_failures(moved: Movement, margins: Margins) -> list[str]:
    scans = _scans(moved.scans)
    if moved.broken_reference:
        which = f"{moved.broken_reference} of {scans}"
        return [f"the float32 engine itself gave NaN or infinity for {which}: nothing to compare"]
    if moved.broken:
        return [f"NaN or infinity came out for {moved.broken} of {scans}; for none it may"]
    sure = margins.flipped(moved.scans)
    flips = max(1, sure)
    found = []
    if moved.flips > flips:
        found.append(f"{moved.flips} of {scans} changed class; at most {flips} may")
    if moved.sure_flips > sure:
        found.append(
            f"{moved.sure_flips} of {scans} changed class though the float32 engine's first class "
            f"led by {margins.sure_lead:g} or more; {f'at most {sure}' if sure else 'none'} may"
        )
    if moved.mean_drift > margins.mean_drift:
        found.append(
            f"probabilities moved by {moved.mean_drift:.3g} on average; "
            f"at most {margins.mean_drift:g} is allowed"
        )
    if moved.max_drift > margins.max_drift:
        found.append(
            f"a scan's probability moved by {moved.max_drift:.3g}; "
            f"at most {margins.max_drift:g} is allowed"
        )
    return found


def _reserves(moved: Movement, margins: Margins) -> Iterator[str]:
    if not margins.can_show_accuracy(moved.scans):
        yield (
            f"{_scans(moved.scans)} cannot show that the decisions are kept: up to "
            f"{share_at_most(moved.flips, moved.scans):.0%} of others may change class; it takes "
            f"{margins.scans_to_show_accuracy()} that do not calibrate"
        )
    if moved.called == 1 and moved.scans > 1:
        yield (
            f"the float32 engine calls all {moved.scans} scans alike: whether decisions between "
            "classes are kept was not seen"
        )


def _truth_failures(truth: Labelled, margins: Margins) -> Iterator[str]:
    if truth.auc is not None:
        allowed = margins.auc_fall(truth.covid * truth.others)
        yield from _fell("COVID-19's AUC", truth.auc, allowed)
        if margins.can_show_auc(truth.covid, truth.others):
            yield from _may_fall("COVID-19's AUC", truth.auc, margins.auc_lower)
    yield from _fell("the accuracy", truth.accuracy, margins.accuracy_fall(truth.scans))
    if margins.can_show_accuracy(truth.scans):
        yield from _may_fall("the accuracy", truth.accuracy, margins.accuracy_lower)


def _truth_notes(truth: Labelled, margins: Margins) -> Iterator[str]:
    if truth.auc is None:
        which = "all scans are" if truth.covid else "no scan is"
        yield f"COVID-19's AUC was not judged: {which} labelled covid-19"
    elif not margins.can_show_auc(truth.covid, truth.others):
        yield (
            f"whether other scans' AUC is kept was not judged: that takes "
            f"{margins.scans_to_show_auc()} scans with COVID-19 and as many without, here are "
            f"{truth.covid} and {truth.others}"
        )
    absent = [name for name, scans in zip(CLASSES, truth.counts, strict=True) if not scans]
    if absent:
        yield f"no scan is labelled {' or '.join(absent)}: nothing is known of such scans"
    guess = max(truth.counts) / truth.scans
    poor = truth.accuracy.reference <= guess < 1
    if poor or (truth.auc is not None and truth.auc.reference <= 0.5):
        area = "" if truth.auc is None else f", AUC {truth.auc.reference:.3g}"
        yield (
            "the float32 engine itself is no better than a guess on these scans (accuracy "
            f"{truth.accuracy.reference:.3g}, always the commonest class {guess:.3g}{area})"
        )


def _fell(measure: str, found: Difference, allowed: float) -> Iterator[str]:
    fall = found.reference - found.candidate
    if fall > allowed + 1e-9:  # a fall by just one scan or pair is allowed, and rounds
        yield (
            f"{measure} fell by {fall:.3g}, from {found.reference:.4g} to {found.candidate:.4g}; "
            f"at most {allowed:.3g} is allowed"
        )


def _may_fall(measure: str, found: Difference, allowed: float) -> Iterator[str]:
    if found.lower < -allowed:
        yield (
            f"{measure} may be lower by {-found.lower:.3g} on other scans (95 % interval of the "
            f"difference {found.lower:.3g} to {found.upper:.3g}); at most {allowed:g} is allowed"
        )


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"
