"""Compare results with the labels of a cohort."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.intervals import area_interval, share_interval
from darnet_trt.runtime.prediction.report.markup import counted, html, table
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan.cohorts import POSITIVE, Cohort


@dataclass
class Labelled:
    """The results of a cohort's scans.

    Attributes:
        cohort: The table with the labels.
        counts: How many results have this label and came to this class, or status.
    """

    cohort: Cohort
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        root = self.cohort.root.absolute()
        self._labels: dict[PurePath, str] = {}
        for entry in self.cohort.entries:
            scan = entry.scan.absolute()
            self._labels[scan] = entry.label
            if scan.is_relative_to(root):
                self._labels[scan.relative_to(root)] = entry.label
        self._scores: list[float] = []
        self._positive: list[bool] = []

    def add(self, result: Result) -> str | None:
        """Count a result; return its scan's label, None where the table does not have the scan."""
        scan = PurePath(result.scan)
        label = next((self._labels[p] for p in (scan, *scan.parents) if p in self._labels), None)
        if label is None:
            return None
        self.counts[label, result.predicted or result.status] += 1
        positive = self.cohort.classes[POSITIVE]
        if positive in result.probabilities:
            self._scores.append(result.probabilities[positive])
            self._positive.append(label == positive)
        return label

    @property
    def right(self) -> int:
        """Return how many results have their label's class."""
        return sum(count for (label, found), count in self.counts.items() if label == found)

    def check(self) -> None:
        """Raise UsageError where no result is of a scan in the table."""
        if not self.counts:
            raise UsageError(
                "names none of the scans of these results",
                where=self.cohort.table,
                do="give the cohort's folder to predict, so that both name scans alike",
            )

    def __str__(self) -> str:
        return f"{self.right:,} of {counted(self.counts.total(), 'labelled scan')} classified right"

    def section(self) -> str:
        """Return the HTML that compares classes and labels."""
        return (
            f'<section id="labels"><h2>Against the labels</h2>{self._measures()}'
            f"{self._confusion()}</section>"
        )

    def _measures(self) -> str:
        total = self.counts.total()
        low, high = share_interval(self.right, total)
        said = f"<p><b>{self}</b>: accuracy {_interval(self.right / total, low, high)}"
        positive = np.array(self._positive, np.bool_)
        if positive.any() and not positive.all():
            area = area_interval(np.array(self._scores), positive)
            name = html(self.cohort.classes[POSITIVE])
            said += f"; area under the ROC curve of {name} against the rest {_interval(*area)}"
        return (
            f'{said}. <span class="soft">In brackets: 95 % intervals, as if each scan were of '
            "another patient. Refused and failed scans count as wrong, and have no part in the "
            "area.</span></p>"
        )

    def _confusion(self) -> str:
        found = {column for _, column in self.counts}
        classes = self.cohort.classes
        columns = [*classes, *sorted(found - set(classes))]
        rows = [
            [html(label), *(self._cell(label, column) for column in columns)] for label in classes
        ]
        caption = "How many scans of each label (rows) came to each class (columns)."
        return table(caption, ["label", *map(html, columns)], rows, len(columns))

    def _cell(self, label: str, column: str) -> str:
        count = f"{self.counts[label, column]:,}"
        return f'<b class="right">{count}</b>' if label == column else count


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
