"""The stream finds what a search finds, as soon as the folders that belong together are known."""

import random
import shutil

import nibabel
import numpy as np
import pytest
from pydicom.uid import generate_uid

from darnet_trt.scan.discovery import (
    Examined,
    Place,
    Units,
    examine,
    gather,
    listings,
    search,
    units,
    walk,
)
from darnet_trt.scan.discovery.examine import Stored
from tests.scan.discovery.streams import streamed, study_of, units_of
from tests.scan.discovery.test_archives import zipped
from tests.scan.discovery.test_poisons import POISONS, good
from tests.scan.pictures.picture_files import grey
from tests.scan.pictures.picture_files import write as write_pictures
from tests.scan.series_factory import chest, save, slice_dataset, write_series

SMALL = chest(16, 32)


def study(folder, **attributes):
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    return write_series(folder, SMALL, **{**uids, "PixelSpacing": [12.0, 12.0], **attributes})


def uid_each(folder, **attributes):
    """Write a series whose files have a StudyInstanceUID each, as some anonymizers do."""
    return [
        save(
            slice_dataset(
                stored,
                (-190.0, -190.0, 10.0 * index),
                InstanceNumber=index + 1,
                StudyInstanceUID=generate_uid(),
                SeriesInstanceUID=generate_uid(),
                PixelSpacing=[12.0, 12.0],
                **attributes,
            ),
            folder / f"{index:03}.dcm",
        )
        for index, stored in enumerate(SMALL)
    ]


def folder_for_each(files):
    for number, file in enumerate(files):
        (file.parent / f"{number:03}").mkdir()
        file.rename(file.parent / f"{number:03}" / file.name)


def a_folder_for_each_study(root):
    for name in "abc":
        study(root / name)


def series_folders(root):
    for name in "ab":
        uid = generate_uid()
        for number in (1, 2):
            study(root / name / str(number), StudyInstanceUID=uid, SeriesNumber=number)
        (root / name / "1" / "notes.txt").write_text("hello")
        write_pictures(root / name / "1b" / "p" / "s", grey())


def a_folder_for_each_slice(root):
    for name in "ab":
        folder_for_each(study(root / name))


def a_uid_and_a_folder_for_each_slice(root):
    for name in "ab":
        folder_for_each(uid_each(root / name, PatientID=name))


def a_uid_for_each_slice(root):
    for name in "ab":
        uid_each(root / name, PatientID=name)


def folders_by_hash(root):
    """As Orthanc keeps its files: under two digits and two more of each one's own number."""
    order = random.Random(1)
    for file in [*study(root / "1"), *study(root / "2"), *uid_each(root / "3")]:
        name = f"{order.getrandbits(128):032x}"
        (root / name[0] / name[1]).mkdir(parents=True, exist_ok=True)
        file.rename(root / name[0] / name[1] / name)
    for name in "123":
        (root / name).exists() and not any((root / name).iterdir()) and (root / name).rmdir()


def one_flat_folder(root):
    """Three studies, one of them with UIDs of its own in each file, and all that may lie beside."""
    order = random.Random(2)
    for file in [*study(root / "x"), *study(root / "y"), *uid_each(root / "z")]:
        file.rename(root / f"{order.getrandbits(64):016x}.dcm")
    for name in "xyz":
        (root / name).rmdir()
    for index in range(5):
        (root / f"{index}.dcm").write_bytes(b"lost")
    write_pictures(root, grey())
    (root / "a.txt").write_text("hello")
    nibabel.save(nibabel.Nifti1Image(chest().T, np.diag([-6.0, -6.0, 10.0, 1.0])), root / "v.img")


def many_volumes(root):
    image = nibabel.Nifti1Image(chest(16, 32).T, np.diag([-12.0, -12.0, 10.0, 1.0]))
    for index in range(12):
        nibabel.save(image, root / (f"{index}.nii" if index % 2 else f"{index}.img"))
    (root / "lost.nii").write_bytes(b"")
    (root / "alone.img").write_bytes(b"\0\1")


def archives(root):
    for name in "ab":
        study(root / name / "scan")
        zipped(root / name)
        shutil.rmtree(root / name)
    study(root / "c")


