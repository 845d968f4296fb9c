"""Find a cohort's scan on disk, in the order of slices that the cohort gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from darnet_trt.scan.cohorts.cohort import Entry

if TYPE_CHECKING:
    from darnet_trt.scan.series import Study


def study_of(entry: Entry) -> Study:
    """Return the study of a cohort's scan.

    Raises:
        UsageError: There is no such path.
        UnreadableScanError: There is no scan, or there are several.
    """
    from darnet_trt.scan.discovery import find_study  # which reads cohorts
    from darnet_trt.scan.discovery.studies import ordered_study

    if entry.slices:
        return ordered_study(entry.scan, entry.slices)
    return find_study(entry.scan)
