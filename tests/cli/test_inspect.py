"""`darnet-trt inspect`, as its user sees it."""

import json

import pydicom
import pytest
from PIL import Image

from darnet_trt.phantom import CohortPlan, write_cohort


@pytest.mark.data
def test_the_real_scans(data_dir, command):
    done = command("inspect", data_dir, "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert (report["schema_version"], report["errors"]) == (2, [])
    chosen = {
        study["path"].rsplit("/", 1)[-1]: study["chosen"] is not None for study in report["studies"]
    }
    assert chosen == {
        "abdomen-j2k": False,
        "chest-4mm-64px": True,
        "chest-8mm": True,
        "head-tilted": False,
    }
    study = report["studies"][2]
    assert study["why"] == "soft kernel B40f preferred over sharp B70f"
    assert study["series"][study["chosen"]]["kernel"] == "B40f"


@pytest.mark.data
def test_the_table_and_headers_only(data_dir, command):
    done = command("inspect", data_dir / "abdomen-j2k")
    assert done.returncode == 1
    assert done.stdout.count("not a chest: 0.04 litres") == 1
    *_, why, files = done.stdout.splitlines()
    assert why.startswith("refused: not a chest: ")
    assert files == "found 20 files: 20 in 1 scan"
    assert "over 6 mm in a scan of 40 mm" in done.stdout
    done = command("inspect", data_dir / "abdomen-j2k", "--headers-only")
    assert done.returncode == 0
    assert "chosen (by headers only): the only series" in done.stdout


def test_a_study_is_listed_once(tmp_path, command):
    write_cohort(CohortPlan(scans=1, matrix=32, slices=(30, 30)), tmp_path / "c", processes=1)
    (tmp_path / "worklist").mkdir()
    (tmp_path / "worklist" / "link").symlink_to(tmp_path / "c")
    scan = tmp_path / "c" / "P0001"
    done = command(
        "inspect", scan, tmp_path / "c", tmp_path / "worklist", "--json", "--headers-only"
    )
    assert [study["path"] for study in json.loads(done.stdout)["studies"]] == [str(scan / "1")]


def test_nothing_readable(tmp_path, command):
    done = command("inspect", tmp_path / "nothing", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    absent, empty = done.stderr.splitlines()
    assert absent.startswith(f"darnet-trt: {tmp_path / 'nothing'}: ")
    assert empty.startswith(f"darnet-trt: {tmp_path}: ")


def test_each_study_has_the_status_that_predict_gives_it(tiny, tmp_path, command):
    write_cohort(CohortPlan(scans=1, matrix=64, slices=(30, 30)), tmp_path / "c", processes=1)
    (tmp_path / "c" / "bad").mkdir()
    (tmp_path / "c" / "bad" / "x.dcm").write_text("text")
    (tmp_path / "c" / "few").mkdir()
    one = pydicom.dcmread(next((tmp_path / "c" / "P0001" / "1").iterdir()))
    one.StudyInstanceUID = "1.2.3"
    one.save_as(tmp_path / "c" / "few" / "1.dcm")
    studies = json.loads(command("inspect", tmp_path / "c", "--json").stdout)["studies"]
    told = {study["path"]: (study["status"], study["code"]) for study in studies}
    done = command("predict", tiny, tmp_path / "c")
    assert told == {
        str(tmp_path / "c" / r["scan"]): (r["status"], r["code"])
        for r in map(json.loads, done.stdout.splitlines())
    }
    assert sorted(status for status, _ in told.values()) == ["failed", "ok", "refused"]
    assert all((status == "ok") == (code == "") for status, code in told.values())
    table = command("inspect", tmp_path / "c")
    assert table.returncode == 1
    *lines, total, files = table.stdout.splitlines()
    assert len(lines) == 1 + len(told), "a heading, and a line a study"
    for path, (status, _) in told.items():
        (line,) = (line for line in lines if line.startswith(path))
        assert f" {status} " in line
    (failed,) = (line for line in lines if "failed" in line)
    assert "is not a DICOM file" in failed
    assert total == "3 studies: 1 ok, 1 refused, 1 failed"
    assert files.startswith("found 34 files: 31 in 2 scans, 1 cannot be read, 2 ignored (")
    assert not any(line.endswith(" ") for line in lines)
    details = command("inspect", tmp_path / "c", "--verbose").stdout
    assert "failed: is not a DICOM file" in details
    assert "patient P0001" in details
    assert details.splitlines()[-2:] == [total, files]


@pytest.mark.parametrize("words", [(), ("--verbose",)])
def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path, words, command):
    for name in ("a\x1b[31m\r\n\x07", "b\u202e\x9b2J"):
        (tmp_path / name).mkdir()
        Image.new("L", (64, 64)).save(tmp_path / name / "1.png")
    done = command("inspect", tmp_path, "--headers-only", *words)
    assert done.returncode == 1
    assert "a\N{REPLACEMENT CHARACTER}[31m" in done.stdout
    assert all(line.isprintable() for line in done.stdout.split("\n"))


@pytest.mark.data
def test_one_path_of_two_fails(data_dir, tmp_path, command):
    done = command("inspect", data_dir / "chest-4mm-64px", tmp_path)
    assert done.returncode == 1
    *_, chosen, total, files = done.stdout.splitlines()
    assert chosen == "chosen: the only series"
    assert total == "1 study: 1 ok; 1 path could not be read"
    assert files == "found 79 files: 79 in 1 scan"
    assert "no scan in this folder" in done.stderr


@pytest.mark.parametrize("width", ["60", "120"])
def test_a_terminal_shows_the_whole_reason(monkeypatch, tmp_path, width, command):
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("L", (64, 64)).save(tmp_path / name / "1.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    monkeypatch.setenv("COLUMNS", width)
    lines = command("inspect", ".", "--headers-only").stdout.splitlines()
    assert sum("a single slice, not a volume" in line for line in lines) == 2


def test_a_bundle_decides_which_slices_must_be_whole(tiny, tmp_path, command):
    plan = CohortPlan(scans=1, format="slices", matrix=64, slices=(48, 48))
    write_cohort(plan, tmp_path / "cohort", processes=1)
    scan = tmp_path / "cohort" / "P0001" / "1"
    lowest = scan / "0047.png"
    lowest.write_bytes(lowest.read_bytes()[:-500])
    done = command("inspect", scan)
    assert done.returncode == 1
    assert "failed: 0047.png cannot be read (image file is truncated" in done.stdout
    done = command(
        "inspect", scan, "--bundle", tiny
    )  # of 48 slices it takes every third, from the second on
    assert done.returncode == 0
    assert "chosen: the only series" in done.stdout
    done = command("inspect", scan, "--bundle", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "it is not a bundle" in done.stderr


def test_the_end_says_what_was_found_used_and_ignored(tmp_path, command):
    write_cohort(CohortPlan(scans=1, matrix=32, slices=(30, 30)), tmp_path, processes=1)
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    (tmp_path / "lost.nii").write_bytes(b"")
    files = json.loads(command("inspect", tmp_path, "--json", "--headers-only").stdout)["files"]
    assert files == {"found": 34, "used": 30, "unread": 1, "ignored": {"text": 2, "PDF": 1}}
    last = command("inspect", tmp_path, "--headers-only").stdout.splitlines()[-1]
    assert last == ("found 34 files: 30 in 1 scan, 1 cannot be read, 3 ignored (2 text, 1 PDF)")


def test_the_scans_of_a_table(phantom_cohort, tmp_path, command):
    table = phantom_cohort / "cohort.csv"
    done = command("inspect", table, "--json", "--headers-only")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["studies"]) == 2
    mine = tmp_path / "mine.csv"
    mine.write_text(
        f"scan,patient,label\n{phantom_cohort}/P0001/1,a,normal\ngone,b,normal\n", "utf-8"
    )
    done = command("inspect", mine, "--json", "--headers-only")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert len(report["studies"]) == 1
    assert [(e["path"], e["code"]) for e in report["errors"]] == [
        (str(tmp_path / "gone"), "no-such-path")
    ]


def test_a_table_that_is_no_cohort_is_one_line(tmp_path, command):
    (tmp_path / "prices.csv").write_text("price\n1\n")
    done = command("inspect", tmp_path / "prices.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "prices.csv: the table has no column scan, patient, label" in done.stderr
    assert done.stderr.count("\n") == 1
