"""Where a search begins: what is given, cohort tables, and shards."""

import os
from itertools import chain
from pathlib import Path

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.scan.discovery.places import Place, places
from darnet_trt.scan.discovery.walk import count_files, listings


def archive(folder: Path, *files: str | bytes) -> Path:
    for file in files:
        path = folder / os.fsdecode(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(found: list[Place]) -> list[str]:
    return [
        os.path.relpath(place.path, place.root) + "/*" * (place.only is not None) for place in found
    ]


def shards(folder: Path, of: int) -> list[list[str]]:
    return [names(places([folder], (number, of))) for number in range(1, of + 1)]


def parts(folder: Path) -> list[str]:
    return names(places([folder], (1, 1)))


def test_what_was_given_is_searched_once_and_names_its_scans(tmp_path, monkeypatch):
    archive(tmp_path, "a/1/x.dcm", "b.nii")
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    found = places([Path("a/1"), Path("a"), Path("b.nii"), Path("link"), Path("nowhere")])
    assert found == [
        Place(tmp_path / "a", tmp_path / "a", among="a"),
        Place(tmp_path / "b.nii", tmp_path, among=tmp_path.name),
        Place(tmp_path / "nowhere", tmp_path, among=tmp_path.name),
    ]
    assert found[0].name(tmp_path / "a" / "1") == "1"
    assert found[0].name(tmp_path / "a") == "a"


@pytest.mark.parametrize("name", ["x" * 300, "loop", "closed/scan"])
def test_what_cannot_be_looked_at_is_a_place(tmp_path, name, obeyed_permissions):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "closed").mkdir(0)
    assert places([tmp_path / name]) == [Place(tmp_path / name, (tmp_path / name).parent)]
    assert places([tmp_path / name], (1, 1)) == places([tmp_path / name])


def test_a_table_names_its_scans_relative_to_itself(phantom_cohort, tmp_path, monkeypatch):
    monkeypatch.chdir(phantom_cohort.parent)
    found = places([Path("cohort/cohort.csv")])
    assert [place.path for place in found] == [
        entry.scan for entry in read_cohort(phantom_cohort).entries
    ]
    assert names(found) == ["P0001/1", "P0001/2"]


def test_a_scan_that_a_table_names_in_vain_is_a_place(tmp_path):
    rows = ["scan,patient,label", "gone/1,p,normal", f"{tmp_path.parent}/up,q,normal"]
    (tmp_path / "mine.CSV").write_text("\n".join(rows))
    assert names(places([tmp_path / "mine.CSV"])) == ["gone/1", "../up"]


def test_a_table_adds_nothing_to_the_folder_that_holds_its_scans(phantom_cohort):
    both = [phantom_cohort / "cohort.csv", phantom_cohort]
    assert places(both) == [Place(phantom_cohort, phantom_cohort)]


def test_a_folder_that_cannot_be_looked_into_is_a_place(tmp_path, obeyed_permissions):
    (tmp_path / "closed").mkdir(0)
    assert places([tmp_path / "closed"]) == [Place(tmp_path / "closed", tmp_path / "closed")]


def test_a_table_that_is_no_cohort_is_an_error(tmp_path):
    (tmp_path / "prices.csv").write_text("price\n1\n")
    with pytest.raises(UsageError, match=r"prices\.csv: the table has no column scan"):
        places([tmp_path / "prices.csv"])


def test_a_folder_or_an_absent_file_may_be_called_csv(tmp_path):
    (tmp_path / "scans.csv").mkdir()
    both = [tmp_path / "scans.csv", tmp_path / "absent.csv"]
    assert [place.path for place in places(both)] == both


def test_shards_have_nothing_in_common_and_are_the_whole(tmp_path):
    made = [f"P{patient:03}/1.dcm" for patient in range(100)]
    whole = shards(archive(tmp_path, *made), 7)
    assert sorted(chain(*whole)) == sorted(name.partition("/")[0] for name in made)
    assert all(len(shard) > 4 for shard in whole)


