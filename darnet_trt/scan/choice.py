"""Which series of a study speaks for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan.series import Choice, Series, Study

__all__ = ["choose", "none_reads", "passed_over", "rank", "sharpness"]

SOFT, UNKNOWN, SHARP = 0, 1, 2
_NAMES: Final = {SOFT: "soft", UNKNOWN: "unknown", SHARP: "sharp"}
FIRST_SHARP_SIEMENS: Final = 50
"""B10 to B46 are smooth to medium body kernels; from B50, Bl57 on they enhance edges."""
FIRST_SHARP_CANON: Final = 30
"""FC01 to FC29 are body and head kernels; FC30 on bone, FC50 on lung, FC80 on high resolution."""
_SOFT_WORDS = ("SOFT", "STANDARD", "STD", "SMOOTH", "STND", "MEDIASTIN")
_SHARP_WORDS = ("LUNG", "BONE", "EDGE", "SHARP", "DETAIL", "ULTRA", "CHEST", "HD")
_PHILIPS_SOFT = frozenset({"A", "B", "C", "UA", "UB", "UC", "XA", "XB", "XCA", "XCB"})
_PHILIPS_SHARP = frozenset({"D", "E", "F", "L", "Y", "YA", "YB", "YC", "YD", "YE"})


def sharpness(kernel: str) -> int:
    """SOFT, UNKNOWN or SHARP, from ConvolutionKernel (0018,1210) as the vendors name them.

    The network sees a 512-pixel slice at 224 pixels: what a sharp kernel adds is mostly noise.
    """
    name = kernel.split("\\")[0].strip().upper()
    if siemens := re.fullmatch(r"[A-Z][A-Z]?(\d\d)[A-Z]?(?:_\d)?", name):
        family = name[:2]
        limit = FIRST_SHARP_CANON if family == "FC" else FIRST_SHARP_SIEMENS
        return SHARP if int(siemens[1]) >= limit else SOFT
    if name in _PHILIPS_SOFT:
        return SOFT
    if name in _PHILIPS_SHARP:
        return SHARP
    if any(word in name for word in _SHARP_WORDS):
        return SHARP
    if any(word in name for word in _SOFT_WORDS):
        return SOFT
    return UNKNOWN


def choose(study: Study) -> Choice:
    """The best of `rank`, by headers alone.

    Raises:
        RefusedScanError: None is usable; carries the reasons.
        UnreadableScanError: None can be read.
    """
    return rank(study)[0]


def rank(study: Study) -> list[Choice]:
    """The usable series, best first: soft rather than sharp, more and thinner slices.

    Raises:
        RefusedScanError: None is usable; carries the reasons.
        UnreadableScanError: None can be read.
    """
    usable = sorted((s for s in study.series if s.verdict.usable), key=_rank)
    if not usable:
        readable = any(s.verdict.readable for s in study.series)
        kind = RefusedScanError if readable else UnreadableScanError
        raise kind(_why_none(study), where=study.path)
    return [Choice(s, _why(usable[i:], len(study.series))) for i, s in enumerate(usable)]


def passed_over(series: Series, reason: str) -> str:
    """The warning where the pixels of a better series turned out to be of no use."""
    return f"{_named(series)} would come first but cannot be used: {reason}"


def none_reads(tried: Sequence[tuple[Series, str]]) -> str:
    """Why the pixels of no series are of use: the best one's reason, and who else was tried."""
    (_, reason), *others = tried
    if not others:
        return reason
    return f"{reason}; nor can {', '.join(_named(series) for series, _ in others)} be used"


def _named(series: Series) -> str:
    number = "" if series.number is None else f" {series.number}"
    told = series.description or ("" if number else series.uid or series.path.name)
    return f"series{number}{told and f' ({told})'}"


def _rank(series: Series) -> tuple[int, int, float, int, str]:
    thickness = series.spacing_mm[0] if series.spacing_mm else 0.0
    number = 1 << 31 if series.number is None else series.number
    return (sharpness(series.kernel), -series.slices, thickness, number, series.uid)


def _why(ranked: list[Series], total: int) -> str:
    best = ranked[0]
    if len(ranked) == 1:
        return "the only series" if total == 1 else f"the only usable series of {total}"
    second = ranked[1]
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


def _why_none(study: Study) -> str:
    if len(study.series) == 1:
        return study.series[0].verdict.reason
    reasons: dict[str, int] = {}
    for series in study.series:
        reasons[series.verdict.reason] = reasons.get(series.verdict.reason, 0) + 1
    listed = "; ".join(f"{n} × {r}" if n > 1 else r for r, n in reasons.items())
    return f"none of {len(study.series)} series is usable: {listed}"
