"""Make studies of what was found in some folders, and say of each what it is."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from darnet_trt.errors import Finding, ScanError, UnreadableScanError
from darnet_trt.scan.dicom.grouping.completeness import lacks_slices
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.discovery.counts import Counts
from darnet_trt.scan.discovery.examine import Examined, unpacked
from darnet_trt.scan.discovery.found import REMOVE, Found
from darnet_trt.scan.discovery.identity import Identity, Person, of_dicom, of_files
from darnet_trt.scan.discovery.kinds import EMPTY, PICTURES, TEXT, UNKNOWN
from darnet_trt.scan.discovery.studies import (
    Beside,
    beside_slices,
    dicom_studies,
    failed_study,
    of_one_study,
    ordered_study,
    picture_studies,
)
from darnet_trt.scan.pictures import natural_key
from darnet_trt.scan.series import Study
from darnet_trt.scan.volume_files.nifti import header_of

Made = tuple[Study, list[Header]]
"""A study with the headers of all its files; none where it is of another format, or failed."""
_DAMAGED: Final = (EMPTY, UNKNOWN, TEXT)
"""Kinds that a lost file may have; a folder of GIF pictures is merely ignored."""


@dataclass(frozen=True)
class FoundStudy:
    """A study that was found, small enough to keep many of them.

    Attributes:
        path: The deepest folder that holds its files, or its only file; absolute.
        uid: StudyInstanceUID (0020,000D); empty for other formats than DICOM.
        key: What it is, wherever it lies: "study:UID" (with the patient where one UID has
            several), "slices:HASH" for DICOM without such a UID or with one for each file,
            "content:HASH" for other formats, "path:HASH" for what cannot be read.
        content: Hash of what was found of it, 32 hexadecimal digits: SOP instances and what each
            one holds of the scan, or the files' bytes. It changes when slices come.
        files: Its files.
        person: Whom it is of.
        pickled: The `Study`.
        missing: Whether slices seem to be missing: by their numbers or positions, because a file
            is cut, or because no series can be classified.
    """

    path: Path
    uid: str
    key: str
    content: str
    files: tuple[Path, ...] = field(repr=False)
    person: Person
    pickled: bytes = field(repr=False)
    missing: bool = False


@dataclass(frozen=True)
class Gathered:
    """What some folders hold.

    Attributes:
        studies: The unusable ones, too; what cannot be read is a study of its own.
        counts: What became of each file.
    """

    studies: tuple[FoundStudy, ...]
    counts: Counts


def gather(
    examined: Sequence[Examined], only: frozenset[str] | None = None, mixed: bool = False
) -> Gathered:
    """Make studies of what was found in some folders; of one place alone.

    Args:
        examined: Of a unit.
        only: Keys of the studies to return, over all their files. Where those of "study:UID" turn
            out to be of several patients, each patient's is returned, under its own key.
        mixed: Whether a folder may hold several patients of one StudyInstanceUID: nobody sorted
            its files. Otherwise that is a mistake, and refused.
    """
    found, beside = Found(), dict[Path, Beside]()
    for one in examined:
        found.add(unpacked(one))
        for folder, own in one.beside.items() if one.apart else ():
            beside[folder] = beside.get(folder, Beside()) + own
    studies, counts = studies_of(found, beside, mixed=mixed, slices=examined[0].slices)
    if only is not None:
        studies = _merged(studies)
    named = Counter(study.uid for study, headers in studies if headers)
    cut = _with_cut_files({**beside, **beside_slices(found.failed, {})}, studies)
    gathered: list[FoundStudy] = []
    lost: Counter[Path] = Counter()
    for study, headers in studies:
        if headers:
            identity = of_dicom(study, headers, alone=named[study.uid] == 1)
        else:
            identity = of_files(study, examined[0].root, lost[study.path])
            lost[study.path] += identity.key.startswith("path:")
        if only is None or not only.isdisjoint((identity.key, identity.key.split("/")[0])):
            gathered.append(_found_study(study, headers, identity, cut))
    return Gathered(tuple(gathered), counts)


def _merged(studies: Sequence[Made]) -> list[Made]:
    """Make one study of copies that lie in several folders without a StudyInstanceUID."""
    copies: dict[str, list[Header]] = defaultdict(list)
    others = []
    for study, headers in studies:
        if study.uid or not headers:
            others.append((study, headers))
        else:
            copies[of_dicom(study, headers, alone=True).key] += headers
    return others + [made for headers in copies.values() for made in of_one_study(headers, {})]


def _found_study(
    study: Study, headers: Sequence[Header], identity: Identity, cut: Container[Path]
) -> FoundStudy:
    files = dict.fromkeys(header.path for header in headers)
    files |= dict.fromkeys(file for series in study.series for file in series.files)
    return FoundStudy(
        path=study.path,
        uid=study.uid,
        key=identity.key,
        content=identity.content,
        files=tuple(files),
        person=identity.person,
        pickled=pickle.dumps(study, pickle.HIGHEST_PROTOCOL),
        missing=lacks_slices(study, headers) or any(file.parent in cut for file in files),
    )


def _with_cut_files(beside: Mapping[Path, Beside], studies: Sequence[Made]) -> set[Path]:
    """Return the folders of one study in which a file cannot be read: most likely one of its."""
    owners = Counter(f for _, headers in studies for f in {h.path.parent for h in headers})
    return {folder for folder, lies in beside.items() if lies.unread and owners[folder] == 1}


def studies_of(
    found: Found,
    more: Mapping[Path, Beside] = MappingProxyType({}),
    *,
    mixed: bool = False,
    slices: Sequence[str] = (),
) -> tuple[list[Made], Counts]:
    """Return everything as studies, in order, and what became of each file.

    Args:
        found: What lies in some folders.
        more: What else lies beside the slices in these folders.
        mixed: As of `gather`.
        slices: Names of the pictures of the only folder that make up its scan, in their true order;
            (): as their names say.
    """
    if slices and found.pictures:
        return _ordered(found, slices)
    beside_dicom = {header.path.parent for header in found.headers}
    pictures = {f: files for f, files in found.pictures.items() if f not in beside_dicom}
    ignored_pictures = {f: len(files) for f, files in found.pictures.items() if f in beside_dicom}
    ignored = found.ignored + Counter({"picture beside DICOM": sum(ignored_pictures.values())})
    voxels = {file for study in found.volumes for file in study.series[0].files}
    taken = {header.path for header in found.headers}.union(voxels, *pictures.values())
    failed = list(found.failed)
    for file, kind in found.others:
        if file in voxels or file in found.voxels:
            continue
        if lost := _lost(file, kind, file.parent in pictures, file.parent in beside_dicom):
            failed.append(lost)
        else:
            ignored[kind] += 1
    broken: dict[Path, list[ScanError]] = defaultdict(list)
    for error in failed:
        broken[Path(str(error.where)).parent].append(error)
    beside = {**more, **beside_slices(failed, ignored_pictures)}
    none: list[Header] = []
    studies = [
        *((study, none) for study in found.volumes),
        *dicom_studies(found.headers, beside, mixed=mixed),
        *((s, none) for f, files in pictures.items() for s in picture_studies(f, files, broken)),
    ]
    used = {file for study, _ in studies for s in study.series for file in s.files}
    damaged = _damaged(found.headers, [study for study, _ in studies])
    left_out = taken - used - {Path(str(error.where)) for error in damaged}
    ignored += Counter({"left out of a series": len(left_out)})  # a warning says why
    failed += damaged
    counts = Counts(len(studies), len(used), len(failed), ignored)
    studies += [(failed_study(error), none) for error in failed]
    studies.sort(key=lambda made: (natural_key(made[0].path), made[0].uid))
    return studies, counts


def _ordered(found: Found, slices: Sequence[str]) -> tuple[list[Made], Counts]:
    """Return what `studies_of` does, of a folder whose slices a cohort names."""
    folder, files = next(iter(found.pictures.items()))
    used = len({folder / name for name in slices} & {*files})
    ignored = found.ignored + Counter({"left out by the cohort": len(files) - used})
    ignored += Counter(kind for _, kind in found.others)
    return [(ordered_study(folder, slices), [])], Counts(1, used, 0, ignored)


def _damaged(headers: Sequence[Header], studies: Sequence[Study]) -> list[ScanError]:
    """Return the error for each damaged slice without which its series is usable."""
    usable = {(study.uid, s.uid) for study in studies for s in study.series if s.verdict.usable}
    return [
        UnreadableScanError(header.defect, where=header.path, do="copy it again")
        for header in {header.path: header for header in headers}.values()
        if header.defect
        and (header.get("StudyInstanceUID", ""), header.get("SeriesInstanceUID", "")) in usable
    ]


def _lost(
    path: Path, kind: str, beside_pictures: bool, beside_dicom: bool
) -> UnreadableScanError | None:
    """Return the error for a picture or for voxels that cannot be read, or None."""
    suffix = path.suffix.lower()
    if suffix in PICTURES and (beside_pictures or (kind in _DAMAGED and not beside_dicom)):
        text = f"is not a PNG, JPEG or TIFF picture (its content: {kind})"
        return UnreadableScanError(Finding("not-a-picture", text), where=path, do=REMOVE)
    if suffix == ".img" and header_of(path) is None:
        finding = Finding("no-header-file", "has no header file, .hdr, beside it")
        return UnreadableScanError(finding, where=path, do="copy both files again")
    return None
