"""What the names of pictures say: which scan each belongs to, its number, and whether it is a mask.

`NCP_96_1328_0020.png` is slice 20 of the scan `NCP_96_1328`: COVIDx-CT keeps all of its scans in
one folder, and CC-CCII each in its own (`0020.png`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

_DIGITS = re.compile("([0-9]+)")  # not \d, whose digits of other scripts int() may refuse
_MASK_WORDS: Final = frozenset(
    {"mask", "masks", "seg", "segmentation", "label", "labels", "labelmap", "lungmask"}
)


class NamedScan(NamedTuple):
    """Pictures that make up a scan by their names.

    Attributes:
        name: What their names share beside the slice's number; empty where they are numbers alone.
        pattern: Their names with # for the slice's number.
        numbers: Picture → slice number, in the order of the numbers; None where none can be told.
    """

    name: str
    pattern: str
    numbers: dict[Path, int | None]


def natural_key(path: Path) -> list[Any]:
    """Sort 2.png before 10.png, folder by folder."""
    return [
        [
            (len(number := piece.lstrip("0")), number) if odd % 2 else piece  # int() has a limit
            for odd, piece in enumerate(_DIGITS.split(part.lower()))
        ]
        for part in path.parts
    ]


def is_mask_name(path: Path) -> bool:
    """Return whether a word of the name says that it is a mask: `0001_mask.png`, `labels-3.png`."""
    return not _MASK_WORDS.isdisjoint(re.findall("[a-z]+", path.stem.lower()))


def is_numbered(path: Path) -> bool:
    """Return whether the name holds a number."""
    return _DIGITS.search(path.stem) is not None


def by_scan(files: Iterable[Path]) -> list[NamedScan]:
    """Return the scans that numbered pictures make up, in the order of their names.

    Names of one scan differ in one number alone, the slice's. Where several numbers vary, it is the
    one that leaves the fewest scans, the last one of equals.
    """
    alike: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(files, key=natural_key):
        alike[_DIGITS.sub("#", path.stem.lower())].append(path)
    scans = [scan for paths in alike.values() for scan in _split(paths)]
    often = Counter(scan.name for scan in scans)
    return [scan if often[scan.name] == 1 else scan._replace(name=scan.pattern) for scan in scans]


def _split(paths: list[Path]) -> list[NamedScan]:
    """Split pictures whose names differ in numbers alone."""
    pieces = [_DIGITS.split(path.stem) for path in paths]  # text, digits, text, …
    best: dict[tuple[int, ...], list[int]] = {}
    place = 1
    for candidate in range(len(pieces[0]) - 2, 0, -2):
        scans: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, parts in enumerate(pieces):
            others = [int(n) for at, n in enumerate(parts) if at % 2 and at != candidate]
            scans[tuple(others)].append(index)
        if not best or len(scans) < len(best):
            best, place = scans, candidate
    if len(best) == len(paths) > 1:  # two numbers change with every picture
        return [_named(pieces[0], place, dict.fromkeys(paths))]
    result = []
    for indices in best.values():
        numbers = {paths[i]: int(pieces[i][place]) for i in indices}
        ordered = dict(sorted(numbers.items(), key=lambda item: item[1]))
        result.append(_named(pieces[indices[0]], place, {**ordered}))
    return result


def _named(pieces: list[str], place: int, numbers: dict[Path, int | None]) -> NamedScan:
    """Name a scan by a picture's name without the slice number and the separators beside it."""
    before, after = "".join(pieces[:place]), "".join(pieces[place + 1 :])
    name = "_".join(end for end in (end.strip(" _-.()") for end in (before, after)) if end)
    return NamedScan(name, f"{before}#{after}", numbers)
