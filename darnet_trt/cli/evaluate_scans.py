"""Read a cohort's scans, leave out those that trained the weights, and run the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.cli.evaluate_network import Judged, Logits
from darnet_trt.cli.progress import progress
from darnet_trt.errors import UsageError
from darnet_trt.evaluation.seen import identity
from darnet_trt.machine.cache import DAMAGE, read_array, write_arrays
from darnet_trt.scan.cohorts import Cohort, Entry
from darnet_trt.training.inputs import Example, prepare

Status = Literal["ok", "refused", "failed", "seen", "other-side"]
LEFT_OUT: Final[dict[Status, str]] = {
    "seen": "trained the weights",
    "other-side": "on another side",
    "refused": "refused",
    "failed": "failed",
}
"""Why a scan is not measured, in words."""
_BATCH: Final = 4


@dataclass(frozen=True, eq=False)
class Scored:
    """A scan of the cohort.

    Attributes:
        entry: Which.
        status: ok: measured; refused, failed: as in results; seen: it trained the weights;
            other-side: it is on a side that is not asked for.
        reason: Why it is not measured; empty when ok.
        code: The reason's code.
        key: As in results; empty where the scan was not read.
        logits: (classes); None unless ok.
    """

    entry: Entry
    status: Status
    reason: str = ""
    code: str = ""
    key: str = ""
    logits: Logits | None = None


def scored(judged: Judged, cohort: Cohort, inputs: Path, side: str | None) -> tuple[Scored, ...]:
    """Return every scan of a cohort, in its order, with what the network says of it.

    Inputs and logits are kept in `inputs`, so that an interrupted evaluation goes on.

    Args:
        judged: The network.
        cohort: The scans.
        inputs: A folder for preprocessed scans.
        side: Measure only scans on this side of the cohort; None: all but those that train.

    Raises:
        UsageError: No scan is on that side.
        OutputError: `inputs` cannot be written.
    """
    found: dict[Entry, Scored] = {}
    for entry in cohort.entries:
        if side is not None and entry.side != side:
            found[entry] = Scored(entry, "other-side", f"it is not on the side {side}")
        elif side is None and entry.side == "train":
            found[entry] = Scored(entry, "other-side", "it is on the side train")
        elif judged.trained and judged.trained.had_patient(_names(cohort, entry)):
            found[entry] = _seen(entry, "a patient of this name trained the weights")
    left = tuple(entry for entry in cohort.entries if entry not in found)
    if side is not None and all(entry.side != side for entry in cohort.entries):
        raise UsageError(
            f"no scan is on the side {side}",
            where=cohort.table,
            do="name them in the table's column side or split, or give a file with --folds",
        )
    if left:
        with progress("reading scans", len(left)) as done:
            examples, failures = prepare(
                left, judged.preprocessing, inputs, classes=cohort.classes, done=done
            )
        for failure in failures:
            status: Status = "refused" if failure.refused else "failed"
            found[failure.entry] = Scored(failure.entry, status, failure.reason, failure.code)
        found |= {one.entry: one for one in _measured(judged, cohort, examples)}
    return tuple(found[entry] for entry in cohort.entries)


def _names(cohort: Cohort, entry: Entry) -> tuple[str, ...]:
    return identity(cohort, entry.patient, "", ()).patients


def _seen(entry: Entry, reason: str, key: str = "") -> Scored:
    return Scored(entry, "seen", reason, "trained-the-weights", key)


def _measured(judged: Judged, cohort: Cohort, examples: Sequence[Example]) -> Iterator[Scored]:
    """Yield what was read: the scans that trained the weights first, then the others."""
    unseen = []
    for example in examples:
        who = identity(cohort, example.entry.patient, example.patient_id, example.hashes)
        if judged.trained is None or not judged.trained.had(who):
            unseen.append(example)
        elif judged.trained.had_slices(who.slices):
            yield _seen(
                example.entry, "it trained the weights: the slices are the same", example.key
            )
        else:
            yield _seen(example.entry, "its patient (PatientID) trained the weights", example.key)
    if not unseen:
        return
    with progress("classifying", len(unseen)) as done:
        for first in range(0, len(unseen), _BATCH):
            batch = unseen[first : first + _BATCH]
            for example, logits in zip(batch, _logits(judged, batch), strict=True):
                if np.isfinite(logits).all():
                    yield Scored(example.entry, "ok", key=example.key, logits=logits)
                else:
                    reason = "the network gave NaN or infinity"
                    yield Scored(example.entry, "failed", reason, "not-finite", example.key)
            done(len(batch))


def _logits(judged: Judged, batch: Sequence[Example]) -> npt.NDArray[np.float32]:
    """Return the logits of scans, kept beside their inputs."""
    files = [e.file.with_suffix(f".{judged.digest[:16]}.npz") for e in batch]
    try:
        return np.stack([read_array(file, "logits") for file in files])
    except DAMAGE:  # not all are there, and whole
        found = judged.logits(batch)
    for file, logits in zip(files, found, strict=True):
        write_arrays(file, logits=logits)
    return found
