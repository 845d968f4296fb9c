"""Folders that are broken in every way spoil nothing but themselves."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cpu.predict.archive import uid_of
from darnet_trt.scan.discovery.examine import examine
from darnet_trt.scan.discovery.gather import FoundStudy, gather
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.walk import listings
from tests.archive.broken_folders import NAMES, broken_folders
from tests.archive.runs import facts, finish, left_behind, words
from tests.short import SHORT

SIZES = [
    pytest.param(60, id="few"),
    pytest.param(300 if SHORT else 10_000, id="many", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("folders", SIZES)
def test_every_good_study_has_its_result(archive, templates, tiny_engine, tmp_path, folders):
    expected = {fact["study_uid"]: fact for fact in archive(24)[1].values()}
    place, out = tmp_path / "archive", tmp_path / "out"
    ways = broken_folders(tmp_path / "samples", folders)
    good, broken = {}, []
    for number in range(folders):
        above = place / f"{number // 1000:03d}"
        if number % 10 == 7:
            broken.append(above / f"broken {number}")
            broken[-1].mkdir(parents=True)
            next(ways)(broken[-1])
            continue
        odd = NAMES[number // 10 % len(NAMES)] if number % 10 == 0 else ""
        templates[number % len(templates)].write(above / f"{odd}{number:06d}", number)
        good[uid_of(number)] = (number, above / f"{odd}{number:06d}")
    (place / "again").symlink_to("000")
    (place / "itself").symlink_to(".")
    code, said = finish(words(tiny_engine, place, out), tmp_path / "log")
    assert code == 1, said[-4000:]
    found = facts(out)
    of_uid = {fact["study_uid"]: fact for fact in found.values()}
    for uid, (number, folder) in good.items():
        like = expected[uid_of(number % len(templates))]
        own = ("scan", "study_uid", "key", "content", "series", "patient_id", "accession_number")
        assert {k: v for k, v in of_uid[uid].items() if k not in own} == {
            k: v for k, v in like.items() if k not in own
        }
        assert of_uid[uid]["scan"] == os.path.relpath(folder, place)
    named = {os.path.realpath(place / fact["scan"]) for fact in found.values()}
    for folder in broken:
        if not (folder / "above").is_symlink():  # alone it leads to all the others
            for study in found_alone(folder):
                known = study.key in found or study.uid in of_uid
                assert known or os.path.realpath(study.path) in named, study.path
    assert not [fact for fact in found.values() if fact["code"] == "internal-error"]
    assert left_behind(out) == set()


def found_alone(folder: Path) -> Iterator[FoundStudy]:
    """Yield the studies of one folder without its neighbours."""
    examined = [examine(listing) for listing in listings(Place.given(folder))]
    yield from gather(examined).studies
