"""Say what every profiler gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from darnet_trt.runtime.bench.layers.places import Executed
from darnet_trt.runtime.engines.runner import Runner

MOST_RUNS: Final = 50
"""Runs that are looked at: their median does not change any more, and every run of ONNX Runtime
writes some 300 KB."""

Run = Sequence[tuple[Executed, float]]
"""The layers of a run in order, each with its time in ms."""


class Profiler(Protocol):
    """An engine that is loaded with its profiler on."""

    @property
    def runner(self) -> Runner:
        """Return the engine."""
        ...

    def after_run(self) -> None:
        """Note the layers' times; called after each `runner.infer` of one volume."""
        ...

    def runs(self) -> list[Run]:
        """Return the layers' times of at most `MOST_RUNS` runs, and free the engine."""
        ...
