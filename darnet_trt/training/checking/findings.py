"""What a check found, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

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
        which = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        text = f"{_counted(refused)} cannot be used ({which})"
        yield Found(code="unusable-scans", text=text, scans=_names(refused))
    short = [one for one in seen if 0 < one.facts.slices < SHORT]
    if short:
        text = f"{_counted(short)} with fewer than {SHORT} slices"
        yield Found(code="short-scans", text=text, scans=_names(short))
    yield from _patients(seen)
    yield from _duplicates(seen)


def _patients(seen: Sequence[Seen]) -> Iterator[Found]:
    scans: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        scans[one.entry.patient].append(one)
    for code, what, several in (
        ("patients-in-two-classes", "have scans of several classes", lambda e: e.label),
        ("patients-on-two-sides", "have scans on several sides or folds", _side),
    ):
        torn = [p for p, of in scans.items() if len({several(one.entry) for one in of}) > 1]
        if torn:
            text = f"{len(torn)} of {len(scans)} patients {what}, such as {as_text(torn[0])}"
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
        ("duplicates-in-two-classes", " in two classes: one of the labels is wrong"),
        ("duplicates-of-two-patients", " under two patients, who may come on two sides"),
        ("duplicates", " twice under one patient"),
    ):
        if found := pairs[kind]:
            first, second = found[0]
            text = f"{len(found)} of {len(seen)} scans are the same as another{whose}, such as "
            text += f"{as_text(second.entry.scan)} and {as_text(first.entry.scan)}"
            yield Found(code=kind, text=text, scans=_names(chain(*found)))


def traits(seen: Sequence[Seen], classes: tuple[str, ...]) -> Iterator[Found]:
    """Yield the traits that go with a class, and those that no scan should have."""
    seen = [one for one in seen if one.facts.file_type]
    if not seen:
        return
    facts = [one.facts for one in seen]
    patients, first, of = np.unique(
        [one.entry.patient for one in seen], return_index=True, return_inverse=True
    )
    labels = np.array([classes.index(seen[i].entry.label) for i in first])
    divided = groups(facts, of)
    counted = [trait for trait in TRAITS if trait.unit]
    numbers = [_medians([trait.of(one) for one in facts], of, len(patients)) for trait in counted]
    of_groups, of_numbers = judge([(g.members, g.odd) for g in divided], numbers, labels)
    told: dict[str, list[tuple[Group, Verdict]]] = defaultdict(list)
    for group, verdict in zip(divided, of_groups, strict=True):
        told[group.trait.what].append((group, verdict))
    for trait, verdict in zip(counted, of_numbers, strict=True):
        if verdict.telling:
            of_class = classes[verdict.label]
            text = f"{trait.what} of {of_class} differs from that of the other classes"
            yield Found(code=trait.code, text=text, gives_away=True, chance=verdict.chance)
    for looks in told.values():
        yield from _of_trait(looks, seen, labels, classes)


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
    labels: np.ndarray[tuple[int], np.dtype[np.intp]],
    classes: tuple[str, ...],
) -> Iterator[Found]:
    """Yield the strongest of a trait's groups, or those that a person must know."""
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
        counts = Counter(classes[label] for label in labels[group.members])
        which = ", ".join(f"{count} {label}" for label, count in counts.most_common())
        text = (
            f"{group.trait.what}: {group.value} in {int(group.members.sum())} of "
            f"{len(labels)} patients ({which})"
        )
        if not verdict.telling and len(counts) == 1:
            text += "; too few to tell whether it goes with the class"
        yield Found(
            code=group.trait.code,
            text=text,
            gives_away=verdict.telling,
            scans=_names(one for one, has in zip(seen, group.scans, strict=True) if has),
            chance=verdict.chance,
        )


def _names(seen: Iterable[Seen]) -> tuple[str, ...]:
    return tuple(as_text(one.entry.scan) for one in seen)


def _counted(seen: Sequence[Seen]) -> str:
    labels = Counter(one.entry.label for one in seen)
    which = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    return f"{len(seen)} scan{'s' * (len(seen) != 1)} ({which})"
