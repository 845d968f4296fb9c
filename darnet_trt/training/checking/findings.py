"""What a check found, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from darnet_trt.errors import counted
from darnet_trt.evaluation.seen import KnownScans
from darnet_trt.machine.files import as_text
from darnet_trt.scan.cohorts import Entry
from darnet_trt.training.checking.association import Verdict, judge
from darnet_trt.training.checking.reading import Seen
from darnet_trt.training.checking.traits import TRAITS, Group, groups

SHORT: Final = 20
"""In a chest of 240 mm so few slices lie 12 mm apart, and many lesions lie between them."""


class Found(BaseModel):
    """Something that a person must know of a cohort.

    Attributes:
        code: For programs.
        text: For people, one clause.
        gives_away: Whether it tells the class without the lungs.
        scans: Paths of the scans, as the cohort names them.
        chance: Of something as striking in a cohort that gives nothing away; None where no class
            was compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    text: str
    gives_away: bool = False
    scans: tuple[str, ...] = ()
    chance: float | None = None


def faults(seen: Sequence[Seen]) -> Iterator[Found]:
    """Yield what is wrong with scans and patients, whatever the class."""
    refused = [one for one in seen if one.facts.error]
    if refused:
        codes = Counter(one.facts.code or "other" for one in refused)
        which = ", ".join(f"{count} {code}" for code, count in codes.most_common())
        text = f"{_share(refused, seen)} cannot be used: {which}, such as {refused[0].facts.error}"
        yield Found(code="unusable-scans", text=text, scans=_names(refused))
    short = [one for one in seen if 0 < one.facts.slices < SHORT]
    if short:
        text = f"fewer than {SHORT} slices in {_share(short, seen)}"
        yield Found(code="short-scans", text=text, scans=_names(short))
    yield from _patients(seen)
    yield from _duplicates(seen)


def _patients(seen: Sequence[Seen]) -> Iterator[Found]:
    scans: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        scans[one.entry.patient].append(one)
    for code, what, several in (
        ("patients-in-two-classes", "scans of several classes", lambda e: e.label),
        ("patients-on-two-sides", "scans on several sides or in several folds", _side),
    ):
        torn = [p for p, of in scans.items() if len({several(one.entry) for one in of}) > 1]
        if torn:
            patients = f"{len(torn)} of {len(scans)} patients"
            text = f"{what} in {patients}, such as {as_text(torn[0])}"
            yield Found(code=code, text=text, scans=_names(chain(*(scans[p] for p in torn))))


def _side(entry: Entry) -> str:
    return f"{entry.side} {entry.fold}"


def _duplicates(seen: Sequence[Seen]) -> Iterator[Found]:
    known, numbered = KnownScans(), list[Seen]()
    pairs: defaultdict[str, list[tuple[Seen, Seen]]] = defaultdict(list)
    for one in seen:
        number = known.find(one.facts.hashes)
        if number is None:
            known.add(one.facts.hashes)
            numbered.append(one)
            continue
        other = numbered[number]
        if other.entry.label != one.entry.label:
            kind = "duplicates-in-two-classes"
        elif other.entry.patient != one.entry.patient:
            kind = "duplicates-of-two-patients"
        else:
            kind = "duplicates"
        pairs[kind].append((other, one))
    for kind, whose in (
        ("duplicates-in-two-classes", "of another class, so that one of the labels is wrong"),
        ("duplicates-of-two-patients", "of another patient, who may come on another side"),
        ("duplicates", "of the same patient"),
    ):
        if found := pairs[kind]:
            first, second = found[0]
            copies = _share([copy for _, copy in found], seen)
            text = f"the same slices as a scan {whose}, in {copies}, such as "
            text += f"{as_text(second.entry.scan)} and {as_text(first.entry.scan)}"
            yield Found(code=kind, text=text, scans=_names(chain(*found)))


def traits(seen: Sequence[Seen], classes: tuple[str, ...]) -> Iterator[Found]:
    """Yield the traits that go with a class, and those that no scan should have."""
    every, seen = seen, [one for one in seen if one.facts.file_type]
    if not seen:
        return
    facts = [one.facts for one in seen]
    patients, first, of = np.unique(
        [one.entry.patient for one in seen], return_index=True, return_inverse=True
    )
    labels = np.array([classes.index(seen[i].entry.label) for i in first])
    divided = groups(facts, of)
    numeric = [trait for trait in TRAITS if trait.unit]
    numbers = [_medians([trait.of(one) for one in facts], of, len(patients)) for trait in numeric]
    of_groups, of_numbers = judge([(g.members, g.odd) for g in divided], numbers, labels)
    told: dict[str, list[tuple[Group, Verdict]]] = defaultdict(list)
    for group, verdict in zip(divided, of_groups, strict=True):
        told[group.trait.what].append((group, verdict))
    for trait, values, verdict in zip(numeric, numbers, of_numbers, strict=True):
        if verdict.telling:
            of_class, known = labels == verdict.label, np.isfinite(values)
            theirs, others = (
                f"{np.median(values[some]):.4g} in {counted(int(some.sum()), 'patient')}"
                for some in (known & of_class, known & ~of_class)
            )
            text = f"{trait.what}: {theirs} of {classes[verdict.label]}, {others} of other classes"
            text += " (medians)"
            yield Found(code=trait.code, text=text, gives_away=True, chance=verdict.chance)
    for looks in told.values():
        yield from _of_trait(looks, seen, every, labels)


def _medians(
    values: Iterable[str | float | None], of: np.ndarray[tuple[int], np.dtype[np.intp]], count: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    numbers = np.array([np.nan if value is None else float(value) for value in values])
    known = np.isfinite(numbers)
    return np.array(
        [
            np.median(numbers[mine]) if (mine := known & (of == patient)).any() else np.nan
            for patient in range(count)
        ]
    )


def _of_trait(
    looks: Sequence[tuple[Group, Verdict]],
    seen: Sequence[Seen],
    every: Sequence[Seen],
    labels: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> Iterator[Found]:
    """Yield the strongest of a trait's groups, or those that a person must know.

    Args:
        looks: The groups.
        seen: The scans that they are of.
        every: Also those that could not be read.
        labels: Each patient's class.
    """
    telling = [look for look in looks if look[1].telling]
    if telling:
        chosen = [min(telling, key=lambda look: (not look[0].odd, look[1].chance))]
    else:
        chosen = [
            look
            for look in looks
            if look[0].odd
            and look[0].trait.unit is None
            and (look[0].trait.normal is not None or len(set(labels[look[0].members])) == 1)
        ]
    for group, verdict in chosen:
        scans = [one for one, has in zip(seen, group.scans, strict=True) if has]
        text = f"{group.trait.what}: {group.value}, in {_share(scans, every)}"
        if not verdict.telling and len(set(labels[group.members])) == 1:
            text += ", too few to tell whether it goes with the class"
        yield Found(
            code=group.trait.code,
            text=text,
            gives_away=verdict.telling,
            scans=_names(scans),
            chance=verdict.chance,
        )


def _names(seen: Iterable[Seen]) -> tuple[str, ...]:
    return tuple(as_text(one.entry.scan) for one in seen)


def _share(some: Sequence[Seen], every: Sequence[Seen]) -> str:
    """Say how many scans these are, of how many, and the same of their classes."""
    counts, totals = (Counter(one.entry.label for one in seen) for seen in (some, every))
    which = ", ".join(f"{count} of {totals[of]} {of}" for of, count in counts.most_common())
    return f"{len(some)} of {len(every)} scans ({which})"
