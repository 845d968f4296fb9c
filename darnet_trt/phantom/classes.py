"""Which kinds of scans the classes of a synthetic cohort consist of, and in which shares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from darnet_trt.errors import UsageError
from darnet_trt.phantom.body.kinds import KINDS
from darnet_trt.scan.cohorts import PAPER_CLASSES, parse_classes

Shares = Mapping[str, Mapping[str, float]]
"""Each class's kinds, and the share of its patients that each kind has."""


def plan_classes(text: str | None = None, shares: Sequence[str] = ()) -> Shares:
    """Return the classes and kinds that a person asks for.

    Args:
        text: "NAME,NAME=KIND+KIND,…". A class of the paper alone has its kinds, less those that
            another class names; another name alone is that of a kind. None for the paper's classes.
        shares: "NAME=SHARE": a kind's, of the patients of its class. The class's other kinds divide
            the rest among themselves.

    Raises:
        UsageError: No such kind, one in two classes, a class without kinds, or impossible shares.
    """
    kinds = _kinds(text or ",".join(PAPER_CLASSES))
    given = dict(map(_share, shares))
    unused = set(given) - {kind for names in kinds.values() for kind in names}
    if unused:
        raise UsageError(
            f"no class has the kind {', '.join(sorted(unused))}",
            where="--kind",
            do="name it in --classes, or leave it out",
        )
    return {name: _divide(name, of, given) for name, of in kinds.items()}


def _kinds(text: str) -> dict[str, list[str]]:
    parts = [part.partition("=") for part in text.split(",")]
    names = parse_classes(",".join(name for name, _, _ in parts))
    named: dict[str, list[str]] = {
        name: [kind.strip() for kind in kinds.split("+")] if equals else []
        for name, (_, equals, kinds) in zip(names, parts, strict=True)
    }
    for name, kinds in named.items():
        if not kinds and name not in PAPER_CLASSES:
            kinds.append(name)
    taken = [kind for kinds in named.values() for kind in kinds]
    for kind in taken:
        if kind not in KINDS:
            raise UsageError(
                f"unknown kind {kind!r}",
                where="--classes",
                do=f"choose from {', '.join(KINDS)}, as NAME=KIND or NAME=KIND+KIND",
            )
        if taken.count(kind) > 1:
            raise UsageError(
                f"names the kind {kind} twice", where="--classes", do="keep it in one class"
            )
    for name, kinds in named.items():
        if not kinds:
            kinds += [k for k, kind in KINDS.items() if kind.label == name and k not in taken]
        if not kinds:
            raise UsageError(
                f"leaves the class {name} without a kind",
                where="--classes",
                do="name one of its own, as NAME=KIND",
            )
    return named


def _share(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise UsageError(
            f"{text!r} is no NAME=SHARE with a share of 0 to 1", where="--kind", do="correct it"
        )
    return kind.strip(), share


def _divide(name: str, kinds: list[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return the kinds' shares; those without a given one divide the rest as they do by default."""
    asked = sum(given[kind] for kind in kinds if kind in given)
    others = sum(KINDS[kind].share for kind in kinds if kind not in given)
    if asked > 1 + 1e-9 or (not others and asked < 1 - 1e-9):
        raise UsageError(
            f"the shares of {name} add up to {asked:g}, not 1", where="--kind", do="correct them"
        )
    rest = max(0.0, 1 - asked)
    return {k: given[k] if k in given else round(rest * KINDS[k].share / others, 9) for k in kinds}
