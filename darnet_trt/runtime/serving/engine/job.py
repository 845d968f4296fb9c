"""What waits for the engine: requests, each on its lane to an engine of a bundle."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from darnet_trt.runtime.engines.runner import Outputs, Runner, joined
from darnet_trt.runtime.serving.engine.admission import Place

Volumes = npt.NDArray[np.float32]


@dataclass(eq=False)
class Lane:
    """Leads to an engine of a bundle.

    Attributes:
        runner: The engine; another one of the same bundle takes its place when it has failed.
        size: Of the volumes it takes: d, h, w.
        works: Whether it can be used; False: it failed.
        lost: Why what it was to do is not done; None: another engine may come and do it.
        closed: Whether it was closed.
    """

    runner: Runner
    size: tuple[int, int, int]
    works: bool = True
    lost: Exception | None = None
    closed: bool = False

    def close(self) -> None:
        """Free the engine, once."""
        if not self.closed:
            self.closed = True
            self.runner.close()


@dataclass(eq=False)
class Job:
    """A request, and how far the engine is with it.

    Attributes:
        lane: To its engine.
        volumes: Float32 (n, 1, d, h, w).
        place: Where it waits; None: apart.
        answer: What the caller waits for.
        done: Outputs of its first volumes.
        begun: How many of its volumes the engine has begun.
        tries: How often an engine failed on it.
        answered: Whether somebody answers it, who does so once.
    """

    lane: Lane
    volumes: Volumes
    place: Place | None
    answer: Future[Outputs] = field(default_factory=Future)
    done: list[Outputs] = field(default_factory=list)
    begun: int = 0
    tries: int = 0
    answered: bool = False

    def begin(self, most: int) -> int:
        """Count the next volumes, at most so many, as begun; return how many."""
        count = min(len(self.volumes) - self.begun, most)
        self.begun += count
        if self.place is not None:
            self.place.volumes -= count
        return count

    def succeed(self) -> None:
        """Give the outputs of all volumes."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(joined(self.done))

    def fail(self, error: Exception) -> None:
        """Give an error instead of them."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(error)
