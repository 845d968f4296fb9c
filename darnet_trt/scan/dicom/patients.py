"""Separate the patients of one study: two patients under one UID are never one scan.

StudyInstanceUID and SeriesInstanceUID are unique by the standard (PS3.3 C.7.2.1.1, C.7.3.1.1.1),
but some software writes the same ones for everybody.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.grouping.studies import one_scan_of_many
from darnet_trt.scan.dicom.header import Header


def by_patient(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Sort the files of one study by PatientID (0010,0020).

    Only possible CT slices count as a patient's: reports are often renumbered. A file that names
    no patient, or one without slices, goes to the patient with the most slices. Where each slice
    of a scan has a PatientID of its own, all files go to one patient without a name.
    """
    named = Counter(str(header.get("PatientID", "")) for header in headers)
    if len(named) > 1:
        named = Counter(str(h.get("PatientID", "")) for h in headers if unfit(h) is None) or named
    if len(named) > 1:
        del named[""]
    most = named.most_common(1)[0][0]
    if len(named) == 1:
        return {most: list(headers)}
    if one_scan_of_many([headers]):
        return {"": list(headers)}
    patients: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        own = str(header.get("PatientID", ""))
        patients[own if own in named else most].append(header)
    return patients


def in_one_place(patients: Iterable[Sequence[Header]]) -> bool:
    """Return whether two of the patients share a folder, so that folders do not separate them."""
    folders = [{header.path.parent for header in headers} for headers in patients]
    places = [os.path.commonpath(own) for own in folders]
    return len(set(places)) < len(places) or len(set().union(*folders)) < sum(map(len, folders))
