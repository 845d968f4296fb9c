"""What is wrong with some scans of CC-CCII, and how its cleaned form says so.

The cleaned form's table, CT_cleaned_v2.csv, describes the files of each scan as they lie in the
folder: `is_seg` 1 where all but the lungs is black; `re_order` gives the true order of the files
("reverse", or "15-20+0-14"); `is_repeat` 1 where `repeat_ids` names files to leave out ("0-57",
"9;20;30-41"), or is "discard" for a scan that is of no use (He et al., medRxiv 2020,
10.1101/2020.06.08.20125963, and the code of its authors).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Defect:
    """How a scan's files differ from one file for each slice, from head to foot.

    Attributes:
        slices: Which slice each file shows; 0 is the topmost.
        segmented: Whether all but the lungs is black.
        repeated: Numbers of the files that show a slice again.
        order: Numbers of the files, from the topmost slice on; those of `repeated` included.
        re_order: How CT_cleaned_v2.csv says that.
        discarded: Whether the scan is of no use.
    """

    slices: tuple[int, ...]
    segmented: bool = False
    repeated: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    re_order: str = ""
    discarded: bool = False

    @property
    def row(self) -> tuple[int, int, str, str]:
        """is_seg, is_repeat, repeat_ids and re_order."""
        ids = "discard" if self.discarded else _ranges(self.repeated)
        return int(self.segmented), int(bool(ids)), ids, self.re_order

    @property
    def kept(self) -> tuple[int, ...]:
        """Numbers of the files to use, from the topmost slice on."""
        return () if self.discarded else tuple(i for i in self.order if i not in self.repeated)


def slice_name(number: int) -> str:
    """Return the name of a scan's file of this number."""
    return f"{number:04d}.png"


# Of 20 scans, whatever their class: in the real set, most of those that are segmented are normal,
# which gives the class away. There, 1 in 5 is segmented, 1 in 10 repeats, 1 in 25 is in disorder.
_OF_20 = (
    *("segmented", "segmented", "segmented", "reversed", "reversed", "disordered", "repeated"),
    *("repeated and disordered", "discarded", *[""] * 11),
)


def draw_defect(seed: int, index: int, count: int) -> Defect:
    """Draw what is wrong with a cohort's scan of this index, which has so many slices."""
    block, place = divmod(index, len(_OF_20))
    what = _OF_20[np.random.default_rng((seed, 4, block)).permutation(len(_OF_20))[place]]
    rng = np.random.default_rng((seed, 5, index))
    if what == "discarded":
        return Defect((int(rng.integers(count)),) * count, discarded=True)
    files = [(index, False) for index in range(count)]
    if "repeated" in what:
        first = int(rng.integers(3, count // 3))
        files = [(index, True) for index in range(first)] + files
        for at in sorted(rng.choice(range(first + 1, len(files)), 3, False), reverse=True):
            files.insert(int(at), (files[int(at) - 1][0], True))
    total = len(files)
    order, re_order = list(range(total)), ""
    if what == "reversed":
        files.reverse()
        order.reverse()
        re_order = "reverse"
    elif "disordered" in what:
        cut = int(rng.integers(total // 4, 3 * total // 4))
        files = files[cut:] + files[:cut]
        order = order[total - cut :] + order[: total - cut]
        re_order = f"{total - cut}-{total - 1}+0-{total - cut - 1}"
    return Defect(
        tuple(index for index, _ in files),
        what == "segmented",
        tuple(number for number, (_, again) in enumerate(files) if again),
        tuple(order),
        re_order,
    )


def _ranges(numbers: tuple[int, ...]) -> str:
    """Write ascending numbers as "0-4;9;12"."""
    starts = [b for a, b in pairwise((-2, *numbers)) if b > a + 1]
    ends = [a for a, b in pairwise((*numbers, 1 << 30)) if b > a + 1]
    return ";".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
