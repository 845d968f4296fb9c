"""Choose the scans that trained networks are explained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import Cohort, Entry
from darnet_trt.training.ablation.explanation.networks import Explained, trained_all, unseen

CASES: Final = 3  # as in the paper's figure: mild, moderate, severe


def entries_of(
    networks: Sequence[Explained], cohort: Cohort, scans: Sequence[str], *, every: bool
) -> tuple[tuple[Entry, ...], int]:
    """Return the scans to try, and how many of them to use.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        scans: Names of the figure's scans; empty: three of the positive class.
        every: Use every scan, to score them; else only those of the figure.

    Raises:
        UsageError: No scan is left, one that is named is not there, or a run does not say which
            patients trained it.
    """
    left = unseen(networks, cohort)
    if scans:
        named = {cohort.name(entry): entry for entry in cohort.entries}
        if strangers := [scan for scan in scans if scan not in named]:
            raise UsageError(
                f"names no scan {strangers[0]}", where=cohort.table, do="name one as it does"
            )
        asked = tuple(dict.fromkeys(named[scan] for scan in scans))
        return asked, len(asked)
    if not left:
        raise trained_all("patient of this cohort", cohort)
    label = cohort.classes[0]
    positive = tuple(entry for entry in left if entry.label == label)
    if not any(entry.label == label for entry in cohort.entries):
        raise UsageError(
            f"has no scan of the class {label}", where=cohort.table, do="name scans with --scan"
        )
    if not positive:
        raise positive_trained(cohort)
    return (left, len(left)) if every else (positive, min(CASES, len(positive)))


def positive_trained(cohort: Cohort) -> UsageError:
    """Return the error where all scans of the positive class trained a network."""
    what = f"scan of the class {cohort.classes[0]}"
    return trained_all(what, cohort, ", or name scans of other classes with --scan")
