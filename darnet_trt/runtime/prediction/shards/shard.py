"""Which shard a result folder holds: the file `shard.json` in it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import whole_file

MARK: Final = "shard.json"
MOST: Final = 10_000
"""Shards of one run."""

Shard = tuple[int, int]
"""(3, 16) is the third of sixteen."""


@dataclass(frozen=True)
class Mark:
    """What a shard's folder says of itself.

    Attributes:
        shard: Which one it holds.
        ended: Whether its run came to its end; False where it still runs or was interrupted.
        key: Which key its pseudonyms come from (`Pseudonyms.check`), known at the end; may be
            empty.
    """

    shard: Shard
    ended: bool
    key: str = ""


def parse_shard(text: str) -> Shard:
    """Return the shard that "3/16" names.

    Raises:
        UsageError: It names none.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
    shard = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= shard[0] <= shard[1] <= MOST:
        raise UsageError(
            f"{text!r} is no shard",
            where="--shard",
            do=f"give its number and how many there are (1/1 … {MOST}/{MOST}), such as 3/16",
        )
    return shard


def named(shard: Shard) -> str:
    """Return a shard as it is given: "3/16"."""
    return f"{shard[0]}/{shard[1]}"


def read_mark(folder: Path) -> Mark | None:
    """Return what a folder says of itself; None where it holds no shard.

    Raises:
        UsageError: Its `shard.json` cannot be read, or is none of ours.
    """
    file = folder / MARK
    try:
        content = json.loads(file.read_bytes())
        key = str(content.get("pseudonym_key", ""))
        return Mark(parse_shard(content["shard"]), content["ended"] is True, key)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError, UsageError) as error:
        raise UsageError(
            "does not say which shard the folder holds",
            where=file,
            do="run that shard again into another folder",
        ) from error


@contextmanager
def marked(
    folder: Path, shard: Shard | None, key: Callable[[], str] = lambda: ""
) -> Iterator[None]:
    """Note in a result folder which shard its run is, and at the end that it came to its end.

    Args:
        folder: Exists; nobody else writes into it.
        shard: None: the run is no shard.
        key: Returns which key the pseudonyms come from; asked at the end.

    Raises:
        UsageError: The folder holds another shard.
        OutputError: It cannot be written.
    """
    known = read_mark(folder)
    if known is not None and known.shard != shard:
        raise UsageError(
            f"holds shard {named(known.shard)}",
            where=folder,
            do=f"continue it with --shard {named(known.shard)}, or choose another folder",
        )
    if shard is None:
        yield
        return
    before = known.key if known else ""
    _write(folder, Mark(shard, False, before))
    yield
    _write(folder, Mark(shard, True, key() or before))


def _write(folder: Path, mark: Mark) -> None:
    with whole_file(folder / MARK) as file:
        content = {"shard": named(mark.shard), "ended": mark.ended, "pseudonym_key": mark.key}
        file.write(f"{json.dumps(content)}\n".encode())
