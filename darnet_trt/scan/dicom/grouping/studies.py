"""Sort headers into studies."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from darnet_trt.errors import Finding
from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.grouping.joining import IDENTITY, find_scans
from darnet_trt.scan.dicom.header import Header

_IDENTITY: Final = ("PatientID", *IDENTITY)


def by_study(headers: Iterable[Header]) -> list[list[Header]]:
    """Return the headers of each study.

    A study shares its StudyInstanceUID, or its folder where that is emptied. Where that UID
    differs in each file, it shares what makes its slices one scan: their geometry, all other
    attributes, and their folder or frame of reference.
    """
    declared: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        declared[header.get("StudyInstanceUID") or str(header.path.parent)].append(header)
    studies = list(declared.values())
    lone = [study for study in studies if len({_place(header) for header in study}) == 1]
    slices = [study for study in lone if unfit(study[0]) is None]
    scans = find_scans([study[0] for study in slices], _IDENTITY, one_study=False)
    if not scans:
        return studies
    joined: dict[Hashable, list[Header]] = defaultdict(list)
    taken: set[int] = set()
    for scan in scans:  # two reconstructions in one folder are series of one study
        own = [slices[i] for i in scan.members]
        key = _owner(own[0][0], [h for study in own for h in study], "PatientID" in scan.anew)
        joined[key] += [header for study in own for header in study]
        taken |= {id(study) for study in own}
    for study in lone:  # such as a localizer in the folder
        key = _owner(study[0], study, False)
        if id(study) not in taken and key in joined:
            joined[key] += study
            taken.add(id(study))
    return [study for study in studies if id(study) not in taken] + list(joined.values())


def _place(header: Header) -> tuple[float, ...] | None:
    place: tuple[float, ...] | None = header.get("ImagePositionPatient")
    return place


def _owner(first: Header, headers: Sequence[Header], anonymous: bool) -> Hashable:
    """Return the patient and the folder of a study."""
    folder = os.path.commonpath([header.path.parent for header in headers])
    return None if anonymous else first.get("PatientID"), folder


def one_scan_of_many(patients: Iterable[Sequence[Header]]) -> Finding | None:
    """Return the refusal where each file of one scan has a PatientID of its own.

    Args:
        patients: The files of each patient of one study.
    """
    headers = [header for own in patients for header in own]
    if len({header.get("PatientID") for header in headers}) < 2:
        return None
    slices = [header for header in headers if unfit(header) is None]
    if len({h.get("PatientID") for h in slices}) <= len(slices) / 2:
        return None
    scans = find_scans(slices, _IDENTITY, one_study=False)
    if not any("PatientID" in scan.anew for scan in scans):
        return None
    return Finding(
        "many-patient-ids",
        f"PatientID differs in each of {len(slices)} slices that form one stack, so that nothing "
        "says whether they are of one patient (export the scan again with one PatientID for all)",
    )
