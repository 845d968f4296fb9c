"""Judge whether a quantized engine decides as the float32 engine does.

The scans that judge did not calibrate. Class changes and moved probabilities are always judged;
with labels, so is the area under the positive class's ROC curve. The accuracy cannot fall by more
than the share of scans that change class, so it is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from darnet_trt.bundle.manifest import Decisions
from darnet_trt.calibration.decisions.margins import MARGINS, Margins
from darnet_trt.calibration.decisions.measures import (
    Labelled,
    Logits,
    Movement,
    labelled,
    movement,
)
from darnet_trt.errors import UsageError
from darnet_trt.evaluation.intervals import largest_share
from darnet_trt.scan.cohorts import PAPER_CLASSES, POSITIVE


def decide(
    reference: Logits,
    candidate: Logits,
    labels: Sequence[int] | None,
    source: str,
    margins: Margins = MARGINS,
    *,
    seen: int | None = 0,
    classes: Sequence[str] = PAPER_CLASSES,
) -> Decisions:
    """Compare a candidate's decisions with the reference's.

    Args:
        reference: Logits of the float32 engine, (n, classes).
        candidate: Logits of the engine to judge, for the same scans.
        labels: The scans' classes; None if not known.
        source: Describes the scans in a sentence.
        margins: The limits.
        seen: Scans that trained the weights; None where nobody knows.
        classes: Names of the logits; the first is the positive one.

    Raises:
        UsageError: No scans.
    """
    if not len(reference):
        raise UsageError(
            "no scan is left to judge the int8 engine's decisions",
            do="give more scans than --scans takes for calibration",
        )
    known = None if labels is None else np.asarray(labels, np.int64)
    moved = movement(reference, candidate, known, margins.sure_lead, margins.far)
    failures, reserves, notes = (
        list(_movement_failures(moved, margins, classes)),
        list[str](),
        list[str](),
    )
    truth = None
    if not moved.broken:
        reserves += _movement_reserves(moved, margins, classes, known=known is not None)
    if known is not None and not moved.broken:
        truth = labelled(reference, candidate, known)
        failures += _truth_failures(truth, moved, margins, classes)
        reserves += _truth_reserves(truth, margins, classes)
        notes += _truth_notes(truth, classes)
    return Decisions(
        scans=moved.scans,
        source=source,
        labelled=None if truth is None else truth.counts,
        class_flips=moved.flips,
        sure_flips=moved.sure_flips,
        agreement=1 - moved.flips / moved.scans,
        flips_at_most=largest_share(moved.flips, moved.scans, margins.chance),
        mean_probability_drift=moved.mean_drift,
        max_probability_drift=moved.max_drift,
        auc=None if truth is None else truth.auc,
        accuracy=None if truth is None else truth.accuracy,
        limits=asdict(margins),
        failures=tuple(failures),
        seen=seen,
        reserves=(*_seen(seen, moved.scans), *reserves),
        notes=tuple(notes),
        passed=not failures,
    )


def _movement_failures(moved: Movement, margins: Margins, classes: Sequence[str]) -> Iterator[str]:
    scans = _scans(moved.scans)
    if moved.broken_reference:
        which = f"{moved.broken_reference} of {scans}"
        yield f"the float32 engine gave NaN or infinity for {which}; nothing can be compared"
        return
    if moved.broken:
        yield f"{moved.broken} of {scans} gave NaN or infinity"
        return
    allowed = max(margins.lone_flip, margins.most_flips(moved.scans))
    if moved.flips > allowed:
        yield f"{moved.flips} of {scans} changed class; at most {allowed} allowed"
    for side, name in ((moved.positive, classes[POSITIVE]), (moved.others, "other")):
        of_side = max(margins.lone_flip, margins.most_side_flips(side.scans))
        if side.flips > of_side:
            yield (
                f"{side.flips} of {side.scans} {name} scans changed class; "
                f"at most {of_side} allowed"
            )
    if moved.far > allowed:
        yield (
            f"a probability moved by more than {margins.far:g} in {moved.far} of {scans}; "
            f"at most {allowed} allowed"
        )
    if moved.mean_drift > margins.mean_drift:
        yield (
            f"probabilities moved by {moved.mean_drift:.3g} on average; "
            f"at most {margins.mean_drift:g} allowed"
        )


def _seen(seen: int | None, scans: int) -> Iterator[str]:
    """Yield the reserve against scans that trained the weights: on these, int8 does less harm."""
    if seen is None:
        yield (
            "nobody knows whether the scans that judged trained the weights: an ONNX file, and a "
            "bundle or checkpoint of an older version, do not say (give the run, or train again)"
        )
    elif seen:
        yield (
            f"{seen} of {_scans(scans)} that judged trained the weights, which does not show that "
            "decisions on new patients are kept (judge with scans of other patients)"
        )


def _movement_reserves(
    moved: Movement, margins: Margins, classes: Sequence[str], *, known: bool
) -> Iterator[str]:
    def may(found: int, scans: int) -> str:
        return f"{100 * largest_share(found, scans, margins.chance):.1f} %"

    most = margins.most_flips(moved.scans)
    if most < moved.flips <= margins.lone_flip:
        yield (
            f"{_scans(moved.scans)} judged, {margins.scans_needed(moved.flips)} needed (up to "
            f"{may(moved.flips, moved.scans)} of new scans may change class, "
            f"{100 * margins.new_flips:g} % allowed)"
        )
    if moved.flips <= most < moved.far <= margins.lone_flip:
        yield (
            f"a probability of {_scans(moved.far)} moved by more than {margins.far:g}: "
            f"{moved.scans} scans judged, {margins.scans_needed(moved.far)} needed"
        )
    sides = moved.positive, moved.others
    lacking = [s.flips for s in sides if margins.most_side_flips(s.scans) < s.flips]
    alike = moved.called == 1 and moved.scans > 1
    if lacking and max(lacking) <= margins.lone_flip and (known or not alike):
        positive, others = sides
        name = classes[POSITIVE]
        which = f"labelled {name}" if known else f"that float32 calls {name}"
        needed = margins.side_scans_needed(max(lacking))
        shares = " and ".join(may(side.flips, side.scans) for side in sides)
        yield (
            f"{_scans(positive.scans)} {which} and {others.scans} others judged, {needed} of each "
            f"needed (up to {shares} of new ones may change class, "
            f"{100 * margins.side_flips:g} % allowed)"
        )
    if alike:
        yield (
            f"float32 gives all {moved.scans} scans the same class, so they do not show whether "
            "decisions between classes are kept (judge with scans of every class, or train longer)"
        )


def _truth_failures(
    truth: Labelled, moved: Movement, margins: Margins, classes: Sequence[str]
) -> Iterator[str]:
    if truth.auc is None:
        return
    flipped = sum(side.flips / side.scans for side in (moved.positive, moved.others))
    allowed = max(margins.auc + flipped, 1 / (truth.positive * truth.others))
    fall = truth.auc.reference - truth.auc.candidate
    if fall > allowed + 1e-9:  # a fall by exactly one pair is allowed, and may round up
        yield (
            f"{classes[POSITIVE]}'s AUC fell by {fall:.3g}, from {truth.auc.reference:.4g} to "
            f"{truth.auc.candidate:.4g}; at most {allowed:.3g} allowed"
        )


def _truth_reserves(truth: Labelled, margins: Margins, classes: Sequence[str]) -> Iterator[str]:
    if truth.auc is not None and truth.auc.lower < -margins.auc_lower:
        yield (
            f"{classes[POSITIVE]}'s AUC may fall by {-truth.auc.lower:.3g} on new scans, "
            f"{margins.auc_lower:g} allowed (judge with more scans, of the rarer side above all)"
        )


def _truth_notes(truth: Labelled, classes: Sequence[str]) -> Iterator[str]:
    if truth.auc is None:
        which = "all scans are" if truth.positive else "no scan is"
        yield f"{classes[POSITIVE]}'s AUC not judged: {which} labelled {classes[POSITIVE]}"
    absent = [name for name, scans in zip(classes, truth.counts, strict=True) if not scans]
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


def _scans(count: int) -> str:
    return f"{count} scan" if count == 1 else f"{count} scans"
