"""Show on stderr how far long work has come, and how to continue it when it is interrupted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from darnet_trt.cli import printing
from darnet_trt.cli.printing import say, warn

LOG_LINES = 4  # that a log gets where a terminal gets a bar


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Count towards a total: one bar on a terminal, a few plain lines elsewhere.

    Args:
        label: What is being done.
        total: How many there are.

    Yields:
        Call it with the number done since the last call.
    """
    if printing.quiet:
        yield lambda count: None
        return
    if sys.stderr.isatty():
        from rich import progress as bars
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_interactive:  # TERM=dumb cannot move its cursor
            columns = (
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeElapsedColumn(),
                bars.TimeRemainingColumn(),
            )
            with bars.Progress(*columns, console=console, redirect_stdout=False) as bar:
                task = bar.add_task(label, total=total)
                yield lambda count: bar.advance(task, count)
            return
    yield _plain_lines(label, total)


def _plain_lines(label: str, total: int) -> Callable[[int], None]:
    started = time.monotonic()
    done = lines = 0

    def advance(count: int) -> None:
        nonlocal done, lines
        done += count
        if done * LOG_LINES // total > lines:
            lines = done * LOG_LINES // total
            spent = time.monotonic() - started
            left = spent / done * (total - done)
            say(f"{label}: {done} of {total}, {spent:.0f} s, {left:.0f} s left")

    return advance


@contextmanager
def resumable(command: str = "the same command again") -> Iterator[None]:
    """Say how to continue when Ctrl-C or a signal ends the work inside."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        warn(f"run {command} to continue")
        raise


def duration(seconds: float) -> str:
    """Return a time in words: "12 s", "3 min", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
