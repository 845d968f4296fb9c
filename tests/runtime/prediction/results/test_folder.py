import json
import os
import stat
import subprocess
import sys

import pytest

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.lines import read_results
from darnet_trt.runtime.prediction.results.result import json_line
from tests.full_disk import files_up_to
from tests.permissions import obeyed
from tests.runtime.prediction.results.test_result import result

A, B = "a_12345678.overlay.png", "b_12345678.overlay.png"


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def lines(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def scans(folder):
    return [r.scan for r in read_results(folder)]


def mode(file):
    return stat.S_IMODE(file.stat().st_mode)


def fill(folder, *results, **options):
    with ResultFolder(folder, **options) as opened:
        return [opened.add(r) for r in results]


def test_each_line_is_written_at_once_and_the_table_at_the_end(tmp_path):
    with ResultFolder(tmp_path / "out") as folder:
        folder.add(result("a", status="refused"))
        assert scans(tmp_path / "out") == ["a"]
        folder.add(result("b"))
        assert not (tmp_path / "out/results.csv").exists()
    assert scans(tmp_path / "out") == ["a", "b"]
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"results.jsonl", "results.csv"}


def test_what_was_added_is_what_was_written(tmp_path):
    (written,) = fill(tmp_path, result(patient_id="4711"))
    assert [json_line(written)] == (tmp_path / "results.jsonl").read_text().splitlines(True)


def test_a_resumed_run_knows_what_stands(tmp_path):
    fill(tmp_path, result("a"), result("b", "failed", content="c2"))
    with ResultFolder(tmp_path, resume=True) as folder:
        ok, failed = folder.standing("study:a"), folder.standing("study:b")
        assert (ok.status, ok.bundle_sha256, ok.artifact) == ("ok", "b" * 64, "openvino-fp32")
        assert (failed.status, failed.code, failed.content) == ("failed", "tilted", "c2")
        assert folder.standing("study:c") is None


def test_a_study_keeps_only_its_newest_result_wherever_it_lies(tmp_path):
    fill(tmp_path, result("a"), result("b"))
    (moved,) = fill(tmp_path, result("c", key="study:a", content="more slices"), resume=True)
    assert moved.replaces == "c1"
    assert scans(tmp_path) == [line["scan"] for line in lines(tmp_path)] == ["b", "c"]


def test_an_old_result_stays_until_the_new_one_is_written(tmp_path):
    fill(tmp_path, result("a"), result("b"), result("c", status="failed"))
    program = (
        "import os; from pathlib import Path\n"
        "from tests.runtime.prediction.results.test_folder import ResultFolder, result\n"
        f"folder = ResultFolder(Path({str(tmp_path)!r}), resume=True)\n"
        "folder.add(result('a', artifact='openvino-int8'))\n"
        "folder.drop(['study:c']); os._exit(9)"
    )
    child = subprocess.run([sys.executable, "-c", program], check=False)
    assert child.returncode == 9
    assert len(lines(tmp_path)) == 4
    assert [(r.scan, r.artifact) for r in read_results(tmp_path)] == [
        ("b", "openvino-fp32"),
        ("c", "openvino-fp32"),
        ("a", "openvino-int8"),
    ]
    fill(tmp_path, resume=True)
    assert [r["scan"] for r in lines(tmp_path)] == ["b", "c", "a"]


def test_dropped_results_are_gone_with_their_overlays(tmp_path):
    fill(tmp_path, result("a", overlay=A), result("b"))
    (tmp_path / A).touch()
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.drop(["study:a", "study:unknown"])
        assert folder.standing("study:a") is None
    assert scans(tmp_path) == ["b"]
    assert not (tmp_path / A).exists()
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.drop(["study:b"])
    assert not list(tmp_path.iterdir())


def test_an_overlay_is_deleted_with_its_result(tmp_path):
    fill(
        tmp_path,
        result("a", overlay=A),
        result("b", overlay=B),
    )
    for name in (A, B):
        (tmp_path / name).touch()
    fill(tmp_path, result("a"), result("b", overlay=B), resume=True)
    assert [f.name for f in tmp_path.glob("*.png")] == [B]


