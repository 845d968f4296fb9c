"""Tell whether a study seems to lack slices, from its own numbers and positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.series import Study

_GAPS: Final = frozenset({"missing-slices", "missing-numbers", "uneven-spacing"})
"""Codes of verdicts that a slice that is still to come may change."""


def lacks_slices(study: Study, headers: Sequence[Header]) -> bool:
    """Return whether slices seem to be missing; more may come.

    That is so where no series can be classified, a slice is cut, positions leave a gap, or the
    InstanceNumbers (0020,0013) of a series do.

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
    return any(map(_has_gaps, numbers.values()))


def _has_gaps(numbers: Iterable[int]) -> bool:
    """Return whether most of the numbers from the first, at most 1, are there, but not all.

    Where few are, they number something else: every tenth slice, or the slices of all series.
    """
    found = set(numbers)
    span = max(found) - min(*found, 1) + 1
    return span / 2 < len(found) < span
