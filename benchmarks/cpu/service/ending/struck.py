"""Run darnet-trt, and strike it dead at one of its changes of the disk.

    python -m benchmarks.cpu.service.ending.struck CHANGE serve BUNDLE ...

Kills at random moments seldom hit the moment between two changes of the disk that belong together;
these always do. The change is counted from 1; even ones are made before the process dies by
SIGKILL, odd ones are not.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Final

from benchmarks.cpu.service.ending.kills import Size
from benchmarks.cpu.service.server import EndedError, Server

CHANGES: Final = ("fsync", "link", "mkdir", "rename", "replace", "unlink")
MOST: Final = 600
"""Changes of the disk before the last one at which it dies; a slice takes four."""


def strike_at(change: int) -> None:
    """Let this process die at so many changes of the disk from now."""
    number = itertools.count(1)

    def struck(act: Any) -> Any:
        def do(*words: Any, **more: Any) -> Any:
            last = next(number) == change
            if last and change % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return act(*words, **more)
            finally:
                if last:
                    os.kill(os.getpid(), signal.SIGKILL)

        return do

    for name in CHANGES:
        setattr(os, name, struck(getattr(os, name)))


def strike(server: Server, size: Size, rng: random.Random) -> None:
    """Start a service that dies at one of its changes, and start it again; see `kills.strike`."""
    server.kill()
    server.change = round(math.exp(rng.uniform(0, math.log(MOST))))
    with suppress(EndedError):
        server.start()
    until = time.monotonic() + size.up_s[1]
    while server.alive and time.monotonic() < until:
        time.sleep(0.05)
    server.kill()
    server.change = 0
    server.start()


if __name__ == "__main__":
    from darnet_trt.cli.main import main

    strike_at(int(sys.argv.pop(1)))
    main()
