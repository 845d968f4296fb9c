"""Worker processes that do not outlive who started them."""

from __future__ import annotations

import multiprocessing
import os
import threading

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """For a pool's `initializer`: end this process as soon as its parent has ended.

    A pool whose owner was killed leaves its workers waiting for ever: each holds the other end of
    the pipe that the next call would come from.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for the code, and the main thread may be anywhere
