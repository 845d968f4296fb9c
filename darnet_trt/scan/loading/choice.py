"""Choose the series of a study that is classified."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from darnet_trt.errors import Finding, RefusedScanError, UnreadableScanError
from darnet_trt.scan.plausibility.lungs import Lungs
from darnet_trt.scan.series import Choice, Series, Study

SOFT, UNKNOWN, SHARP = 0, 1, 2
_NAMES: Final = {SOFT: "soft", UNKNOWN: "unknown", SHARP: "sharp"}
FIRST_SHARP_SIEMENS: Final = 50
"""B10 to B46 are smooth to medium body kernels; from B50, Bl57 on they enhance edges."""
FIRST_SHARP_CANON: Final = 30
"""FC01 to FC29 are body and head kernels; FC30 on bone, FC50 on lung, FC80 on high resolution."""
SEEN_MM: Final = 4.0
"""The network samples the lungs every 4 mm or so: what is thinner it does not see."""
WHOLE_SHARE: Final = 0.8
"""Series of one study show the same lungs. One that shows less than this share of the largest
volume cuts them off at a side."""
_SOFT_WORDS = ("SOFT", "STANDARD", "STD", "SMOOTH", "STND", "MEDIASTIN")
_SHARP_WORDS = ("LUNG", "BONE", "EDGE", "SHARP", "DETAIL", "ULTRA", "CHEST", "HD")
_PHILIPS_SOFT = frozenset({"A", "B", "C", "UA", "UB", "UC", "XA", "XB", "XCA", "XCB"})
_PHILIPS_SHARP = frozenset({"D", "E", "F", "L", "Y", "YA", "YB", "YC", "YD", "YE"})


def sharpness(kernel: str) -> int:
    """Return SOFT, UNKNOWN or SHARP for a ConvolutionKernel (0018,1210) as the vendors name them.

    The network sees a 512-pixel slice at 224 pixels: what a sharp kernel adds is mostly noise.
    """
    name = kernel.split("\\")[0].strip().upper()
    if siemens := re.fullmatch(r"[A-Z][A-Z]?(\d\d)[A-Z]?(?:_\d)?", name):
        family = name[:2]
        limit = FIRST_SHARP_CANON if family == "FC" else FIRST_SHARP_SIEMENS
        return SHARP if int(siemens[1]) >= limit else SOFT
    if name in _PHILIPS_SOFT:
        return SOFT
    if name in _PHILIPS_SHARP or any(word in name for word in _SHARP_WORDS):
        return SHARP
    if any(word in name for word in _SOFT_WORDS):
        return SOFT
    return UNKNOWN


@dataclass(frozen=True)
class View:
    """How a series shows the lungs.

    Attributes:
        whole: Whether neither end of the scan cuts them off.
        size: Their aerated volume in litres; without a spacing in pixels times slices.
    """

    whole: bool
    size: float

    @classmethod
    def of(cls, lungs: Lungs | None, grid_mm: tuple[float, float, float] | None) -> Self:
        """Return the view that a series has of its lungs.

        Args:
            lungs: Where they lie; None where it shows none.
            grid_mm: Spacing (d, h, w) of the grid on which they were found.
        """
        if lungs is None:
            return cls(False, 0.0)
        d, h, w = grid_mm or (1.0, 1.0, 1.0)
        return cls(lungs.whole, lungs.pixels * d * h * w / 1e6)


def choose(study: Study) -> Choice:
    """Return the best of `rank`, judged by headers alone.

    Raises:
        RefusedScanError: No series is usable; gives the reasons.
        UnreadableScanError: No series can be read.
    """
    return rank(study)[0]


def rank(study: Study) -> list[Choice]:
    """Return the usable series, best first, as far as headers tell.

    Thin before thick as far as the network sees it, soft before sharp, then more and thinner
    slices.

    Raises:
        RefusedScanError: No series is usable; gives the reasons.
        UnreadableScanError: No series can be read.
    """
    usable = sorted((s for s in study.series if s.verdict.usable), key=_rank)
    if not usable:
        readable = any(s.verdict.readable for s in study.series)
        kind = RefusedScanError if readable else UnreadableScanError
        raise kind(_why_none(study), where=study.path)
    return [Choice(s, _why(usable[i:], len(study.series))) for i, s in enumerate(usable)]


def by_lungs(ranked: Sequence[Choice], views: Sequence[View | None]) -> list[Choice]:
    """Return the choices that show both lungs whole first, and those without any lung last.

    Args:
        ranked: From `rank`.
        views: How each shows the lungs; None where its pixels cannot be read: it keeps its place
            among the whole ones, and whoever loads it learns why.
    """
    largest = max((view.size for view in views if view), default=0.0)

    def shown(view: View | None) -> int:
        if view is None:
            return 2
        if not view.size:
            return 0
        return 2 if view.whole and view.size >= WHOLE_SHARE * largest else 1

    scores = [shown(view) for view in views]
    order = sorted(range(len(ranked)), key=lambda i: -scores[i])
    chosen = []
    for place, i in enumerate(order):
        choice, rest = ranked[i], order[place + 1 :]
        if rest and scores[i] > scores[rest[0]]:
            what = ("no lung", "a part of the lungs", "both lungs whole")
            why = (
                f"shows {what[scores[i]]}; {_named(ranked[rest[0]].series)} shows "
                f"{what[scores[rest[0]]]}"
            )
        elif rest:
            why = _why([choice.series, *(ranked[j].series for j in rest)], len(ranked))
        else:
            why = choice.why if place == i else ranked[-1].why
        chosen.append(Choice(choice.series, why))
    return chosen


def skipped(series: Series, reason: str) -> Finding:
    """Return the warning for a better series whose pixels cannot be used."""
    return Finding("series-skipped", f"skipped {_named(series)}, which ranks higher: {reason}")


def none_loads(tried: Sequence[tuple[Series, Finding]]) -> Finding:
    """Return why no series can be used: the best one's reason, and which others were tried."""
    (_, reason), *others = tried
    if not others:
        return reason
    named = ", ".join(_named(s) for s, _ in others)
    return Finding(reason.code, f"{reason}; {named} cannot be used either")


