"""Read what a machine may not show: containers, virtual machines and other systems hide a lot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def readable(read: Callable[[], Value]) -> Value | None:
    """Return what `read` returns; None where a file is absent, locked or has another form."""
    try:
        return read()
    except (OSError, ValueError, LookupError):
        return None
