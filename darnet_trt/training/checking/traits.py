"""Name the traits of scans that must not go with the class, and divide the patients by them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.training.checking.reading import Facts

Mask = npt.NDArray[np.bool_]

_GAP: Final = 0.25
"""Values lie apart from the rest where the gap is this share of the rest's own range (5th to 95th
percentile), and at least the trait's `unit`."""
MINORITY: Final = 0.2
"""Of the patients, at most, for a trait to be odd."""


@dataclass(frozen=True)
class Trait:
    """Something that scans are or have.

    Attributes:
        code: Of the finding; several traits may share one.
        what: Stands before the word or number: "the number of slices: 130".
        of: Reads it: a word, a number, or None where the scan does not tell.
        unit: Of a number, the least difference that means something; None: it is a word.
        logarithm: Whether ratios count and not differences.
        normal: The word of a scan as it should be; None: the most frequent one.
    """

    code: str
    what: str
    of: Callable[[Facts], str | float | None]
    unit: float | None = None
    logarithm: bool = False
    normal: str | None = None


def _cut(facts: Facts) -> str | None:
    if facts.cut is None:
        return None
    ends = [end for end, cut in zip(("foot", "head"), facts.cut, strict=True) if cut]
    return f"at the {' and the '.join(ends)}" if ends else ""


TRAITS: Final = (
    Trait(
        "masked-bodies",
        "the lungs were cut out of the body",
        lambda f: "around them is one value" if f.masked else "",
        normal="",
    ),
    Trait("masked-bodies", "the share of pixels with one value", lambda f: f.filled, unit=0.15),
    Trait("slices-chosen", "the scan cuts the lungs off", _cut, normal=""),
    Trait(
        "slices-chosen",
        "the length of the scan in mm",
        lambda f: f.length_mm,
        unit=0.15,
        logarithm=True,
    ),
    Trait("slice-order", "the order of the slices", lambda f: f.order, normal=""),
    Trait(
        "matrix",
        "the size of the slices in pixels",
        lambda f: "×".join(map(str, f.matrix)) if any(f.matrix) else None,
    ),
    Trait(
        "slice-count",
        "the number of slices",
        lambda f: float(f.slices) if f.slices else None,
        unit=0.1,
        logarithm=True,
    ),
    Trait("grey-window", "the values of air outside the body", lambda f: f.air_hu, unit=60),
    Trait("grey-window", "the values of fat and muscle", lambda f: f.soft_hu, unit=80),
    Trait("grey-window", "the highest value", lambda f: f.highest_hu, unit=100),
    Trait("grey-window", "the lowest value", lambda f: f.lowest_hu, unit=100),
    Trait("file-type", "the files' type", lambda f: f.file_type or None),
)


@dataclass(frozen=True, eq=False)
class Group:
    """Patients whose scans share a trait, found without a look at their classes.

    Attributes:
        trait: Which.
        value: Their word or numbers: "96×96", "400 to 420".
        members: Whether each patient is one of them, (patients).
        scans: Whether each scan is one of theirs that has the trait, (scans).
        odd: Whether the trait is another one than most scans have, and not one of many.
    """

    trait: Trait
    value: str
    members: Mask
    scans: Mask
    odd: bool


def groups(facts: Sequence[Facts], patient_of: npt.NDArray[np.intp]) -> list[Group]:
    """Divide the patients by each trait.

    Args:
        facts: Of each scan.
        patient_of: The patient's number of each scan.
    """
    found: list[Group] = []
    for trait in TRAITS:
        values = [trait.of(one) for one in facts]
        sets = _by_number(trait, values) if trait.unit else _by_word(trait, values)
        for value, scans, odd in sets:
            members = np.zeros(int(patient_of.max()) + 1, np.bool_)
            members[patient_of[scans]] = True
            if not members.all():
                found.append(Group(trait, value, members, scans, odd))
    return found


def _by_word(trait: Trait, values: Sequence[str | float | None]) -> list[tuple[str, Mask, bool]]:
    words = np.array(["" if value is None else str(value) for value in values])
    known = np.array([value is not None for value in values])
    names, counts = np.unique(words[known], return_counts=True)
    if len(names) < 2 and trait.normal is None:
        return []
    usual = trait.normal
    if usual is None:
        usual = str(names[counts.argmax()])
    common = (words[known] == usual).mean() if known.any() else 1.0
    rare = trait.normal is not None or len(names) == 2 or common >= 1 - MINORITY
    return [
        (str(name), known & (words == name), bool(rare and name != usual))
        for name in names
        if name != trait.normal
    ]


def _by_number(trait: Trait, values: Sequence[str | float | None]) -> list[tuple[str, Mask, bool]]:
    """Return the scans beyond a gap, at either end, and those that share one number exactly."""
    numbers = np.array([math.nan if value is None else float(value) for value in values])
    known = np.flatnonzero(np.isfinite(numbers))
    if len(known) < 3:
        return []
    scale = np.log(np.maximum(numbers, 1e-9)) if trait.logarithm else numbers
    order = known[np.argsort(scale[known], kind="stable")]
    most = int(MINORITY * len(known))
    found = []
    for side in (order, order[::-1]):
        for count in range(1, most + 1):
            rest = scale[side[count:]]
            low, high = np.percentile(rest, (5, 95))
            least = max(trait.unit or 0.0, _GAP * (high - low))
            if abs(scale[side[count]] - scale[side[count - 1]]) >= least:
                found.append(_numbered(numbers, side[:count], odd=True))
    if trait.logarithm:  # counts: a number that many scans share
        same, counts = np.unique(numbers[known], return_counts=True)
        often = same[(counts >= 3) & (counts > 0.03 * len(known))]
        found += [_numbered(numbers, np.flatnonzero(numbers == n), odd=False) for n in often]
    return found


def _numbered(
    numbers: npt.NDArray[np.float64], places: npt.NDArray[np.intp], *, odd: bool
) -> tuple[str, Mask, bool]:
    scans = np.zeros(len(numbers), np.bool_)
    scans[places] = True
    low, high = float(numbers[places].min()), float(numbers[places].max())
    text = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    return text, scans, odd
