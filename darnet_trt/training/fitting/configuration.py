"""What decides the result of a training, by name: only the same goes on in its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UsageError
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import Network
from darnet_trt.training.recipe import Recipe

SCANS: Final = frozenset({"training scans", "held-out scans"})
"""What is known only after the scans are read."""
_HASH: Final = 64  # letters of a SHA-256


def configured(network: Network, recipe: Recipe) -> dict[str, Any]:
    """Return what decides the result of a training but its scans."""
    decided = recipe.model_dump(mode="json", exclude={"loading"})
    return decided | network.model_dump(mode="json")


def of_scans(train: Sequence[Example], held_out: Sequence[Example]) -> dict[str, str]:
    """Return hashes of the scans, named as in `SCANS`."""
    hashes = {}
    for name, side in (("training scans", train), ("held-out scans", held_out)):
        files = repr([(example.file.name, example.label) for example in side])
        hashes[name] = hashlib.sha256(files.encode()).hexdigest()
    return hashes


def refuse_another(
    asked: Mapping[str, Any],
    found: Mapping[str, Any],
    folder: Path,
    *,
    what: str = "a run",
    options: str = "its options",
    but: frozenset[str] = frozenset(),
) -> None:
    """Refuse to go on with what has another configuration.

    Args:
        asked: The configuration that is asked for.
        found: That of what the folder holds.
        folder: Where it is.
        what: What it holds.
        options: What to give to go on with it.
        but: Names that may differ.

    Raises:
        UsageError: It names what differs.
    """
    differing = ", and ".join(differences(asked, found, but))
    if differing:
        raise UsageError(
            f"holds {what} with {differing}",
            where=folder,
            do=f"give {options} to go on with it, or choose another folder",
        )


def differences(
    asked: Mapping[str, Any], found: Mapping[str, Any], but: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Say what differs, name by name: "batch 2, not 3"; of hashes, "other training scans"."""
    asked, found = (dict(_flat(values)) for values in (asked, found))
    for name in sorted(asked.keys() | found.keys()):
        ours, theirs = asked.get(name), found.get(name)
        if name in but or ours == theirs:
            continue
        said = name.replace("_", " ")
        if any(isinstance(value, str) and len(value) == _HASH for value in (ours, theirs)):
            yield f"other {said}"
        else:
            yield f"{said} {_in_words(theirs)}, not {_in_words(ours)}"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, [*value] if isinstance(value, tuple) else value


def _in_words(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case [int(), *_]:
            return "×".join(map(str, value))
        case list():
            return "/".join(map(str, value))
    return str(value)
