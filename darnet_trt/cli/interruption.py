"""What is said where long work is interrupted: how it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

__all__ = ["goes_on"]


@contextmanager
def goes_on(again: str = "the same command") -> Iterator[None]:
    """Say on stderr, where Ctrl-C or a signal ends the work in it, what takes it up again."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        with suppress(OSError):  # a hangup may have taken stderr
            typer.echo(f"{again} goes on from what is done", err=True)
        raise
