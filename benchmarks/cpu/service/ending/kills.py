"""Send studies to a receiver that is killed again and again meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from benchmarks.cpu.service.senders.dicom import Acknowledged, send_all, timeline
from benchmarks.cpu.service.senders.studies import make_studies


class Receiver(Protocol):
    """A program that takes DICOM files, on loopback."""

    @property
    def port(self) -> int:
        """Return its DICOM port, the same at each start."""

    def start(self) -> None:
        """Start it; return when its door is open."""

    def kill(self) -> None:
        """End it by SIGKILL."""


@dataclass(frozen=True)
class Size:
    """Say how much is sent, and how often the receiver is killed.

    Attributes:
        studies: How many.
        slices: Of each.
        kills: By SIGKILL.
        quiet_s: After which a study counts as complete.
        spread_s: The studies begin within so many seconds.
        late_s: How long after its study's begin a late slice comes.
        up_s: Least and most seconds between an open door and the next kill.
        associations: At once.
    """

    studies: int
    slices: int
    kills: int
    quiet_s: float
    spread_s: float
    late_s: float
    up_s: tuple[float, float]
    associations: int = 8


LONG: Final = Size(20, 100, 20, 3.0, 60.0, 30.0, (0.2, 8.0))
SHORT: Final = Size(4, 30, 3, 2.0, 6.0, 10.0, (0.2, 5.0))


def strike(receiver: Receiver, size: Size, rng: random.Random) -> None:
    """Kill at a random moment, and start again."""
    time.sleep(rng.uniform(*size.up_s))
    receiver.kill()
    receiver.start()


def send_and_kill(
    receiver: Receiver,
    size: Size,
    seed: int,
    *,
    called: str = "ANY-SCP",
    web: int | None = None,
    limit_s: float = 900,
    kill: Callable[[Any, Size, random.Random], None] = strike,
) -> Acknowledged:
    """Send all, and kill and restart the receiver meanwhile and afterwards.

    Args:
        receiver: It runs, before and after.
        size: How much.
        seed: Draws all that is drawn.
        called: The receiver's application entity title.
        web: The receiver's HTTP port, where it takes DICOM files there, too.
        limit_s: When to give up.
        kill: Kills the receiver once, and starts it again.
    """
    line = timeline(
        make_studies(size.studies, size.slices),
        seed=seed,
        spread_s=size.spread_s,
        late_s=size.late_s,
    )
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(
            send_all,
            line,
            receiver.port,
            called=called,
            associations=size.associations,
            web=web,
            seed=seed,
            limit_s=limit_s,
        )
        rng = random.Random(seed)
        for _ in range(size.kills):
            kill(receiver, size, rng)
        done = sending.result()
    assert line.ended, f"{line.left} instances were not acknowledged in {limit_s:g} s"
    return done
