"""Give the engine several scans at once where that pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Final

from darnet_trt.runtime.engines.runner import Runner, runs_on_gpu
from darnet_trt.runtime.prediction.pipeline.loading import Loads, Ready

PATIENCE_S: Final = 0.3
"""Longest wait for a batch to fill. Judgement: a GPU's batch takes some hundredths of a second, and
a scan some tenths to load."""


def largest_batch(runner: Runner) -> int:
    """Return how many scans the engine gets at once: a CPU is no faster with several."""
    return runner.batch[1] if runs_on_gpu(runner) else 1


def batches(loads: Loads, largest: int, impatient: Callable[[], bool]) -> Iterator[list[Ready]]:
    """Yield what is ready, in full batches while more is being loaded.

    A study that could not be loaded comes with the others, and takes no place of theirs.

    Args:
        loads: What gives them.
        largest: Most scans for the engine at once.
        impatient: Whether to yield an empty batch where none is ready for a while.
    """
    while True:
        try:
            first = loads.next(PATIENCE_S if impatient() else None)
        except Empty:
            yield []
            continue
        if first is None:
            return
        batch = [first]
        until = time.monotonic() + PATIENCE_S
        while sum(ready.read.loaded is not None for ready in batch) < largest:
            left = until - time.monotonic()
            if largest == 1 or left <= 0 or not loads.more():
                break
            try:
                following = loads.next(left)
            except Empty:
                break
            if following is None:
                break
            batch.append(following)
        yield batch
