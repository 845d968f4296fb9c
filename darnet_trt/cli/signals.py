"""Handle the signals that end a command."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handlers = Mapping[signal.Signals, Any]


@contextmanager
def handled(names: Collection[str], handle: Callable[[int, Handlers], None]) -> Iterator[None]:
    """Call a function at some signals, and give them their handlers back at the end.

    A signal that is ignored (as SIGHUP under nohup) stays so.

    Args:
        names: Of the signals; those that the system does not have count as absent.
        handle: Takes the signal's number, and the handlers that the signals had before.
    """
    found = {one: signal.getsignal(one) for one in signal.Signals if one.name in names}
    before = {one: old for one, old in found.items() if old not in (signal.SIG_IGN, None)}

    def call(number: int, frame: FrameType | None) -> None:
        handle(number, before)

    for one in before:
        signal.signal(one, call)
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)