def test_an_overlay_that_is_gone_is_missing(tmp_path):
    fill(
        tmp_path,
        result("a", overlay=A),
        result("b", overlay=B),
    )
    (tmp_path / B).touch()
    with ResultFolder(tmp_path, resume=True) as folder:
        assert folder.standing("study:a").overlay is None
        assert folder.standing("study:b").overlay == B


def test_pictures_without_a_line_are_removed_and_others_stay(tmp_path):
    fill(tmp_path, result("a"))
    for name in ("killed_12345678.overlay.png", "mine.overlay.png", "mine_12345678.png"):
        (tmp_path / name).touch()
    fill(tmp_path, resume=True)
    assert {f.name for f in tmp_path.glob("*.png")} == {"mine.overlay.png", "mine_12345678.png"}


def test_tables_are_written_again_only_where_something_is_new(tmp_path):
    def written():
        return (tmp_path / "results.csv").stat().st_mtime_ns

    fill(tmp_path, result("a"), result("b"))
    os.utime(tmp_path / "results.jsonl", (1, 1))
    old = written()
    fill(tmp_path, resume=True)
    assert written() == old
    fill(tmp_path, resume=True, parquet=True)
    assert (tmp_path / "results.parquet").exists()
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.drop(["study:a"])
    assert "study:a" not in (tmp_path / "results.csv").read_text()


def test_results_are_refused_without_resume_but_an_empty_file_is_not(tmp_path):
    fill(tmp_path, result())
    with pytest.raises(UsageError, match="--resume"):
        ResultFolder(tmp_path)
    (tmp_path / "results.jsonl").write_bytes(b"")  # killed before its first result
    fill(tmp_path, result("b"))
    assert scans(tmp_path) == ["b"]


def test_two_runs_cannot_write_into_one_folder(tmp_path):
    with ResultFolder(tmp_path), pytest.raises(UsageError, match="another"):
        ResultFolder(tmp_path, resume=True)


def test_a_run_without_results_leaves_nothing(tmp_path):
    with ResultFolder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [1, 30, 400, -2, -1])
def test_a_line_that_was_cut_off_is_repaired(tmp_path, cut):
    fill(tmp_path, result("a"), result("b"))
    file = tmp_path / "results.jsonl"
    first, last = file.read_bytes().splitlines(True)
    file.write_bytes(first + last[:cut])
    said = []
    fill(tmp_path, result("c"), resume=True, notify=said.append)
    whole = cut == -1  # only the line end was missing
    assert scans(tmp_path) == ["a", *["b"] * whole, "c"]
    assert len(said) == (not whole)
    assert file.read_bytes().startswith(first)


def test_zeros_that_a_power_cut_left_are_repaired(tmp_path):
    fill(tmp_path, result("a"))
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(bytes(4096))
    fill(tmp_path, result("b"), resume=True)
    assert scans(tmp_path) == ["a", "b"]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    room = len(json_line(result())) * 5 // 2
    with files_up_to(room), pytest.raises(OutputError, match=r"results\.jsonl.*cannot") as caught:
        fill(tmp_path, result("a"), result("b"), result("c"))
    assert "\n" not in str(caught.value)
    assert len(lines(tmp_path)) == 2
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_may_not_be_written_is_named(tmp_path):
    fill(tmp_path, result("a"))
    (tmp_path / "results.jsonl").chmod(0o444)
    with obeyed(), pytest.raises(OutputError, match=r"results\.jsonl: cannot be written"):
        ResultFolder(tmp_path, resume=True)
    (tmp_path / "results.jsonl").chmod(0)
    with obeyed(), pytest.raises(OutputError, match=r"results\.jsonl: cannot be read"):
        ResultFolder(tmp_path, resume=True)


