"""Results that took long to compute, kept in a file so that an interrupted search can continue.

The file has one line of JSON a result, appended as it comes. Lines that cannot be read, such as a
last line that was cut off, are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from darnet_trt.machine.cache import used


class Memo:
    """Results by key.

    Args:
        file: Where they are kept. It is created with its folder at the first result; where it
            cannot be written, results last as long as this object.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        used(file)
        self._known: dict[str, Any] = dict(_entries(file))

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the kept result, else compute and keep it; results are plain JSON values."""
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
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            content: Mapping[str, Any] = json.loads(line)
            yield str(content["key"]), content["value"]
