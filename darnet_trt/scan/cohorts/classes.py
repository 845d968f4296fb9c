"""The classes of a cohort. They name a network's logits, in order; the first is the positive one.

Measures of one class against the rest (AUC, sensitivity, specificity, F1) are those of the positive
class.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from darnet_trt.errors import UsageError

PAPER_CLASSES: Final = ("covid-19", "common-pneumonia", "normal")
POSITIVE: Final = 0
"""The index of the positive class."""
_ALIASES: Final = {
    "ncp": "covid-19",
    "covid": "covid-19",
    "covid19": "covid-19",
    "cp": "common-pneumonia",
    "pneumonia": "common-pneumonia",
}
"""What CC-CCII and others call the paper's classes, in lower case."""
_LONGEST: Final = 64


def class_named(label: str, classes: Iterable[str]) -> str | None:
    """Return the class that a label names, in any case or as CC-CCII calls it; None for none.

    The classes may have CC-CCII's names, too: of `NCP` and `CP`, the label covid-19 is `NCP`.
    """
    known = {_folded(name): name for name in classes}
    aliases = {_ALIASES.get(folded, folded): name for folded, name in known.items()}
    folded = _folded(label)
    alias = _ALIASES.get(folded, folded)
    return known.get(folded) or known.get(alias) or aliases.get(alias)


def parse_classes(text: str) -> tuple[str, ...]:
    """Return the classes that a person lists, "covid-19,normal": at least two, each once.

    Raises:
        UsageError: These cannot be the classes of a network.
    """
    names = tuple(name.strip() for name in text.split(","))
    where = "--classes"
    if len(names) < 2 or not all(names):
        raise UsageError(f"needs two classes or more, not {text!r}", where=where, do="write A,B,…")
    if len(set(map(_folded, names))) < len(names):
        raise UsageError(f"names a class twice: {text}", where=where, do="leave one out")
    for name in names:
        if len(name) > _LONGEST or not name.isprintable():
            raise UsageError(
                f"a class has at most {_LONGEST} characters, all printable, unlike {name!r}",
                where=where,
                do="choose another name",
            )
    return names


def _folded(label: str) -> str:
    """Return what two labels of one class have in common."""
    return label.strip().casefold().replace("_", "-")
