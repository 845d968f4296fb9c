"""Tell whether a study seems to lack slices, from its own numbers and positions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.series import Study

_GAPS: Final = frozenset({"missing-slices", "missing-numbers", "uneven-spacing"})
"""Codes of verdicts that a slice that is still to come may change."""


def lacks_slices(study: Study, headers: Sequence[Header]) -> bool:
    """Return whether slices seem to be missing; more may come.

    That is so where no series can be classified, a slice is cut, positions leave a gap, the
    InstanceNumbers (0020,0013) of a series do, or an acquisition has fewer images than its
    ImagesInAcquisition (0020,1002) says.

    Args:
        study: The study.
        headers: Of all its files, also those that are left out; none where it is not DICOM.
    """
    verdicts = [series.verdict for series in study.series]
    if not any(verdict.usable for verdict in verdicts):
        return True
    if any(header.defect for header in headers) or any(v.reason.code in _GAPS for v in verdicts):
        return True
    numbers: dict[str, set[int]] = defaultdict(set)
    for header in headers:
        number = str(header.values.get("InstanceNumber") or "").strip()
        if number.isascii() and number.isdigit():
            numbers[header.get("SeriesInstanceUID", "")].add(int(number))
    return any(map(_has_gaps, numbers.values())) or _lacks_images(headers)


def _lacks_images(headers: Sequence[Header]) -> bool:
    """Return whether a series, or an acquisition in it, has fewer images than it says.

    An acquisition of one image does not count: some scanners number each slice's, and tell how many
    images the series has.
    """
    found: dict[str, Counter[Any]] = defaultdict(Counter)
    told: Counter[tuple[str, Any]] = Counter()
    for header in {(h.get("SOPInstanceUID", h.path), h.frame): h for h in headers}.values():
        uid, number = header.get("SeriesInstanceUID", ""), header.get("AcquisitionNumber")
        found[uid][number] += 1
        told[uid, number] = max(told[uid, number], header.get("ImagesInAcquisition", 0))
    return any(
        found[uid].total() < count or 1 < found[uid][number] < count
        for (uid, number), count in told.items()
    )


def _has_gaps(numbers: Iterable[int]) -> bool:
    """Return whether most of the numbers from the first, at most 1, are there, but not all.

    Where few are, they number something else: every tenth slice, or the slices of all series.
    """
    found = set(numbers)
    span = max(found) - min(*found, 1) + 1
    return span / 2 < len(found) < span
