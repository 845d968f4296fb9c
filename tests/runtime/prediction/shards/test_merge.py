"""Result folders are joined into one, checked, and left as they are."""

import json
import stat

import pytest

from darnet_trt.errors import OutputError, UsageError
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.lines import read_results
from darnet_trt.runtime.prediction.results.result import json_line
from darnet_trt.runtime.prediction.shards.merge import merge
from darnet_trt.runtime.prediction.shards.shard import marked, parse_shard
from tests.full_disk import files_up_to
from tests.runtime.prediction.results.test_objects import files, named, with_objects
from tests.runtime.prediction.results.test_result import result


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def shard(folder, name, *results, **options):
    with ResultFolder(folder, **options) as opened, marked(folder, name and parse_shard(name)):
        for each in results:
            opened.add(each)
    return folder


def lines(folder):
    return (folder / "results.jsonl").read_text().splitlines(keepends=True)


def contents(*folders):
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return {file: file.read_bytes() for file in files}


def joined(tmp_path, *folders, **options):
    before = contents(*folders)
    merged = merge(tmp_path / "out", folders, **options)
    assert contents(*folders) == before
    return merged


def refused(tmp_path, match, *folders):
    before = contents(*(folder for folder in folders if folder.is_dir()))
    with pytest.raises(UsageError, match=match) as caught:
        merge(tmp_path / "out", folders)
    assert contents(*(folder for folder in folders if folder.is_dir())) == before
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_shards_become_what_one_run_would_have_written(tmp_path):
    every = [result(name, patient_id=name) for name in "abcdef"]
    first = shard(tmp_path / "1", "1/3", *every[:3])
    second = shard(tmp_path / "2", "2/3", *every[3:])
    third = shard(tmp_path / "3", "3/3")  # it had nothing to classify
    merged = joined(tmp_path, second, first, third)
    assert (merged.missing, merged.unended, merged.repeated) == ((), (), 0)
    assert merged.statuses == {"ok": 6}
    whole = shard(tmp_path / "whole", None, *every)
    assert sorted(lines(tmp_path / "out")) == sorted(lines(whole))
    table = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert sorted(table) == sorted((whole / "results.csv").read_text().splitlines())
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"results.jsonl", "results.csv"}


def test_what_a_result_replaced_is_kept(tmp_path):
    folder = shard(tmp_path / "1", "1/1", result("a"))
    shard(folder, "1/1", result("a", content="c2"), resume=True)
    joined(tmp_path, folder)
    assert lines(tmp_path / "out") == lines(folder)
    assert [r.replaces for r in read_results(tmp_path / "out")] == ["c1"]


def test_missing_and_interrupted_shards_are_named(tmp_path):
    first = shard(tmp_path / "1", "1/4", result("a"))
    third = shard(tmp_path / "3", None, result("c"))
    with pytest.raises(KeyboardInterrupt), marked(third, (3, 4)):
        raise KeyboardInterrupt
    merged = joined(tmp_path, first, third)
    assert merged.missing == ((2, 4), (4, 4))
    assert merged.unended == ((3, 4),)
    assert [r.scan for r in read_results(tmp_path / "out")] == ["a", "c"]


def test_a_study_that_several_have_is_taken_once(tmp_path):
    first = shard(tmp_path / "1", "1/2", result("link/a", "failed", key="study:a"), result("b"))
    second = shard(tmp_path / "2", "2/2", result("a"))
    merged = joined(tmp_path, first, second, first)
    assert merged.repeated == 1
    assert [(r.scan, r.status) for r in read_results(tmp_path / "out")] == [
        ("b", "ok"),
        ("a", "ok"),
    ]


def test_a_study_that_was_split_over_shards_is_an_error_and_is_set_right(tmp_path):
    first = shard(tmp_path / "1", "1/2", result("x/a", key="study:a"), result("b"))
    second = shard(tmp_path / "2", "2/2", result("y/a", key="study:a", content="others"))
    said = refused(tmp_path, "1 study has other files in one shard than in another", first, second)
    assert "y/a" in said
    whole = shard(tmp_path / "whole", None, result("a", content="both"))
    merged = joined(tmp_path, first, second, whole)
    assert merged.statuses == {"ok": 2}
    assert {(r.scan, r.content) for r in read_results(tmp_path / "out")} == {
        ("a", "both"),
        ("b", "c1"),
    }


def test_many_split_studies_are_one_line(tmp_path):
    names = [f"P{number}" for number in range(50)]
    first = shard(tmp_path / "1", "1/2", *map(result, names))
    second = shard(tmp_path / "2", "2/2", *(result(name, content="c2") for name in names))
    said = refused(tmp_path, "50 studies have other files .* and 47 more", first, second)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"bundle_sha256": "c" * 64}, "results of bundle cccc"), ({"artifact": "x"}, "of engine x")],
)
def test_results_of_another_engine_are_refused(tmp_path, changes, reason):
    first = shard(tmp_path / "1", "1/2", result("a"))
    other = result("b").model_copy(update=changes)
    refused(tmp_path, reason, first, shard(tmp_path / "2", "2/2", other))


def test_identifiers_and_pseudonyms_are_not_mixed(tmp_path):
    clear = shard(tmp_path / "1", "1/2", result("a", patient_id="4711"), identifiers=True)
    hidden = shard(tmp_path / "2", "2/2", result("b", patient_id="4711"))
    said = refused(tmp_path, "has patients' identifiers, and .* has pseudonyms", hidden, clear)
    assert said.startswith(str(clear))
    refused(tmp_path, "has patients' identifiers", clear, hidden)


def test_identifiers_stay_private(tmp_path):
    folder = shard(tmp_path / "1", None, result("a", patient_id="4711"), identifiers=True)
    joined(tmp_path, folder)
    for file in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "4711" in lines(tmp_path / "out")[0]


