"""`darnet-trt phantom` as a user sees it."""

import csv

import pytest

from darnet_trt.machine.files import sole_writer
from darnet_trt.scan.cohorts import read_cohort


def test_writes_a_cohort(tmp_path, command):
    done = command(
        "phantom", tmp_path / "c", "--scans", 2, "--matrix", 48, "--slices", 30, "--format", "nifti"
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "c" / "cohort.csv") in done.stdout
    assert "writing scans: 2 of 2" in done.stderr
    again = command("phantom", tmp_path / "c", "--scans", 2)
    assert again.returncode == 2
    assert again.stderr.startswith(f"darnet-trt: {tmp_path / 'c'}: ")
    assert again.stderr.count("\n") == 1


def test_classes_and_kinds_of_ones_own(tmp_path, command):
    done = command(
        *("phantom", tmp_path / "c", "--scans", 4, "--matrix", 32, "--slices", 30, "--lesions"),
        *("--classes", "tb=small-nodules,normal", "--kind", "normal=0", "--kind", "emphysema=1"),
    )
    assert done.returncode == 0, done.stderr
    cohort = read_cohort(tmp_path / "c")
    assert cohort.classes == ("tb", "normal")
    with cohort.table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"small-nodules", "emphysema"}
    assert all(0 < float(row["severity"]) < 1 for row in rows)
    assert len(list((tmp_path / "c" / "lesions").glob("*/*.npz"))) == 4


def test_two_at_once_into_one_folder(tmp_path, command):
    with sole_writer(tmp_path / ".c.partial"):  # as the first one does
        done = command("phantom", tmp_path / "c", "--scans", 1)
    assert done.returncode == 2
    assert done.stderr.startswith(f"darnet-trt: {tmp_path / 'c'}: another darnet-trt")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--slices", "many"], "--slices: 'many'"),
        (["--slices", "1-8"], "--slices: '1-8'"),
        (["--slices", "30:"], "--slices: '30:'"),
        (["--slices", "60:40"], "not 60:40"),
        (["--slices", "12"], "30 to 600, not 12\n"),
        (["--scans", "0"], "--scans: must be 1 to"),
        (["--matrix", "2"], "--matrix: must be 32 to"),
        (["--kind", "mild-covid-19=60%"], "--kind: 'mild-covid-19=60%'"),
    ],
)
def test_options_that_cannot_work(tmp_path, options, reason, command):
    done = command("phantom", tmp_path / "c", *options)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_file_where_the_folder_should_be(tmp_path, command):
    (tmp_path / "c").write_text("")
    done = command("phantom", tmp_path / "c")
    assert done.returncode == 2
    assert done.stderr.startswith(f"darnet-trt: {tmp_path / 'c'}: is a file")


def test_folder_that_cannot_be_made(command):
    done = command("phantom", "/proc/no/such/place", "--scans", 1)
    assert done.returncode == 2
    assert done.stderr.startswith("darnet-trt: /proc/no/such/place: ")
