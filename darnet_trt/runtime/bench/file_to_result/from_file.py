"""Measure the way from a scan's files to its result, with the code of `predict`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import Finding, ScanError, UsageError
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import Result, StageTimes

# The first scan is read before an engine can run: in a run of 8 that counts an eighth.
_MANY: Final = 8


class FromFile:
    """The way from one scan's files to its result, with a loaded engine.

    Attributes:
        subject: For `in_turns`; its query raises ScanError if the scan cannot be classified. What
            follows each query is not timed; it raises UsageError if there are several scans.
    """

    def __init__(self, name: str, bundle: Bundle, scan: Path, engine: Engine) -> None:
        self._ask = partial(predict, bundle, engine=engine)
        self._scan = scan
        self._stages: list[StageTimes] = []
        self._run: Iterator[Result] = iter(())
        self._named = ""
        self.subject = Subject(name, self._query, after=self._end)

    def _query(self) -> None:
        self._stages.append(self._result().stages_ms)

    def whole_run(self) -> None:
        """Answer a query and end its run, for streams side by side: there all takes their time.

        Raises:
            ScanError: The scan cannot be classified.
            UsageError: There are several scans.
        """
        self._result()
        self._end()

    def input(self) -> npt.NDArray[np.float32]:
        """Return the network's input that `predict` makes of the scan, float32 (1, d, h, w)."""
        evidence = self._result(evidence=True).evidence
        self._end()
        assert evidence is not None
        return evidence.volume[None]

    def stage_medians_ms(self, trace: Trace) -> dict[str, float]:
        """Return the median of each stage over the measured queries, of which there is one."""
        measured = trace.measured(self._stages)
        return {
            stage: float(np.median([getattr(one, stage) for one in measured]))
            for stage in StageTimes.model_fields
        }

    def many_ms_per_scan(self) -> float:
        """Return the wall time per scan when the scan is predicted several times in one run."""
        start = time.perf_counter()
        count = sum(1 for _ in self._ask([self._scan] * _MANY, repeats=True))
        return (time.perf_counter() - start) * 1000 / count

    def _result(self, *, evidence: bool = False) -> Result:
        self._run = self._ask([self._scan], evidence=evidence)
        first = next(self._run)
        self._named = first.scan
        if first.status != "ok":
            self._end()
            found = f"{first.status}: {first.reason}"
            raise ScanError(Finding(first.code, found), where=self._scan)
        return first

    def _end(self) -> None:
        """Let the run end; its result is there.

        Raises:
            UsageError: It gives more results.
        """
        if others := [*self._run]:
            found = f"holds {1 + len(others)} scans, {self._named} and {others[0].scan} among them"
            raise UsageError(found, where=f"--scan {self._scan}", do="name one of them")
