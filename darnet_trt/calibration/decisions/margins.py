"""How much an int8 engine may lose against the float32 engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count
from typing import Final

from darnet_trt.evaluation.intervals import accuracy_interval, share_at_most
from darnet_trt.runtime.prediction.results import UNDECIDED_BELOW

__all__ = ["MARGINS", "Margins"]


@dataclass(frozen=True)
class Margins:
    """What may be lost.

    Attributes:
        auc: Fall of COVID-19's AUC.
        auc_lower: How far below 0 the 95 % interval of its difference may reach. It is judged from
            so many scans of both sides on that an engine whose AUC falls by `auc` keeps within.
        accuracy: Fall of the accuracy; and always one scan's.
        accuracy_lower: How far below 0 the 95 % interval of its difference may reach. It is
            judged from so many scans on that one scan lost keeps it within.
        flips: Share of the scans whose class may differ; and always one scan of which the
            reference was not sure.
        sure_lead: The reference is sure where its first class leads the second by this.
        mean_drift: Of a scan's probabilities the one that moves most, mean over the scans.
        max_drift: The same, largest.
    """

    # The paper's five trainings spread by 0.0016 to 0.0045 in AUC and by 0.0054 to 0.022 in
    # accuracy (Table 2): a smaller fall is lost among trainings. The intervals' margins are wider
    # because they hold for scans that were not seen. Whether 5 % of all scans may change for the
    # worse can be shown by 110; whether every tenth COVID-19 scan may sink among the others, or
    # every tenth other rise, by 37 of each: a third of those, so that 120 scans of three classes
    # in equal parts suffice for both. Half as wide a margin of the AUC would take 82 of each. Of
    # fewer an engine that changes next to nothing would fail by
    # its interval: that would judge the number of scans and not the engine.
    auc: float = 0.005
    auc_lower: float = 0.1
    accuracy: float = 0.01
    accuracy_lower: float = 0.05
    flips: float = 0.01
    # Below this lead `predict` calls a scan undecided: there a flip changes no decision.
    sure_lead: float = UNDECIDED_BELOW
    # With drifts up to 0.15 no scan flips whose first class led by more than 0.3, and the mean
    # finds an engine that is a little wrong everywhere, which the largest alone would let pass.
    mean_drift: float = 0.02
    max_drift: float = 0.15

    def auc_fall(self, pairs: int) -> float:
        """How far the AUC may fall where it is the mean over so many pairs: by one always."""
        return max(self.auc, 1 / pairs)

    def accuracy_fall(self, scans: int) -> float:
        """How far the accuracy may fall on so many scans."""
        return max(self.accuracy, 1 / scans)

    def flipped(self, scans: int) -> int:
        """How many of so many scans may change class, whether the reference was sure or not."""
        return math.floor(self.flips * scans + 1e-9)  # 0.29 × 100 is 28.999…

    def can_show_auc(self, covid: int, others: int) -> bool:
        """Whether the interval of an AUC that fell by `auc` on so many can be within its margin."""
        return self.auc + share_at_most(0, min(covid, others)) <= self.auc_lower

    def scans_to_show_auc(self) -> int:
        """The fewest of each side that can show it."""
        return next(scans for scans in count(1) if self.can_show_auc(scans, scans))

    def can_show_accuracy(self, scans: int) -> bool:
        """Whether one scan lost of so many leaves the accuracy's interval within its margin.

        An engine judged on fewer is no default, labelled or not: without labels every scan that
        changes class may be one that is lost.
        """
        return accuracy_interval(1, 0, scans)[0] >= -self.accuracy_lower

    def scans_to_show_accuracy(self) -> int:
        """The fewest that can."""
        return next(scans for scans in count(1) if self.can_show_accuracy(scans))


MARGINS: Final = Margins()
