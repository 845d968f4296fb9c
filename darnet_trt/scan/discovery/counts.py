"""How many files a search found, and what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Counts:
    """The files that a search found.

    Attributes:
        scans: Studies that they form.
        used: Files in these.
        unread: Files that should be scans and cannot be read; each is a failed study of its own.
        ignored: Kind of the others → how many.
    """

    scans: int = 0
    used: int = 0
    unread: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def found(self) -> int:
        """Return how many files there are."""
        return self.used + self.unread + self.ignored.total()

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.scans + other.scans,
            self.used + other.used,
            self.unread + other.unread,
            self.ignored + other.ignored,
        )

    def __bool__(self) -> bool:
        return self.found > 0

    def __str__(self) -> str:
        """Return a line for a person: "found 9 files: 6 in 2 scans, 3 ignored (2 text, 1 PDF)"."""
        parts = [f"{self.used:,} in {_counted(self.scans, 'scan')}"]
        if self.unread:
            parts.append(f"{self.unread:,} cannot be read")
        if self.ignored.total():
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.ignored.most_common())
            parts.append(f"{self.ignored.total():,} ignored ({kinds})")
        return f"found {_counted(self.found, 'file')}: {', '.join(parts)}"


def _counted(count: int, one: str) -> str:
    return f"{count:,} {one}{'' if count == 1 else 's'}"
