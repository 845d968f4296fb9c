"""What one peer may take of this machine: bytes, time, and slices a second."""

from __future__ import annotations

import threading
import time
from typing import Final

from darnet_trt.machine.archives import LARGEST_FILE

LONGEST_PDU: Final = 1 << 20
"""Bytes that we read of one PDU at most; senders keep to the 128 KiB that we ask for."""
LONGEST_COMMAND: Final = 1 << 16
"""Bytes of a command; a C-STORE request has some 200."""
LARGEST_MESSAGE: Final = LARGEST_FILE
"""Bytes of one object: as of a file that is read elsewhere."""
IN_FLIGHT: Final = 2 << 30
"""Bytes of all objects that are coming in, which lie in memory until they are whole."""
ASSOCIATE_S: Final = 10.0
"""How long a connection may wait with its TLS handshake and its request to associate."""
LINGER_S: Final = 2.0
"""How long we wait for a peer to hang up before we do."""
STRANGERS: Final = 64
"""Connections that have not yet associated; one more ends that which waits longest."""
SLOWEST: Final = 4096
"""Bytes a second; an object that comes more slowly is given up after `SLOW_AFTER_S`."""
SLOW_AFTER_S: Final = 60.0

_MOST_PEERS: Final = 1000
"""Peers that are remembered before those are forgotten who need not wait."""


class Pace:
    """Keep each peer to a number of slices a second, however many associations it has.

    Args:
        per_s: How many; None: any.
    """

    def __init__(self, per_s: float | None) -> None:
        self._step = 1 / per_s if per_s else 0.0
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, peer: str, stopped: threading.Event) -> None:
        """Wait for a peer's turn; the peer waits for its answer meanwhile."""
        if not self._step:
            return
        with self._lock:
            now = time.monotonic()
            if len(self._next) >= _MOST_PEERS:  # strangers choose their titles
                self._next = {peer: turn for peer, turn in self._next.items() if turn > now}
            turn = max(now, self._next.get(peer, 0.0))
            self._next[peer] = turn + self._step
        stopped.wait(turn - now)
