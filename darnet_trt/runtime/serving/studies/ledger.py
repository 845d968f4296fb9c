"""The ledger of a study: which files its standing results were made of, and what became of each.

It is what makes a study finished: one whose ledger lists every file of its folder. Its first line
is a summary, so that a start reads nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.serving.views import InstanceView


class Summary(BaseModel):
    """What a study came to.

    Attributes:
        schema_version: Of this file.
        files: `digest_of` the names of its files.
        keys: Of its standing results.
        first: When its first file came, in seconds since 1970.
        last: When its last one did.
        received: How many files it has.
        used: Files that the results were made from.
        left_out: Files that were readable and not needed.
        refused: Files that cannot be used.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    files: str
    keys: tuple[str, ...]
    first: float
    last: float
    received: int
    used: int
    left_out: int
    refused: int


_INSTANCES = TypeAdapter(dict[str, InstanceView])


class Ledgers:
    """The ledgers of all studies, in a folder of their own.

    Args:
        folder: Exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(
        self,
        study: str,
        instances: dict[str, InstanceView],
        keys: Iterable[str],
        times: tuple[float, float],
    ) -> Summary:
        """Write a study's ledger in place of its old one; it is on the disk when this returns.

        Args:
            study: The study's name.
            instances: Of every file by its name.
            keys: Of the standing results.
            times: When its first file came and when its last one did, in seconds since 1970.

        Raises:
            OutputError: It cannot be written; the old one is kept.
        """
        fates = Counter(each.fate for each in instances.values())
        summary = Summary(
            files=digest_of(instances),
            keys=tuple(keys),
            first=times[0],
            last=times[1],
            received=len(instances),
            used=fates["used"],
            left_out=fates["left out"],
            refused=fates["refused"],
        )
        with whole_file(self._path(study), private=True, durable=True) as file:
            file.write(json.dumps(summary.model_dump()).encode() + b"\n")
            file.write(_INSTANCES.dump_json(instances) + b"\n")
        return summary

    def summary(self, study: str) -> Summary | None:
        """Return what a study came to; None where it has no ledger, or none that can be read."""
        with suppress(OSError, ValueError), self._path(study).open("rb") as file:
            return Summary.model_validate_json(file.readline())
        return None

    def instances(self, study: str) -> dict[str, InstanceView]:
        """Return what became of each file by its name; empty where there is no ledger."""
        with suppress(OSError, ValueError), self._path(study).open("rb") as file:
            file.readline()
            return _INSTANCES.validate_json(file.readline())
        return {}

    def studies(self) -> set[str]:
        """Return the names of the studies that have one."""
        return {path.stem for path in self._folder.glob("*.json")}

    def remove(self, study: str) -> None:
        """Remove a study's ledger, if there is one."""
        self._path(study).unlink(missing_ok=True)

    def _path(self, study: str) -> Path:
        return self._folder / f"{study}.json"


def digest_of(files: Iterable[str]) -> str:
    """Return what is the same for the same names, in whatever order."""
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:32]
