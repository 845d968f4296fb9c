"""Which scans of a cohort train, and which measure."""

from __future__ import annotations

from dataclasses import dataclass

from darnet_trt.scan.cohorts.table import Entry


@dataclass(frozen=True)
class Sides:
    """A cohort's scans, divided by patient.

    Attributes:
        train: Trains the weights.
        held_out: Measures them while they are trained, and sets their temperature.
        test: Is kept for the end.
    """

    train: tuple[Entry, ...]
    held_out: tuple[Entry, ...]
    test: tuple[Entry, ...] = ()
