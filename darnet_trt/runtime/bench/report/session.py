"""Hold what every report tells, whatever was measured."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import counted
from darnet_trt.machine.files import as_text
from darnet_trt.machine.memory import free_memory
from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.report.environment import environment
from darnet_trt.runtime.bench.report.schema import BenchReport, Configuration, MeasuredEngine
from darnet_trt.runtime.bench.signs.doubts import doubts
from darnet_trt.runtime.bench.signs.watch import Watch


class Session:
    """A measurement's bundle and machine, from before it to its report.

    Args:
        bundle: From `open_bundle`.
        scan: As in `BenchReport`.
        threads: As in `Environment`.
        command: As in `Environment`.
        gpu: Whether a GPU is at work.

    Attributes:
        watch: To be entered around what is measured.
    """

    def __init__(
        self, bundle: Bundle, *, scan: Path | None, threads: int | None, command: str, gpu: bool
    ) -> None:
        self._bundle, self._scan = bundle, scan
        self._threads, self._command = threads, command
        self.watch = Watch(gpu=gpu)
        self._memory_free_mb = free_memory() / 1e6
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def report(
        self,
        engines: Sequence[MeasuredEngine],
        configurations: Sequence[Configuration],
        *,
        interrupted: bool,
        **others: Any,
    ) -> BenchReport:
        """Return the report, once the watch has ended.

        Args:
            engines: As in `BenchReport`.
            configurations: As in `BenchReport`.
            interrupted: As in `BenchReport`.
            others: Further fields.
        """
        conditions = self.watch.conditions
        return BenchReport(
            bundle=absolute(self._bundle.path),
            bundle_sha256=self._bundle.sha256,
            scan=None if self._scan is None else absolute(self._scan),
            started=self._started,
            interrupted=interrupted,
            pause_ms=turns.PAUSE_MS,
            turn_ms=turns.TURN_MS,
            gpu_warm_up_ms=turns.GPU_WARM_UP_MS,
            environment=environment(
                self._memory_free_mb, command=self._command, threads=self._threads
            ),
            conditions=conditions,
            doubts=doubts(conditions),
            engines=tuple(engines),
            configurations=tuple(configurations),
            **others,
        )


def absolute(path: Path) -> str:
    """Return a path from the root, as text."""
    return as_text(os.path.abspath(path))  # noqa: PTH100 (resolve follows links)


def lasting(seconds: float, rounds: int | None = None) -> str:
    """Say how long something takes, for a person."""
    if rounds is not None:
        return counted(rounds, "round")
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
