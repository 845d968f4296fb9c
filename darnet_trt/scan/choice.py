"""Choose the series of a study that is classified."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan.series import Choice, Series, Study

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


def choose(study: Study) -> Choice:
    """Return the best of `rank`, judged by headers alone.

    Raises:
        RefusedScanError: No series is usable; gives the reasons.
        UnreadableScanError: No series can be read.
    """
    return rank(study)[0]


def rank(study: Study) -> list[Choice]:
    """Return the usable series, best first: soft before sharp, then more and thinner slices.

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


def skipped(series: Series, reason: str) -> str:
    """Return the warning for a better series whose pixels cannot be used."""
    return f"skipped {_named(series)}, which ranks higher: {reason}"


def none_loads(tried: Sequence[tuple[Series, str]]) -> str:
    """Return why no series can be used: the best one's reason, and which others were tried."""
    (_, reason), *others = tried
    if not others:
        return reason
    return f"{reason}; {', '.join(_named(s) for s, _ in others)} cannot be used either"


def _named(series: Series) -> str:
    number = "" if series.number is None else f" {series.number}"
    name = series.description or ("" if number else series.uid or series.path.name)
    return f"series{number}{name and f' ({name})'}"


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
    total = len(study.series)
    if total == 1:
        return study.series[0].verdict.reason
    reasons = Counter(series.verdict.reason for series in study.series)
    counted = {r: f"all {n}" if n == total else f"{n} of {total}" for r, n in reasons.items()}
    listed = (f"{count}: {reason}" for reason, count in counted.items())
    return f"no usable series; {'; '.join(listed)}"
