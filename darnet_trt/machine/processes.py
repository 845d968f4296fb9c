"""Worker processes that do not outlive who started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

__all__ = ["worker_pool"]


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """Start a pool of worker processes that end when this process ends, however it ends.

    They are spawned: a fork of a process with threads (BLAS, torch) may hang. Each watches its
    parent: the workers of a pool whose owner was killed would otherwise wait for ever, because
    each holds the other end of the pipe that the next call would come from.
    """
    return ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )


def _end_with_parent() -> None:
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for the code, and the main thread may be anywhere
