"""Results of trials that took long, kept so that an interrupted search goes on.

A line of JSON a result, appended as it comes, in the user's cache under the hash of all that it
depends on. A line that was cut off, or is none, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from darnet_trt.machine.cache import digest

__all__ = ["Memo"]


class Memo:
    """What is known under each name.

    Args:
        file: Made with its folder at the first result; one that cannot be written is done without.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Any] = dict(_entries(file))

    def get(self, name: Iterable[str], compute: Callable[[], Any]) -> Any:
        """What is known for a set of names, or what `compute` gives: plain JSON values."""
        key = digest(sorted(name))
        if key not in self._known:
            self._known[key] = compute()
            with suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a", encoding="utf-8") as lines:
                    # The line break first: the last line may have been cut off.
                    lines.write("\n" + json.dumps({"key": key, "value": self._known[key]}))
        return self._known[key]


def _entries(file: Path) -> Iterable[tuple[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        with suppress(ValueError, KeyError, TypeError):
            content: Mapping[str, Any] = json.loads(line)
            yield str(content["key"]), content["value"]