def _named(series: Series) -> str:
    number = "" if series.number is None else f" {series.number}"
    name = series.description or ("" if number else series.uid or series.path.name)
    return f"series{number}{name and f' ({name})'}"


def _rank(series: Series) -> tuple[int, int, int, float, int, str]:
    thickness = series.spacing_mm[0] if series.spacing_mm else 0.0
    number = 1 << 31 if series.number is None else series.number
    kernel = sharpness(series.kernel)
    return (_seen(series), kernel, -series.slices, thickness, number, series.uid)


def _seen(series: Series) -> int:
    """Return the thickness in steps of the network, 1 and up."""
    return round(max(1.0, series.spacing_mm[0] / SEEN_MM)) if series.spacing_mm else 1


def _why(ranked: list[Series], total: int) -> str:
    best = ranked[0]
    if len(ranked) == 1:
        return "the only series" if total == 1 else f"the only usable series of {total}"
    second = ranked[1]
    if _seen(best) != _seen(second) and best.spacing_mm and second.spacing_mm:
        return f"slices of {best.spacing_mm[0]:.3g} mm preferred over {second.spacing_mm[0]:.3g} mm"
    ours, theirs = sharpness(best.kernel), sharpness(second.kernel)
    if ours != theirs:
        return (
            f"{_NAMES[ours]} kernel {best.kernel or '(none named)'} preferred over "
            f"{_NAMES[theirs]} {second.kernel or '(none named)'}"
        )
    if best.slices != second.slices:
        return f"most slices of {len(ranked)} usable series ({best.slices}, next {second.slices})"
    if best.spacing_mm and second.spacing_mm and best.spacing_mm[0] < second.spacing_mm[0]:
        return f"thinnest slices of {len(ranked)} usable series ({best.spacing_mm[0]:.3g} mm)"
    if best.number != second.number:
        return f"lowest series number of {len(ranked)} equally good series ({best.number})"
    return f"first of {len(ranked)} equally good series"


def _why_none(study: Study) -> Finding:
    total = len(study.series)
    if total == 1:
        return study.series[0].verdict.reason
    reasons = Counter(series.verdict.reason for series in study.series)
    counted = {r: f"all {n}" if n == total else f"{n} of {total}" for r, n in reasons.items()}
    listed = (f"{count}: {reason}" for reason, count in counted.items())
    (first, _), *others = reasons.most_common()
    text = f"no usable series; {'; '.join(listed)}"
    return Finding("no-usable-series", text) if others else Finding(first.code, text)
