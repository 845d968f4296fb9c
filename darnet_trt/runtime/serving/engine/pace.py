"""Estimate how fast the engine is."""

from __future__ import annotations

from collections import deque
from typing import Final

_LAST: Final = 64  # batches that the estimate rests on
_FIRST: Final = 16  # batches that the first estimate counts for
_HICCUP: Final = 3.0  # a batch counts for at most so many times the estimate


class Pace:
    """Holds a running estimate of the engine's time for a volume.

    Args:
        volume_s: The first estimate, in seconds.

    Attributes:
        volume_s: The estimate.
        least_s: The shortest time of all.
    """

    def __init__(self, volume_s: float) -> None:
        self.reset(volume_s)

    def reset(self, volume_s: float) -> None:
        """Begin again, for another engine."""
        self.volume_s = self.least_s = volume_s
        self._last = deque([volume_s] * _FIRST, maxlen=_LAST)

    def took(self, volumes: int, seconds: float) -> None:
        """Correct the estimate by a batch.

        Args:
            volumes: Of the batch.
            seconds: From when the engine could begin with it to its end; so it holds what other
                work took in between.
        """
        each_s = seconds / volumes
        self.least_s = min(self.least_s, each_s)
        self._last.append(min(each_s, _HICCUP * self.volume_s))
        self.volume_s = sum(self._last) / len(self._last)
