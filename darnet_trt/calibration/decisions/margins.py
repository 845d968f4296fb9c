"""Limits of what an int8 engine may lose against the float32 engine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from darnet_trt.evaluation.intervals import most_found
from darnet_trt.runtime.prediction.results.result import UNDECIDED_BELOW


@dataclass(frozen=True)
class Margins:
    """The limits.

    An engine fails if the scans show that it is worse than a limit. It gets a reserve if they are
    too few to show that new scans keep to it.

    Attributes:
        flips: Largest share of the scans that judge whose class may change.
        new_flips: Largest share of new scans whose class may change.
        side_flips: The same of new scans of the positive class, and of the others.
        chance: How often an engine that is as bad as `new_flips` or `side_flips` may look better.
        lone_flip: Scans whose class may change without a failure, however few scans judge.
        sure_lead: The reference is sure if its first class leads the second by at least this.
        far: A probability that moves by more than this moves far. `flips` and `new_flips` hold for
            scans with such a probability, too.
        mean_drift: Limit of the mean over the scans of the probability that moves most; a scan
            counts `far` at most, so that single scans are left to the limits of `flips`.
        auc: Largest fall of the positive class's AUC, beside what the scans that change class can
            take.
        auc_lower: How far below 0 the 95 % interval of the AUC's difference may reach.
    """

    # The paper's five trainings differ by 0.0054 to 0.022 in accuracy and by 0.0016 to 0.0045 in
    # AUC (Table 2). If 1 % change class, the accuracy falls by 0.01 at most.
    flips: float = 0.01
    auc: float = 0.005
    # Of engines that change 3 % of new scans, at most 2 % are to be shipped: 1.5 % if the first one
    # tried passes, and 0.06 % at each of the eight times that the search may ask. So 138 scans
    # without a change are needed, 204 with one; 40 scans of the positive class, and 40 others.
    # From 234 scans on, an engine that changes 0.2 % of new scans then fails in less than 10 of 100
    # builds (`benchmarks/quantization/gate.py`).
    new_flips: float = 0.03
    side_flips: float = 0.1
    chance: float = 0.015
    lone_flip: int = 1
    # Below this lead `predict` calls a scan undecided.
    sure_lead: float = UNDECIDED_BELOW
    # With drifts up to 0.15 no scan flips whose first class led by more than 0.3. The mean finds an
    # engine that is slightly wrong everywhere.
    far: float = 0.15
    mean_drift: float = 0.02
    # 35 scans of each side can exclude that the AUC falls by 0.1.
    auc_lower: float = 0.1

    def most_flips(self, scans: int) -> int:
        """Return how many of the scans may change class; -1 if the scans are too few."""
        return min(int(self.flips * scans + 1e-9), most_found(scans, self.new_flips, self.chance))

    def most_side_flips(self, scans: int) -> int:
        """Return how many of one side's scans may change class; -1 if they are too few."""
        return most_found(scans, self.side_flips, self.chance)

    def scans_needed(self, flips: int) -> int:
        """Return the fewest scans of which so many may change class."""
        return next(scans for scans in count(1) if self.most_flips(scans) >= flips)

    def side_scans_needed(self, flips: int) -> int:
        """Return the fewest scans of one side of which so many may change class."""
        return next(scans for scans in count(1) if self.most_side_flips(scans) >= flips)


MARGINS: Final = Margins()
"""The limits for an engine that is judged once."""

# The search asks the same scans again and again, so each answer must be surer, and no scan is
# allowed to change class by good luck.
SEARCHED: Final = Margins(chance=0.0006, lone_flip=0)
"""The limits for an engine whose layers were chosen on the scans that judge."""


def limits_after(tried: int) -> Margins:
    """Return the limits for an engine if so many sets of layers were tried on these scans."""
    return MARGINS if tried < 2 else SEARCHED
