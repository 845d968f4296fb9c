"""Check a whole cohort, and keep the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.machine.cache import cache_folder, digest, used
from darnet_trt.machine.files import whole_file
from darnet_trt.scan.cohorts import POSITIVE, Cohort
from darnet_trt.training.checking.findings import Found, faults, traits
from darnet_trt.training.checking.probe import Probe, probe
from darnet_trt.training.checking.reading import ROOM, VERSION, Seen, read_cohort_facts, stamp

PROBE = "probe"
"""Code of what the probe found."""
Reading = Callable[[int], AbstractContextManager[Callable[[int], None]]]


class ClassCount(BaseModel):
    """Scans and patients of a class.

    Attributes:
        label: The class.
        scans: All.
        usable: Those that can be trained on.
        patients: With any scan of the class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    scans: int
    usable: int
    patients: int


class Check(BaseModel):
    """What a check of a cohort found.

    Attributes:
        counts: Of each class, the positive one first.
        findings: What gives the class away first.
        probe: The small network's answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: tuple[ClassCount, ...]
    findings: tuple[Found, ...]
    probe: Probe

    @property
    def shortcuts(self) -> tuple[str, ...]:
        """Return the codes of what gives the class away, each once."""
        found = [one.code for one in self.findings if one.gives_away]
        return tuple(dict.fromkeys(found))


def check(
    cohort: Cohort,
    *,
    reading: Reading = lambda scans: nullcontext(lambda count: None),
) -> Check:
    """Check a cohort, or find the answer of an earlier check of the same files.

    An answer is kept where every scan could be read.

    Args:
        cohort: All its scans.
        reading: Called with the number of scans to read; returns a context that is open meanwhile
            and gives a function to call with the number done since the last call.

    Raises:
        UsageError: No scan can be used.
    """
    entries = [(stamp(e), str(e.scan), e.patient, e.label, e.side, e.fold) for e in cohort.entries]
    file = cache_folder(ROOM) / f"{digest(VERSION, cohort.classes, entries)}.json"
    used(file)
    with suppress(OSError, ValidationError, ValueError):
        return Check.model_validate_json(file.read_bytes())
    with reading(len(cohort.entries)) as done:
        seen = read_cohort_facts(cohort.entries, done)
    if all(one.view is None for one in seen):
        first = f"the first of {len(seen)} is {seen[0].facts.error}"
        raise UsageError(f"no scan can be used: {first}", where=cohort.table)
    found = _check(seen, cohort.classes)
    if all(one.facts.lasting for one in seen):
        with suppress(OSError, OutputError):  # a cache may be missing
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as stream:
                stream.write(found.model_dump_json().encode())
    return found


def _check(seen: Sequence[Seen], classes: tuple[str, ...]) -> Check:
    usable = [one for one in seen if one.view is not None]
    labels = np.array([classes.index(one.entry.label) for one in usable], np.intp)
    _, patients = np.unique([one.entry.patient for one in usable], return_inverse=True)
    views = [one.view for one in usable if one.view is not None]
    probed = probe(views, labels, patients, classes)
    findings = [*traits(seen, classes), *_probed(probed, classes), *faults(seen)]
    counts = []
    for label in classes:
        of = [one for one in seen if one.entry.label == label]
        counts.append(
            ClassCount(
                label=label,
                scans=len(of),
                usable=sum(one.view is not None for one in of),
                patients=len({one.entry.patient for one in of}),
            )
        )
    return Check(
        counts=tuple(counts),
        findings=tuple(sorted(findings, key=lambda one: not one.gives_away)),
        probe=probed,
    )


def _probed(probed: Probe, classes: tuple[str, ...]) -> list[Found]:
    above = [area for area in probed.areas if area.above_chance]
    if not above:
        return []
    best = max(above, key=lambda area: (area.label == classes[POSITIVE], area.lower))
    return [
        Found(
            code=PROBE,
            text=f"with the lungs blanked out, a small network tells {best.label} from the rest: "
            f"AUC {best.auc:.2f}, 99.9 % interval {best.lower:.2f} to {best.upper:.2f}",
            gives_away=True,
        )
    ]