def test_divisions_are_not_mixed(tmp_path):
    first = shard(tmp_path / "1", "1/2", result("a"))
    second = shard(tmp_path / "2", "2/3", result("b"))
    refused(tmp_path, "holds shard 2/3, and .* holds shard 1/2", first, second)


@pytest.mark.parametrize("spoil", ["absent", "empty", "foreign", "old"])
def test_bad_folders_are_one_line_and_write_nothing(tmp_path, spoil):
    good, bad = shard(tmp_path / "1", "1/2", result("a")), tmp_path / "bad"
    if spoil != "absent":
        bad.mkdir()
    if spoil in ("foreign", "old"):
        line = json.loads(json_line(result("b")))
        line["schema_version"] = 2
        text = json.dumps(line) if spoil == "old" else "hello"
        (bad / "results.jsonl").write_text(f"{text}\n")
    said = refused(tmp_path, str(bad), good, bad)
    assert "\n" not in said


def test_shards_without_any_result_are_an_error(tmp_path):
    refused(tmp_path, "no results", shard(tmp_path / "1", "1/1"))


def test_a_folder_with_results_is_not_written_into(tmp_path):
    first = shard(tmp_path / "1", None, result("a"))
    out = shard(tmp_path / "out", None, result("b"))
    before = lines(out)
    for folders in ([first], [first, out]):
        with pytest.raises(UsageError, match=r"already holds results|is to be joined itself"):
            merge(out, folders)
    assert lines(out) == before


def test_what_was_joined_is_joined_again(tmp_path):
    name = "a.overlay.png"
    folders = [shard(tmp_path / "1", "1/2", result("a", overlay=name)), tmp_path / "2"]
    (folders[0] / name).write_bytes(b"picture")
    shard(folders[1], "2/2", result("b"))
    merge(tmp_path / "out", folders)
    shard(folders[1], "2/2", result("b", content="c2"), result("c"), resume=True)
    merged = merge(tmp_path / "out", folders, again=True)
    assert merged.statuses == {"ok": 3}
    assert sorted(lines(tmp_path / "out")) == sorted(lines(folders[0]) + lines(folders[1]))
    assert (tmp_path / "out" / "results.csv").read_text().count("\n") == 4
    assert (tmp_path / "out" / name).read_bytes() == b"picture"


def test_what_was_joined_outlives_a_full_disk(tmp_path):
    name = "a.overlay.png"
    folder = shard(tmp_path / "1", "1/1", result("a", overlay=name))
    (folder / name).write_bytes(b"picture")
    merge(tmp_path / "out", [folder])
    before = contents(tmp_path / "out")
    shard(folder, "1/1", *map(result, "bcdef"), resume=True)
    with files_up_to(1000), pytest.raises(OutputError):
        merge(tmp_path / "out", [folder], again=True)
    assert contents(tmp_path / "out") == before


def test_a_folder_in_which_a_run_works_is_refused(tmp_path):
    with ResultFolder(tmp_path / "1") as opened:
        opened.add(result("a"))
        with pytest.raises(UsageError, match="another darnet-trt is writing into it"):
            merge(tmp_path / "out", [tmp_path / "1"])


def test_overlays_come_along(tmp_path):
    folder = tmp_path / "1"
    names = [f"{name}.overlay.png" for name in "ab"]
    shard(folder, None, *(result(n[0], overlay=n) for n in names))
    (folder / names[0]).write_bytes(b"picture")
    joined(tmp_path, folder)
    assert (tmp_path / "out" / names[0]).read_bytes() == b"picture"
    assert [r.overlay for r in read_results(tmp_path / "out")] == [names[0], None]


def test_objects_come_along_and_go_with_their_result(tmp_path):
    first = shard(tmp_path / "1", "1/2", with_objects("a", "sr", "pm"), with_objects("b", "sr"))
    second = shard(tmp_path / "2", "2/2", with_objects("c", "sr"))
    gone = next(r.dicom[0].file for r in read_results(first) if r.scan == "b")
    (first / gone).unlink()
    joined(tmp_path, first, second)
    out = tmp_path / "out"
    assert {r.scan: [o.kind for o in r.dicom] for r in read_results(out)} == {
        "a": ["sr", "pm"],
        "b": [],
        "c": ["sr"],
    }
    assert files(out) == named(out)
    assert {stat.S_IMODE((out / file).stat().st_mode) for file in files(out)} == {0o600}
    shard(first, "1/2", with_objects("a", "sr", content=b"new"), resume=True)
    merge(out, [first, second], again=True)
    assert files(out) == named(out)
    assert len(files(out)) == 2


def test_a_full_disk_leaves_no_object_behind(tmp_path):
    folder = shard(tmp_path / "1", None, with_objects("a", "sr"), *map(result, "bcdef"))
    with pytest.raises(OutputError, match="cannot be written"), files_up_to(2000):
        merge(tmp_path / "out", [folder])
    assert not (tmp_path / "out").exists()
    assert files(folder) == named(folder)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    folder = shard(tmp_path / "1", None, *map(result, "abcdef"))
    before = contents(folder)
    with pytest.raises(OutputError, match="cannot be written"), files_up_to(2000):
        merge(tmp_path / "out", [folder])
    assert not (tmp_path / "out").exists()
    assert contents(folder) == before


def test_a_folder_that_nobody_may_write_is_joined(tmp_path, obeyed_permissions):
    folder = shard(tmp_path / "1", None, result("a"))
    folder.chmod(0o500)
    joined(tmp_path, folder)
    folder.chmod(0o700)
    assert lines(tmp_path / "out") == lines(folder)
