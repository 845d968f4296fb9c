"""Limits of what an int8 engine may lose against the float32 engine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from darnet_trt.evaluation.intervals import accuracy_interval, share_at_most
from darnet_trt.runtime.prediction.results import UNDECIDED_BELOW


@dataclass(frozen=True)
class Margins:
    """The limits.

    Attributes:
        auc: Largest fall of COVID-19's AUC; one pair of scans is always allowed.
        auc_lower: How far below 0 the 95 % interval of the AUC's difference may reach. It is judged
            only on enough scans for an engine whose AUC falls by `auc` to pass.
        accuracy: Largest fall of the accuracy; one scan is always allowed.
        accuracy_lower: How far below 0 the 95 % interval of the accuracy's difference may reach. It
            is judged only on enough scans for an engine that loses one scan to pass.
        flips: Share of the scans whose class may differ; one scan that the reference was not sure
            of is always allowed.
        sure_lead: The reference is sure if its first class leads the second by at least this.
        mean_drift: Limit of the mean over the scans of the probability that moves most.
        max_drift: Limit of the largest of these.
    """

    # The paper's five trainings differ by 0.0016 to 0.0045 in AUC and by 0.0054 to 0.022 in
    # accuracy (Table 2): a smaller fall is within the spread of trainings. The intervals' margins
    # are wider because they speak of new scans. 110 scans can exclude that 5 % of new scans get
    # worse. 37 scans of each side can exclude that every tenth COVID-19 scan sinks among the
    # others, or every tenth other scan rises; 37 is a third of 110, so 120 scans in three equal
    # classes suffice for both. A margin of the AUC half as wide would need 82 of each side. With
    # fewer scans, an engine that changes almost nothing would fail by its interval: that would
    # judge the number of scans and not the engine.
    auc: float = 0.005
    auc_lower: float = 0.1
    accuracy: float = 0.01
    accuracy_lower: float = 0.05
    flips: float = 0.01
    # Below this lead `predict` calls a scan undecided, so a flip changes no decision.
    sure_lead: float = UNDECIDED_BELOW
    # With drifts up to 0.15 no scan flips whose first class led by more than 0.3. The mean finds
    # an engine that is slightly wrong everywhere, which the limit of the largest would miss.
    mean_drift: float = 0.02
    max_drift: float = 0.15

    def can_show_auc(self, covid: int, others: int) -> bool:
        """Return whether an AUC that fell by `auc` on so many scans can pass by its interval."""
        return self.auc + share_at_most(0, min(covid, others)) <= self.auc_lower

    def scans_to_show_auc(self) -> int:
        """Return the fewest scans of each side that `can_show_auc`."""
        return next(scans for scans in count(1) if self.can_show_auc(scans, scans))

    def can_show_accuracy(self, scans: int) -> bool:
        """Return whether an accuracy that fell by one of so many scans passes by its interval.

        An engine judged on fewer scans does not become the default, with or without labels: without
        labels, every scan that changes class may be one that is lost.
        """
        return accuracy_interval(1, 0, scans)[0] >= -self.accuracy_lower

    def scans_to_show_accuracy(self) -> int:
        """Return the fewest scans that `can_show_accuracy`."""
        return next(scans for scans in count(1) if self.can_show_accuracy(scans))


MARGINS: Final = Margins()
