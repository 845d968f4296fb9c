"""Compare results with the labels of a cohort."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from darnet_trt.errors import UsageError, counted
from darnet_trt.evaluation.intervals import area_interval, share_interval
from darnet_trt.evaluation.metrics import log_odds, not_measured
from darnet_trt.runtime.prediction.report.markup import html, table
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan.cohorts import POSITIVE, Cohort


@dataclass
class Labelled:
    """The results of a cohort's scans.

    Attributes:
        cohort: The table with the labels.
        counts: How many results have this label and came to this class.
        others: How many have this label and, for want of a class, this status.
    """

    cohort: Cohort
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    others: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        root = self.cohort.root.absolute()
        self._labels: dict[PurePath, str] = {}
        for entry in self.cohort.entries:
            scan = entry.scan.absolute()
            self._labels[scan] = entry.label
            if scan.is_relative_to(root):
                self._labels[scan.relative_to(root)] = entry.label
        self._logits: list[list[float]] = []
        self._positive: list[bool] = []

    def add(self, result: Result) -> str | None:
        """Count a result; return its scan's label, None where the table does not have the scan."""
        scan = PurePath(result.scan)
        label = next((self._labels[p] for p in (scan, *scan.parents) if p in self._labels), None)
        if label is None:
            return None
        if result.predicted is None:
            self.others[label, result.status] += 1
            return label
        self.counts[label, result.predicted] += 1
        logits = result.logits or _logits(result.probabilities)
        if logits.keys() == set(self.cohort.classes):
            self._logits.append([logits[name] for name in self.cohort.classes])
            self._positive.append(label == self.cohort.classes[POSITIVE])
        return label

    @property
    def total(self) -> int:
        """Return how many results are of scans in the table."""
        return self.counts.total() + self.others.total()

    @property
    def right(self) -> int:
        """Return how many results have their label's class."""
        return sum(count for (label, found), count in self.counts.items() if label == found)

    def check(self) -> None:
        """Raise UsageError where no result is of a scan in the table."""
        if not self.total:
            raise UsageError(
                "names none of the scans of these results",
                where=self.cohort.table,
                do="give the cohort's folder to predict, so that both name scans alike",
            )

    def __str__(self) -> str:
        return f"{self.right:,} of {counted(self.total, 'labelled scan')} classified right"

    def section(self) -> str:
        """Return the HTML that compares classes and labels."""
        return (
            f'<section id="labels"><h2>Against the labels</h2>{self._measures()}'
            f"{self._confusion()}</section>"
        )

    def _measures(self) -> str:
        total = self.total
        low, high = share_interval(self.right, total)
        said = f"<p><b>{self}</b>: accuracy {_interval(self.right / total, low, high)}"
        positive = np.array(self._positive, np.bool_)
        if positive.any() and not positive.all():
            odds = log_odds(np.array(self._logits))[:, POSITIVE]
            area = area_interval(odds, positive)
            name = html(self.cohort.classes[POSITIVE])
            said += f"; area under the ROC curve of {name} against the rest {_interval(*area)}"
        else:
            name, scans = html(self.cohort.classes[POSITIVE]), int(positive.sum())
            said += f"; {name} against the rest {not_measured(name, scans)}"
        return (
            f'{said}. <span class="soft">In brackets: 95 % intervals, as if each scan were of '
            "another patient. Refused and failed scans count as wrong, and have no part in the "
            "area.</span></p>"
        )

    def _confusion(self) -> str:
        classes = self.cohort.classes
        others = sorted({found for _, found in self.counts} - set(classes))
        columns = [(name, self.counts) for name in (*classes, *others)]
        columns += [(status, self.others) for status in sorted({s for _, s in self.others})]
        rows = [
            [html(label), *(self._cell(label, *column) for column in columns)] for label in classes
        ]
        caption = "How many scans of each label (rows) came to each class (columns)."
        titles = ["label", *(html(column) for column, _ in columns)]
        return table(caption, titles, rows, len(columns))

    def _cell(self, label: str, column: str, counts: Counter[tuple[str, str]]) -> str:
        count = f"{counts[label, column]:,}"
        is_right = counts is self.counts and label == column
        return f'<b class="right">{count}</b>' if is_right else count


def _logits(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Return logits of probabilities, for results of older versions, which have no logits."""
    return {name: math.log(max(p, sys.float_info.min)) for name, p in probabilities.items()}


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
