"""How far long work has come, on stderr: one moving line, or a few lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

__all__ = ["Progress"]

LOG_STEPS = 4  # lines that a log gets where a terminal gets a moving one
REDRAW_S = 0.1


class Progress:
    """Counts towards a total; used as a context, so that its line always ends.

    Args:
        label: What is being done.
        total: How many there are.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label = label
        self.total = total
        self.count = 0
        self.started = time.monotonic()
        self.shown_at = self.started - REDRAW_S
        self.logged = 0
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.count += count
        now = time.monotonic()
        if self.terminal:
            if now - self.shown_at >= REDRAW_S or self.count == self.total:
                self.shown_at = now
                print(f"\r{self._text(now)}\x1b[K", end="", file=sys.stderr, flush=True)  # noqa: T201
        elif self.count * LOG_STEPS // self.total > self.logged:
            self.logged = self.count * LOG_STEPS // self.total
            print(self._text(now), file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        """End the moving line."""
        if self.terminal and self.count:
            self.terminal = False
            print(file=sys.stderr)  # noqa: T201

    def _text(self, now: float) -> str:
        spent = now - self.started
        left = spent / max(self.count, 1) * (self.total - self.count)
        return f"{self.label}: {self.count} of {self.total}, {spent:.0f} s, {left:.0f} s left"