def everything(root):
    good(root)
    (root / "beside").mkdir()
    for poison in POISONS[10:]:
        poison(root / "beside")


TREES = [
    a_folder_for_each_study, series_folders, a_folder_for_each_slice, a_uid_for_each_slice,
    a_uid_and_a_folder_for_each_slice, folders_by_hash, one_flat_folder, many_volumes, archives,
    everything,
]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.__name__)
@pytest.mark.parametrize("large", [False, True])
def test_the_stream_finds_what_a_search_finds(tmp_path, monkeypatch, tree, large):
    tree(tmp_path)
    expected = search(tmp_path)
    if large:
        monkeypatch.setattr(walk, "PIECE", 7)
        monkeypatch.setattr(units, "LARGE", 5)
        monkeypatch.setattr(units, "FEW", 1)
    gathered = streamed(tmp_path)
    studies = [study_of(one) for one in gathered.studies]
    assert gathered.counts == expected.counts
    assert sorted(map(repr, studies)) == sorted(map(repr, expected.studies))
    assert all(series.headers for one in studies for series in one.series if series.stack)


@pytest.mark.parametrize("count", [5])
def test_a_study_is_complete_when_the_next_folder_holds_another(tmp_path, count):
    for index in range(count):
        study(tmp_path / str(index))
    decide, complete = Units(), []
    for number, listing in enumerate(listings(Place.given(tmp_path))):
        complete += decide.add(listing, examine(listing))
        assert len(complete) == number
    assert len(decide.end()) == 1


def test_series_in_folders_of_their_own_wait_for_each_other(tmp_path):
    series_folders(tmp_path)
    found = [gather(unit.examined).studies for unit in units_of(tmp_path)]
    assert [sorted(len(one.files) for one in studies if one.uid) for studies in found] == [
        [32],
        [32],
    ]


def test_no_unit_waits_for_ever(tmp_path):
    study(tmp_path / "0")
    for index in range(30):
        (tmp_path / f"text{index:02}").mkdir()
        (tmp_path / f"text{index:02}" / "a.txt").write_text("hello")
    decide, complete = Units(), []
    for number, listing in enumerate(listings(Place.given(tmp_path))):
        complete += decide.add(listing, examine(listing))
        assert bool(complete) == (number > units.PATIENCE)


def test_known_folders_are_passed(tmp_path):
    for name in "abcd":
        study(tmp_path / name)
    decide, complete = Units(), []
    for listing in listings(Place.given(tmp_path)):
        known = listing.folder.name in "ac"
        complete += decide.add(listing, None if known else examine(listing))
    complete += decide.end()
    folders = [one.listing_folder.name for unit in complete for one in unit.examined]
    assert folders == ["b", "d"]


def test_a_large_folder_is_gathered_study_by_study(tmp_path, monkeypatch):
    for name in "abc":
        for file in study(tmp_path / name):
            file.rename(tmp_path / f"{file.stem}-{name}.dcm")
        (tmp_path / name).rmdir()
    monkeypatch.setattr(units, "LARGE", 40)
    sizes = [sum(one.files for one in unit.examined) for unit in units_of(tmp_path)]
    assert sizes == [16, 16, 16]
    monkeypatch.setattr(units, "LARGE", 48)
    assert len(units_of(tmp_path)) == 1


def test_bytes_may_wait_elsewhere(tmp_path):
    one_flat_folder(tmp_path)
    (listing,) = listings(Place.given(tmp_path))
    examined = examine(listing)
    kept = {}

    def keep(content):
        kept[len(kept)] = content
        return Stored(len(kept) - 1, len(content))

    away: Examined = examined.with_bytes(keep)
    assert len(kept) == len(examined.dicom) + len(examined.volumes) + 1
    assert away.with_bytes(lambda place: kept[place.offset]) == examined


def test_headers_take_little_room(tmp_path):
    study(tmp_path)
    (listing,) = listings(Place.given(tmp_path))
    (slices,) = examine(listing).dicom.values()
    assert len(slices.pickled) < 16 * 600
