"""Tell systemd how the service is, where it started it (sd_notify(3), by a plain datagram)."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_ADDRESS: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_LONGEST_S: Final = 1.0  # it may be slow to read


class Systemd:
    """Says when the service is ready, reloads and ends, and that it is alive.

    Without systemd it does nothing.

    Args:
        is_alive: Whether the service works; asked twice in each interval of the watchdog.
    """

    def __init__(self, is_alive: Callable[[], bool]) -> None:
        self._is_alive = is_alive
        self._ends = threading.Event()
        usec = os.environ.get(_WATCHDOG, "")
        if usec.isdecimal() and int(usec) and os.environ.get(_ADDRESS):
            every_s = int(usec) / 2e6
            threading.Thread(
                target=self._watch, args=(every_s,), name="watchdog", daemon=True
            ).start()

    def ready(self) -> None:
        """Say that it is ready, also after a reload."""
        _tell("READY=1")

    def reloads(self) -> None:
        """Say that it reloads; `ready` ends that."""
        _tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def ends(self) -> None:
        """Say that it ends."""
        self._ends.set()
        _tell("STOPPING=1")

    def _watch(self, every_s: float) -> None:
        while not self._ends.wait(every_s):
            if self._is_alive():
                _tell("WATCHDOG=1")


def _tell(what: str) -> None:
    address = os.environ.get(_ADDRESS)
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.settimeout(_LONGEST_S)
        peer.sendto(what.encode(), address)