def test_every_machine_and_every_release_divides_alike(tmp_path):
    files = ["a/1", "b/1", "c/1", b"caf\xe9/1", "caf\N{LATIN SMALL LETTER E WITH ACUTE}/1", "x.nii"]
    first = archive(tmp_path / "mnt" / "first", *files)
    second = archive(tmp_path / "second", *reversed(files))
    assert shards(first, 3) == shards(second, 3)
    assert shards(first, 3) == [
        ["./*"],
        ["a", "b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"],
        ["c", os.fsdecode(b"caf\xe9")],
    ]


def test_files_of_the_folder_that_was_given_go_into_one_shard(tmp_path):
    folder = archive(tmp_path / "in", *(f"{n}.dcm" for n in range(20)), "sub/1.dcm")
    assert parts(folder) == ["./*", "sub"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["P1/1.dcm", "P2/1.dcm"], ["P1", "P2"]),  # a folder a study
        (["P1/S1/1.dcm", "P1/S2/1.dcm"], ["P1"]),  # series below: stays together
        (["P1/S1/se1/1", "P1/S1/se2/1", "P1/S2/se1/1"], ["P1/S1", "P1/S2"]),
        (["2024/11/P1/S1/se/1", "2024/12/P2/S1/se/1"], ["2024/11/P1/S1", "2024/12/P2/S1"]),
        (["P1/DICOMDIR", "P1/a/b/c/1"], ["P1"]),  # a file may belong to what lies deeper
        (["P1/.hidden", "P1/x.overlay.png", "P1/a/b/1"], ["P1/a"]),
        ([".hidden/1", "P1/a/1"], ["P1"]),
        (["study.zip", "P1/a/1"], ["./*", "P1"]),
    ],
)
def test_a_folder_is_divided_as_long_as_no_series_is_torn(tmp_path, files, expected):
    assert parts(archive(tmp_path / "in", *files)) == expected


def test_empty_and_closed_folders_are_parts(tmp_path, obeyed_permissions):
    folder = archive(tmp_path / "in", "P1/a/b/1")
    (folder / "closed").mkdir(0)
    (folder / "empty").mkdir()
    assert parts(folder) == ["P1/a", "closed", "empty"]


def test_a_folder_that_is_reached_again_by_a_link_is_left_out(tmp_path):
    folder = archive(tmp_path / "in", "2024/P1/a/1", "2024/P2/a/1")
    (folder / "2024" / "up").symlink_to(folder)
    (folder / "latest").symlink_to("2024")
    assert parts(folder) == ["2024/P1", "2024/P2"]


def test_a_linked_folder_is_divided(tmp_path):
    archive(tmp_path / "disk", "P1/S1/se1/1", "P1/S2/se1/1")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "2024").symlink_to(tmp_path / "disk")
    assert parts(tmp_path / "in") == ["2024/P1/S1", "2024/P1/S2"]


def test_the_scans_of_a_table_and_files_go_into_shards_whole(tmp_path):
    (tmp_path / "cohort.csv").write_text(
        "scan,patient,label\n" + "".join(f"P/{n},p,normal\n" for n in range(40))
    )
    archive(tmp_path, *(f"P/{n}/a/b/1.dcm" for n in range(40)), "one.zip")
    given = [tmp_path / "cohort.csv", tmp_path / "one.zip"]
    divided = [names(places(given, (number, 4))) for number in range(1, 5)]
    assert sorted(chain(*divided)) == sorted(names(places(given)))
    assert all(divided)


def files(found: list[Place]) -> list[str]:
    listed = [file.path for place in found for listing in listings(place) for file in listing.files]
    assert sum(map(count_files, found)) == len(listed)
    return [os.path.relpath(path, found[0].root) for path in listed]


def test_every_file_lies_in_one_shard(tmp_path):
    made = ["1.dcm", "2.dcm", "P1/1.dcm", "2024/P2/S1/se/1", "2024/P2/S1/se/2", "2024/P3/S1/se/1"]
    folder = archive(tmp_path, *made)
    (folder / "P1" / "up").symlink_to(folder)
    (folder / "2024" / "P2" / "S1" / "se" / "up").symlink_to(folder / "2024")
    in_shards = [files(places([folder], (n, 3))) for n in (1, 2, 3)]
    assert all(in_shards)
    assert sorted(chain(*in_shards)) == sorted(files(places([folder]))) == sorted(made)
