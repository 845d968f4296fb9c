"""A study keeps its key wherever it lies and however it grows; its content changes as it grows."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from darnet_trt.errors import Finding
from darnet_trt.scan.discovery import Place, examine, gather, listings
from darnet_trt.scan.discovery.found import Found
from darnet_trt.scan.discovery.gather import studies_of
from darnet_trt.scan.discovery.identity import of_dicom
from tests.scan.dicom.grouping.headers import slice_at
from tests.scan.discovery.streams import found, study_of, usable
from tests.scan.pictures.picture_files import grey
from tests.scan.pictures.picture_files import write as write_pictures
from tests.scan.series_factory import chest, write_series

COUNT = 24
CUT = Finding("truncated", "truncated")
UIDS = {
    "whole": (),
    "without a study": ("StudyInstanceUID",),
    "without a series": ("StudyInstanceUID", "SeriesInstanceUID"),
}


def slices(*, emptied=(), anew=(), folder="a", **values):
    """Headers of a series; some UIDs are emptied, or another one in each file."""
    return [
        slice_at(
            10.0 * index,
            folder=folder,
            **{
                "SOPInstanceUID": generate_uid(),
                "InstanceNumber": str(index + 1),
                "StudyInstanceUID": "1.2",
                "SeriesInstanceUID": "1.2.3",
                **values,
                **dict.fromkeys(emptied),
                **{keyword: generate_uid() for keyword in anew},
            },
        )
        for index in range(COUNT)
    ]


EVERY = [
    slices(),
    *(slices(emptied=keywords) for keywords in UIDS.values()),
    slices(anew=("StudyInstanceUID", "SeriesInstanceUID")),
]


def identities(headers):
    made, _ = studies_of(Found(headers=list(headers)))
    return [of_dicom(study, own, alone=True) for study, own in made if own]


def identity(headers):
    (only,) = identities(headers)
    return only


def moved(header, folder, name="copy"):
    return replace(header, path=Path(folder) / f"{name}-{header.path.name}")


@pytest.mark.parametrize("headers", EVERY)
@settings(max_examples=15)
@given(st.data())
def test_order_names_and_copies_change_nothing(headers, data):
    order = data.draw(st.permutations(headers))
    copied = data.draw(st.sets(st.sampled_from(range(COUNT))))
    copies = [moved(headers[index], headers[0].path.parent) for index in copied]
    expected = identity(headers)
    assert identity(order + copies) == expected
    assert identity([moved(header, "/b/c") for header in order]) == expected


@pytest.mark.parametrize("headers", EVERY)
@settings(max_examples=15)
@given(st.sets(st.integers(1, COUNT - 1), min_size=1, max_size=3))
def test_a_study_that_grows_keeps_its_key_and_changes_its_content(headers, late):
    before = identity([h for index, h in enumerate(headers) if index not in late])
    after = identity(headers)
    assert before.key == after.key
    assert before.content != after.content


@pytest.mark.parametrize("headers", EVERY)
@settings(max_examples=15)
@given(st.integers(0, COUNT - 1))
def test_a_slice_that_was_cut_is_new_when_it_is_whole(headers, index):
    cut = replace(headers[index], pixels=(), defect=CUT)
    broken = [*headers[:index], cut, *headers[index + 1 :]]
    assert identity(broken).key == identity(headers).key
    assert identity(broken).content != identity(headers).content
    assert identity([*headers, moved(cut, cut.path.parent)]) == identity(headers)


@pytest.mark.parametrize("emptied", UIDS.values())
def test_two_studies_differ(emptied):
    uids = {} if emptied else {"StudyInstanceUID": "1.9"}
    pair = slices(emptied=emptied) + slices(emptied=emptied, folder="b", **uids)
    assert len({one.key for one in identities(pair)}) == 2


def test_two_studies_whose_files_have_a_uid_each_differ():
    anew = ("StudyInstanceUID", "SeriesInstanceUID")
    pair = slices(anew=anew, PatientID="A") + slices(anew=anew, PatientID="B", folder="b")
    assert len({one.key for one in identities(pair)}) == 2


def test_files_without_any_uid():
    headers = slices(emptied=("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
    grown = identity(headers)
    before = identity(headers[:20])
    assert before.key == grown.key
    assert before.content != grown.content
    other = slices(
        emptied=("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), AcquisitionTime="7"
    )
    assert identity(other).key != grown.key


def test_one_instance_uid_in_every_file():
    headers = slices(SOPInstanceUID="1.1")
    assert identity(headers[:20]).content != identity(headers).content


def test_the_key_is_the_studys_uid(tmp_path):
    write_series(
        tmp_path / "a", StudyInstanceUID="1.2.3", AccessionNumber="A7", StudyDate="20200102"
    )
    (study,) = found(tmp_path)
    assert study.key == "study:1.2.3"
    assert study.uid == "1.2.3"
    assert len(study.files) == study_of(study).series[0].slices == COUNT
    person = study.person
    assert (person.patient_id, person.accession_number, person.study_date) == (
        "P1", "A7", "20200102",
    )  # fmt: skip
    assert usable(study)


def test_patients_under_one_uid_have_a_key_each(tmp_path):
    for patient in ("P1", "P2"):
        write_series(tmp_path / patient, StudyInstanceUID="1.2.3", PatientID=patient)
    ends = [hashlib.sha256(f"{patient}\n".encode()).hexdigest()[:16] for patient in ("P1", "P2")]
    studies = found(tmp_path)
    assert [study.key for study in studies] == [f"study:1.2.3/{end}" for end in ends]
    examined = [examine(listing) for listing in listings(Place.given(tmp_path))]
    again = gather(examined, frozenset(["study:1.2.3"])).studies
    assert [study.key for study in again] == [study.key for study in studies]
    assert gather(examined, frozenset([studies[1].key])).studies == studies[1:]
    assert gather(examined, frozenset(["study:1.2"])).studies == ()


def test_copies_without_a_study_uid_are_one_study_when_they_are_gathered_again(tmp_path):
    write_series(tmp_path / "a", StudyInstanceUID=None)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a" / "IM0010.dcm").unlink()
    part, whole = found(tmp_path)
    assert part.key == whole.key
    assert part.content != whole.content
    examined = [examine(listing) for listing in listings(Place.given(tmp_path))]
    (again,) = gather(examined, frozenset([part.key])).studies
    assert (again.key, again.content) == (whole.key, whole.content)
    assert len(again.files) == 2 * COUNT - 1


def volume(path):
    nibabel.save(nibabel.Nifti1Image(chest().T, np.diag([-6.0, -6.0, 10.0, 1.0])), path)


@pytest.mark.parametrize("names", [("a.nii",), ("a.hdr", "a.img")])
def test_a_volume_is_known_by_its_bytes(tmp_path, names):
    volume(tmp_path / names[0] if len(names) == 1 else tmp_path / "a.img")
    (tmp_path / "b").mkdir()
    (before,) = found(tmp_path)
    for name in names:
        (tmp_path / name).rename(tmp_path / "b" / name)
    (after,) = found(tmp_path)
    assert (before.key, before.content) == (after.key, after.content)
    assert before.key.startswith("content:")
    content = bytearray((tmp_path / "b" / names[-1]).read_bytes())
    content[-1] ^= 1
    (tmp_path / "b" / names[-1]).write_bytes(content)
    assert found(tmp_path)[0].key != before.key


def test_pictures_are_known_by_their_bytes_in_order(tmp_path):
    write_pictures(tmp_path / "p" / "s", grey())
    (before,) = found(tmp_path)
    (tmp_path / "p" / "s").rename(tmp_path / "q")
    (after,) = found(tmp_path)
    assert (before.key, before.content) == (after.key, after.content)
    names = sorted((tmp_path / "q").iterdir())
    names[-1].rename(tmp_path / "q" / "9999.png")
    (gap,) = found(tmp_path)
    assert gap.key == before.key
    assert gap.content != before.content  # its verdict differs
    shutil.copy(names[0], names[1])
    assert found(tmp_path)[0].key != before.key


def test_what_cannot_be_read_is_known_by_its_place(tmp_path):
    for name in ("a/1.nii", "b/1.nii", "b/2.dcm"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_bytes(b"")
    before = found(tmp_path / "root")
    assert len({study.key for study in before}) == 3
    assert all(study.key.startswith("path:") and not usable(study) for study in before)
    shutil.copytree(tmp_path / "root", tmp_path / "moved")
    after = found(tmp_path / "moved")
    assert [study.key for study in after] == [study.key for study in before]
    (tmp_path / "moved" / "a" / "1.nii").write_bytes(b"x")
    changed = found(tmp_path / "moved")
    assert changed[0].key == before[0].key
    assert changed[0].content != before[0].content
    assert [study.content for study in changed[1:]] == [study.content for study in after[1:]]


def test_a_cut_slice_is_a_failure_beside_its_study(tmp_path):
    files = write_series(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:-100])
    lost, study = sorted(found(tmp_path), key=usable)
    assert study.key.startswith("study:")
    assert files[-1] in study.files
    assert lost.files == (files[-1],)
    assert lost.key.startswith("path:")


def test_files_that_are_all_cut_keep_the_studys_key(tmp_path):
    for file in write_series(tmp_path, StudyInstanceUID="1.2.3"):
        file.write_bytes(file.read_bytes()[:-100])
    (study,) = found(tmp_path)
    assert study.key == "study:1.2.3"
    assert not usable(study)
