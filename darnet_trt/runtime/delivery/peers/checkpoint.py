"""Keep pynetdicom's own thread of an association from taking the answers to our requests."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pynetdicom.association import Association

_LOOKS_S: Final = 0.05  # how often it is looked whether the thread has ended


class Checkpoint:
    """Where an association's own thread waits while a request of ours is under way.

    It takes the place of pynetdicom's (3.0.4), an Event. The thread comes by at each of its rounds,
    and looks for requests of the peer in between. One that has just passed the Event when we clear
    it still counts as waiting: it takes our answer for a request of the peer, and drops it, and we
    wait for it in vain. On a busy machine that befalls one request in some thousands.

    Args:
        thread: The association.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        self._open, self._waits = True, False
        self._changed = threading.Condition()

    def is_set(self) -> bool:
        """Return whether the thread may pass."""
        return self._open

    def set(self) -> None:
        """Let the thread pass."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Let the thread pass no more; return when it waits, or has ended."""
        with self._changed:
            self._open = False
            while (
                not self._waits
                and self._thread.is_alive()
                and self._thread is not threading.current_thread()  # it may send, too
            ):
                self._changed.wait(_LOOKS_S)

    def wait(self) -> None:
        """Wait until the thread may pass; the thread itself calls this."""
        with self._changed:
            while not self._open:
                self._waits = True
                self._changed.notify_all()
                self._changed.wait()
            self._waits = False


def keep_answers(association: Association) -> None:
    """Have an association lose no answer; call it when it was opened, before any request."""
    association._reactor_checkpoint = Checkpoint(association)
    kind: Any = type(association)
    association.__class__ = _always_paused(kind)


@lru_cache
def _always_paused(kind: Any) -> Any:
    """Return a kind of association of which nobody waits until its thread has paused.

    After `clear` it has. pynetdicom notes that in a field of its own, which the thread of a report
    (N-EVENT-REPORT) sets as well: where that sets it last, it is waited for without end.
    """
    return type(kind.__name__, (kind,), {"_is_paused": property(lambda _: True, lambda *_: None)})
