"""Judge whether a quantized engine decides as the float32 engine does.

The scans that judge did not calibrate. Class changes and moved probabilities are always judged;
with labels, so are the area under COVID-19's ROC curve and the accuracy of all classes.
"""

from __future__ import annotations

import math
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


def decide(
    reference: Logits,
    candidate: Logits,
    labels: Sequence[int] | None,
    source: str,
    margins: Margins = MARGINS,
    *,
    seen: int | None = 0,
) -> Decisions:
    """Compare a candidate's decisions with the reference's.

    Args:
        reference: Logits of the float32 engine, (n, 3), in the order of CLASSES.
        candidate: Logits of the engine to judge, for the same scans.
        labels: The scans' classes; None if not known.
        source: Describes the scans in a sentence.
        margins: The limits.
        seen: Scans that trained the weights; None where nobody knows.

    Raises:
        UsageError: No scans.
    """
    if not len(reference):
        raise UsageError(
            "no scan is left to judge the int8 engine's decisions",
            do="give more scans than --scans takes for calibration",
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
        seen=seen,
        reserves=(*_seen(seen, moved.scans), *_reserves(moved, margins)),
        notes=tuple(notes),
        passed=not failures,
    )


def _movement_failures(moved: Movement, margins: Margins) -> list[str]:
    scans = _scans(moved.scans)
    if moved.broken_reference:
        which = f"{moved.broken_reference} of {scans}"
        return [f"the float32 engine gave NaN or infinity for {which}; nothing can be compared"]
    if moved.broken:
        return [f"{moved.broken} of {scans} gave NaN or infinity"]
    sure = math.floor(margins.flips * moved.scans + 1e-9)  # 0.29 × 100 is 28.999…
    flips = max(1, sure)
    found = []
    if moved.flips > flips:
        found.append(f"{moved.flips} of {scans} changed class; at most {flips} allowed")
    if moved.sure_flips > sure:
        found.append(
            f"{moved.sure_flips} of {scans} changed class although float32's first class led by "
            f"{margins.sure_lead:g} or more; {f'at most {sure}' if sure else 'none'} allowed"
        )
    if moved.mean_drift > margins.mean_drift:
        found.append(
            f"probabilities moved by {moved.mean_drift:.3g} on average; "
            f"at most {margins.mean_drift:g} allowed"
        )
    if moved.max_drift > margins.max_drift:
        found.append(
            f"a probability of one scan moved by {moved.max_drift:.3g}; "
            f"at most {margins.max_drift:g} allowed"
        )
    return found


def _seen(seen: int | None, scans: int) -> Iterator[str]:
    """Yield the reserve against scans that trained the weights: on these, int8 does less harm."""
    if seen is None:
        yield (
            "nobody knows whether the scans that judged trained the weights: the checkpoint does "
            "not say"
        )
    elif seen:
        yield (
            f"{seen} of {_scans(scans)} that judged trained the weights, which does not show that "
            "decisions on new patients are kept"
        )


def _reserves(moved: Movement, margins: Margins) -> Iterator[str]:
    if not margins.can_show_accuracy(moved.scans):
        share = share_at_most(moved.flips, moved.scans)
        yield (
            f"{_scans(moved.scans)} judged, {margins.scans_to_show_accuracy()} needed: with 95 % "
            f"confidence, at most {100 * share:.0f} % of new scans would change class"
        )
    if moved.called == 1 and moved.scans > 1:
        yield (
            f"float32 gives all {moved.scans} scans the same class, so they do not show whether "
            "decisions between classes are kept"
        )


def _truth_failures(truth: Labelled, margins: Margins) -> Iterator[str]:
    if truth.auc is not None:
        allowed = max(margins.auc, 1 / (truth.covid * truth.others))
        yield from _fell("COVID-19's AUC", truth.auc, allowed)
        if margins.can_show_auc(truth.covid, truth.others):
            yield from _may_fall("COVID-19's AUC", truth.auc, margins.auc_lower)
    yield from _fell("the accuracy", truth.accuracy, max(margins.accuracy, 1 / truth.scans))
    if margins.can_show_accuracy(truth.scans):
        yield from _may_fall("the accuracy", truth.accuracy, margins.accuracy_lower)


def _truth_notes(truth: Labelled, margins: Margins) -> Iterator[str]:
    if truth.auc is None:
        which = "all scans are" if truth.covid else "no scan is"
        yield f"COVID-19's AUC not judged: {which} labelled covid-19"
    elif not margins.can_show_auc(truth.covid, truth.others):
        yield (
            f"COVID-19's AUC on new scans not judged: {truth.covid} scans with and "
            f"{truth.others} without COVID-19, {margins.scans_to_show_auc()} of each needed"
        )
    absent = [name for name, scans in zip(CLASSES, truth.counts, strict=True) if not scans]
    if absent:
        yield f"no scan is labelled {' or '.join(absent)}: such scans were not judged"
    guess = max(truth.counts) / truth.scans
    poor = truth.accuracy.reference <= guess < 1
    if poor or (truth.auc is not None and truth.auc.reference <= 0.5):
        area = "" if truth.auc is None else f", AUC {truth.auc.reference:.3g}"
        yield (
            "float32 itself is no better than guessing on these scans: accuracy "
            f"{truth.accuracy.reference:.3g}{area}; always guessing the most frequent class gives "
            f"{guess:.3g}"
        )


def _fell(measure: str, found: Difference, allowed: float) -> Iterator[str]:
    fall = found.reference - found.candidate
    if fall > allowed + 1e-9:  # a fall by exactly one scan or pair is allowed, and may round up
        yield (
            f"{measure} fell by {fall:.3g}, from {found.reference:.4g} to {found.candidate:.4g}; "
            f"at most {allowed:.3g} allowed"
        )


def _may_fall(measure: str, found: Difference, allowed: float) -> Iterator[str]:
    if found.lower < -allowed:
        yield (
            f"{measure} may fall by {-found.lower:.3g} on new scans (95 % interval of the "
            f"difference {found.lower:.3g} to {found.upper:.3g}); at most {allowed:g} allowed"
        )


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"
