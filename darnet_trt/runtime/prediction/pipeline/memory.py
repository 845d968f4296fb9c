"""Divide memory among the engine, the processes that read scans, and the inputs that wait."""

from __future__ import annotations

from dataclasses import dataclass

from darnet_trt.scan.isolated import MEMORY
from darnet_trt.scan.preprocessing import Preprocessing


@dataclass(frozen=True)
class Plan:
    """How much may run and wait at once.

    Attributes:
        workers: Processes that read scans.
        share: Bytes that each may take beyond what it has after its imports.
        whole: The same for one that runs alone.
        inputs: How many inputs wait.
        input_size: Bytes of each.
        ahead: How many studies wait to be loaded.
    """

    workers: int
    share: int
    whole: int
    inputs: int
    input_size: int
    ahead: int


def planned(spec: Preprocessing, workers: int, largest_batch: int) -> Plan:
    """Return the plan."""
    d, h, w = spec.size
    return Plan(workers, MEMORY, MEMORY, workers + 2 * largest_batch, 4 * d * h * w, 2 * workers)