def test_a_table_that_does_not_fit_keeps_the_old_one(tmp_path):
    fill(tmp_path, result("a"))
    old = (tmp_path / "results.csv").read_bytes()
    folder = ResultFolder(tmp_path, resume=True)
    folder.add(result("b"))
    with files_up_to(len(old)), pytest.raises(OutputError, match=r"results\.csv"), folder:
        pass
    assert (tmp_path / "results.csv").read_bytes() == old
    assert scans(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_results_are_not_written_into_a_file_that_is_gone(tmp_path, how):
    out = tmp_path / "out"
    folder = ResultFolder(out)
    folder.add(result("a"))
    if how == "moved":
        out.rename(tmp_path / "elsewhere")
    else:
        (out / "results.jsonl").unlink()
    if how == "replaced":
        (out / "results.jsonl").write_text("another program's")
    with pytest.raises(OutputError, match="removed or changed"), folder:
        folder.add(result("b"))
    if how == "moved":
        assert scans(tmp_path / "elsewhere") == ["a"]
    if how == "replaced":
        assert (out / "results.jsonl").read_text() == "another program's"


def test_a_folder_that_went_after_its_last_result_is_said(tmp_path):
    folder = ResultFolder(tmp_path)
    folder.add(result("a"))
    (tmp_path / "results.jsonl").unlink()
    with pytest.raises(OutputError, match="removed"), folder:
        pass


def test_identifiers_are_for_the_owner_alone_and_pseudonyms_for_all(tmp_path):
    os.umask(0o022)
    patient = {"patient_id": "4711", "accession_number": "A1", "study_date": "20260102"}
    for name, identifiers in (("clear", True), ("hidden", False)):
        with ResultFolder(tmp_path / name, identifiers=identifiers) as folder:
            folder.add(result(**patient))
            with folder.whole_file(A) as file:
                file.write(b"a picture")
        files = list((tmp_path / name).iterdir())
        assert len(files) == 3
        assert {mode(file) for file in files} == {0o600 if identifiers else 0o644}
        for file in ("results.jsonl", "results.csv"):
            assert ("4711" in (tmp_path / name / file).read_text()) is identifiers
        (found,) = read_results(tmp_path / name)
        assert found.pseudonymous is not identifiers
        with pytest.raises(UsageError, match="--identifiers"):
            ResultFolder(tmp_path / name, resume=True, identifiers=not identifiers)


def test_files_of_killed_runs_are_removed_and_no_others(tmp_path):
    child = subprocess.Popen(["true"])
    child.wait()
    ours = [f".{name}.{child.pid}" for name in ("results.csv", "results.jsonl", A)]
    others = [f".results.csv.{os.getppid()}", f".notes.{child.pid}", ".results.csv.txt"]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    with ResultFolder(tmp_path):
        pass
    assert {f.name for f in tmp_path.iterdir()} == set(others)


def test_durable_results_are_the_same(tmp_path):
    fill(tmp_path / "a", result("a"), durable=True)
    fill(tmp_path / "a", result("b"), durable=True, resume=True)
    assert scans(tmp_path / "a") == ["a", "b"]


def test_a_path_that_is_not_utf8_is_written_and_found_again(tmp_path):
    odd = b"\xff\xfe\n".decode("utf-8", "surrogateescape")
    fill(tmp_path, result(odd))
    with ResultFolder(tmp_path, resume=True) as folder:
        assert folder.standing(f"study:{odd}").scan == odd
    assert scans(tmp_path) == [odd]


def test_a_folder_that_is_never_closed_is_compacted_and_written_on(tmp_path):
    with ResultFolder(tmp_path, durable=True) as folder:
        for content in "abc":
            folder.add(result("a", content=content))
            folder.add(result("b", content=content))
        folder.drop(["study:b"])
        folder.compact()
        assert [line["content"] for line in lines(tmp_path)] == ["c"]
        assert folder.result("study:a").content == "c"
        folder.add(result("d"))
        folder.add(result("a", content="e"))
        assert len(folder) == 2
        assert [line["content"] for line in lines(tmp_path)][::2] == ["c", "e"]
        folder.compact()
        assert folder.result("study:a").replaces == "c"
    assert scans(tmp_path) == ["d", "a"]


def test_a_compaction_that_fails_loses_nothing(tmp_path):
    with ResultFolder(tmp_path) as folder:
        for name in "abc":
            folder.add(result(name))
        folder.drop(["study:a"])
        with files_up_to(100), pytest.raises(OutputError):
            folder.compact()
        folder.add(result("d"))
        assert [r.scan for r in folder.results()] == ["b", "c", "d"]
    assert scans(tmp_path) == ["b", "c", "d"]


def test_a_folder_without_results_is_compacted(tmp_path):
    with ResultFolder(tmp_path) as folder:
        folder.add(result("a"))
        folder.drop(["study:a"])
        folder.compact()
        assert lines(tmp_path) == []
        folder.add(result("b"))
    assert scans(tmp_path) == ["b"]
