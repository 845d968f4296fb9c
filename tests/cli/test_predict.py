import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BundleError
from darnet_trt.machine.files import sole_writer
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.engines import loading as engines
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.prediction.pipeline import discovery
from darnet_trt.runtime.prediction.predict import predict as classify
from darnet_trt.runtime.prediction.results.result import PHANTOMS_ONLY, SHORTCUT
from darnet_trt.scan.discovery.walk import listings
from tests.cli.command import COMMAND
from tests.full_disk import small_disk
from tests.tiny_bundle import change_manifest

# What OpenVINO and its oneDNN may use of any x86: CPUs before bfloat16.
AVX2 = {"OV_CPU_MAX_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
AVX512 = {"OV_CPU_MAX_ISA": "AVX512_CORE", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}


@pytest.fixture(scope="module")
def phantom(phantom_series) -> Path:
    """Return one small scan that is classified."""
    return phantom_series


@pytest.fixture
def predict(command):
    return partial(command, "predict")


def codes(result: dict[str, Any]) -> list[str]:
    """Return the codes of a result's warnings."""
    return [warning["code"] for warning in result["warnings"]]


def errors_in_one_line(outcome: tuple[int, str, str], says: str) -> None:
    code, out, err = outcome
    assert code == 2
    assert out == ""
    assert says in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("darnet-trt: ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/no/where"], "no such file"),
        (["/", "--cam"], "--cam: needs a folder"),
        (["/", "--resume"], "--resume: needs a folder"),
        (["/", "--artifact", "fast"], "unknown engine 'fast'"),
    ],
)
def test_words_that_cannot_work(predict, tiny, words, says):
    errors_in_one_line(predict(tiny, *words), says)


def test_an_altered_bundle_leaves_no_output(predict, tiny, tmp_path):
    (tmp_path / "scan").mkdir()
    with (tiny / "model.onnx").open("ab") as file:
        file.write(b"x")
    outcome = predict(tiny, tmp_path / "scan", "-o", tmp_path / "out")
    errors_in_one_line(outcome, "altered or damaged")
    assert not (tmp_path / "out").exists()


def test_no_results_among_the_files_of_a_bundle_or_a_cohort(predict, tiny, phantom_cohort):
    for folder in (tiny, phantom_cohort):
        before = sorted(folder.iterdir())
        errors_in_one_line(predict(tiny, phantom_cohort, "-o", folder), f"{folder}: is a ")
        assert sorted(folder.iterdir()) == before


def test_the_end_says_where_the_results_are_and_how_many_are_undecided(
    predict, tiny, phantom_cohort, tmp_path, monkeypatch
):
    monkeypatch.setattr("darnet_trt.runtime.prediction.results.result.UNDECIDED_BELOW", 2)
    words = (tiny, phantom_cohort, "-o", tmp_path / "out", "--cam")
    code, _, err = predict(*words)
    assert code == 0
    *_, files, _, where, tally = err.splitlines()
    assert files.endswith(" in 2 scans, 2 ignored (2 text)")
    assert tally.startswith("2 scans: 2 ok (2 undecided); ")
    assert where == f"results: {tmp_path / 'out' / 'results.csv'}, results.jsonl, 2 overlays"
    _, _, err = predict(*words, "--resume")
    assert "already done: 2 studies" in err.splitlines()


def test_an_output_folder_under_a_file(predict, tiny, tmp_path):
    (tmp_path / "file").write_text("")
    errors_in_one_line(predict(tiny, tiny, "-o", tmp_path / "file" / "out"), "is a file")


def test_two_at_once_into_one_folder(predict, tiny, tmp_path):
    with sole_writer(tmp_path / "out"):
        outcome = predict(tiny, tiny, "-o", tmp_path / "out", "--resume")
    errors_in_one_line(outcome, "out: another darnet-trt is writing into it")


def test_bad_scans_are_results_and_the_rest_go_on(predict, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("no scan")
    scans = (tmp_path / "empty", tmp_path / "note.txt", tmp_path / "nowhere")
    code, out, err = predict(tiny, *scans)
    assert code == 1
    found = {result["scan"]: result for result in map(json.loads, out.splitlines())}
    results = [found.pop(scan.name) for scan in scans]
    assert not found
    assert {result["status"] for result in results} == {"failed"}
    assert all(result["reason"] and "\n" not in result["reason"] for result in results)
    assert all(result["code"] for result in results)
    assert results[1]["reason"].startswith("it is in no known format (its content: text); ")
    use = "trained on nothing: random weights. Research use only. Not a medical device."
    assert err.splitlines()[0] == use
    assert err.splitlines()[-1] == f"3 scans: 3 failed; {use}"


def test_control_characters_of_names_do_not_reach_the_terminal(predict, tiny, tmp_path):
    odd = tmp_path / "in" / "name\x1b[31m\r\n\x07"
    odd.mkdir(parents=True)
    (odd / "x.dcm").write_text("text")
    _, out, err = predict(tiny, tmp_path / "in")
    assert json.loads(out)["scan"] == f"{odd.name}/x.dcm"
    assert "name\N{REPLACEMENT CHARACTER}[31m" in err
    assert all(line.isprintable() for line in err.split("\n"))


SCRIPT = """
from darnet_trt import open_bundle, predict
print("main runs")
for result in predict(open_bundle({bundle!r}), {scan!r}):
    print(result.status)
"""


def test_a_script_without_a_guard_for_its_main_module_runs_once(tiny, phantom, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT.format(bundle=str(tiny), scan=str(phantom)))
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("main runs\nok\n", "")
    assert not processes_that_read()


def test_relative_paths_and_a_change_of_folder(tiny, phantom, tmp_path, monkeypatch):
    bundle = open_bundle(tiny)
    for name in "ab":
        monkeypatch.chdir(phantom.parent if name == "a" else phantom)
        (found,) = classify(bundle, phantom.name if name == "a" else ".")
        assert (found.status, found.scan) == ("ok", phantom.name)


def processes_that_read() -> list[psutil.Process]:
    """Return every process that reads scans, but those of this process and of tests beside it."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if "darnet_trt.scan.isolated" in (process.info["cmdline"] or ())
        and process.info["ppid"] == 1
    ]


def test_an_exception_of_the_engine_ends_the_run(predict, tiny, phantom, tmp_path, monkeypatch):
    class Broken(OpenVINORunner):
        def infer(self, batch):
            raise RuntimeError("no more memory")

    monkeypatch.setattr(engines, "OpenVINORunner", Broken)
    outcome = predict(tiny, phantom, "-o", tmp_path / "out")
    errors_in_one_line(outcome, "no more memory; please report it; --debug shows where")
    assert not (tmp_path / "out").exists()


def test_no_line_follows_an_error(tiny, phantom, monkeypatch):
    """The scans are still being looked for when the engine fails."""
    failed = threading.Event()

    def slow(place):
        failed.wait(60)
        return listings(place)

    monkeypatch.setattr(discovery, "listings", slow)
    with (tiny / "model.onnx").open("ab") as file:
        file.write(b"x")
    said = []
    counted = []
    results = classify(open_bundle(tiny), [phantom], notify=said.append, counted=counted.append)
    with pytest.raises(BundleError, match="altered or damaged"):
        next(results)
    before = list(said)
    failed.set()
    for thread in threading.enumerate():
        if thread.name == "discovery":
            thread.join()
    assert (said, counted) == (before, [])


def test_a_scan_named_twice_is_classified_once(predict, tiny, phantom, tmp_path):
    (tmp_path / "worklist").mkdir()
    (tmp_path / "worklist" / "link").symlink_to(phantom)
    one = next(phantom.iterdir())
    code, out, _ = predict(
        tiny, phantom, tmp_path / "nowhere", f"{phantom}/", one, phantom, tmp_path / "worklist"
    )
    assert code == 1
    assert sorted(json.loads(line)["status"] for line in out.splitlines()) == ["failed", "ok"]


def test_the_schema_is_printed_without_a_bundle(predict, tiny, phantom):
    code, out, err = predict("--schema")
    assert (code, err) == (0, "")
    assert out.endswith("}\n")
    schema = json.loads(out)
    _, line, _ = predict(tiny, phantom)
    assert list(schema["properties"]) == list(json.loads(line))


def test_a_benchmark_classifies_a_scan_as_often_as_it_is_named(tiny, phantom):
    results = list(classify(open_bundle(tiny), [phantom] * 3, repeats=True))
    assert [result.status for result in results] == ["ok"] * 3


def test_results_among_the_scans_are_not_taken_for_one(predict, tiny, phantom, tmp_path):
    (tmp_path / "my scans").mkdir()
    (tmp_path / "my scans" / "link").symlink_to(phantom)
    words = (tiny, tmp_path / "my scans", "-o", tmp_path / "my scans" / "results", "--cam")
    assert predict(*words)[0] == 0
    code, _, err = predict(*words, "--resume")
    assert code == 0
    assert "nothing left to do" in err.splitlines()[-1]


@pytest.mark.data
def test_the_other_series_of_a_study_where_the_chosen_one_is_broken(
    predict, tiny, data_dir, tmp_path
):
    """Of the real soft and sharp series, every soft slice holds an empty JPEG."""
    for kind in ("soft", "sharp"):
        (tmp_path / "study" / kind).mkdir(parents=True)
        for number, file in enumerate(sorted((data_dir / "chest-8mm" / kind).iterdir())):
            dataset = pydicom.dcmread(file)
            dataset.SeriesDescription = f"Thorax\r\n{kind}"
            if kind == "soft":
                dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
                dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
            dataset.save_as(tmp_path / "study" / kind / f"{number}.dcm")
    code, out, err = predict(tiny, tmp_path / "study")
    assert code == 0
    result = json.loads(out)
    assert result["series"]["description"] == "Thorax sharp"
    skipped = result["warnings"][0]["text"]
    for fact in ("series 3 (Thorax soft)", "29.dcm", "cannot be decoded"):
        assert fact in skipped
    (place,) = (n for n, line in enumerate(err.splitlines()) if line.startswith("[1/"))
    assert err.splitlines()[place + 1] == f"    ! {skipped}"


@pytest.mark.data
def test_real_series_are_predicted_and_refused_for_the_true_reasons(
    predict, tiny, data_dir, tmp_path
):
    code, out, _ = predict(tiny, data_dir, "-o", tmp_path / "out", "--cam", "--json")
    assert code == 0
    found = {Path(r["scan"]).name: r for r in map(json.loads, out.splitlines())}
    assert {name: r["status"] for name, r in found.items()} == {
        "abdomen-j2k": "refused",
        "chest-4mm-64px": "ok",
        "chest-8mm": "ok",
        "head-tilted": "refused",
    }
    assert "not a chest" in found["abdomen-j2k"]["reason"]
    assert "tilted by 18.5°" in found["head-tilted"]["reason"]
    assert "B40f" in found["chest-8mm"]["series"]["why"]
    assert sum(found["chest-8mm"]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    lines = (tmp_path / "out" / "results.jsonl").read_text()
    assert lines == out
    for result in found.values():
        drawn = result["overlay"] is not None
        assert drawn == (result["status"] == "ok")
        assert not drawn or (tmp_path / "out" / result["overlay"]).is_file()


SEEN = "6 synthetic phantoms (darnet-trt phantom, seed 0); not real patients"


@pytest.mark.data
@pytest.mark.parametrize(
    ("model", "warned"),
    [
        ({"phantoms_only": True}, True),
        ({"phantoms_only": False, "trained_on": SEEN}, False),
        ({"trained_on": SEEN}, True),  # a bundle of before the field
        ({}, False),
    ],
)
def test_a_network_of_phantoms_warns_of_patients(predict, tiny, phantom, data_dir, model, warned):
    card = json.loads((tiny / "manifest.json").read_text())["model"]
    del card["phantoms_only"]
    change_manifest(tiny, model={**card, **model})
    code, out, _ = predict(tiny, data_dir / "chest-4mm-64px", phantom)
    assert code == 0
    found = {result["scan"]: result for result in map(json.loads, out.splitlines())}
    patient, made = found["chest-4mm-64px"], found[phantom.name]
    assert (PHANTOMS_ONLY.code in codes(patient)) == warned
    assert PHANTOMS_ONLY.code not in codes(made)


def test_a_network_of_a_leaky_cohort_warns_of_every_scan(predict, tiny, phantom):
    card = json.loads((tiny / "manifest.json").read_text())["model"]
    change_manifest(tiny, model={**card, "shortcuts": ["matrix", "probe"]})
    code, out, _ = predict(tiny, phantom)
    assert code == 0
    warnings = {w["code"]: w["text"] for w in json.loads(out)["warnings"]}
    assert "matrix, probe" in warnings[SHORTCUT]


@pytest.mark.data
@pytest.mark.parametrize(
    ("coarsest_mm", "warned"), [(None, False), (7.9, False), (7.5, True), (1.5, True)]
)
def test_pixels_coarser_than_in_training_are_warned_of(
    predict, tiny, data_dir, coarsest_mm, warned
):
    card = json.loads((tiny / "manifest.json").read_text())["model"]
    change_manifest(tiny, model={**card, "coarsest_pixel_mm": coarsest_mm})
    _, out, _ = predict(tiny, data_dir / "chest-4mm-64px")  # 64 pixels of 4.17 mm become 32
    notes = [w["text"] for w in json.loads(out)["warnings"] if w["code"] == "coarse-pixels"]
    assert len(notes) == warned
    for fact in ["8.3 mm", f"{coarsest_mm} mm"] if warned else []:
        assert fact in notes[0]


def test_a_resumed_run_does_only_what_is_left(predict, tiny, phantom, tmp_path):
    (tmp_path / "empty").mkdir()
    words = (tiny, phantom, "-o", tmp_path / "out")
    assert predict(*words)[0] == 0
    errors_in_one_line(predict(*words), "already holds results; add --resume")
    assert len(results_in(tmp_path / "out")) == 1
    code, _, err = predict(*words, tmp_path / "empty", "--resume")
    assert code == 1
    assert "1 scan: 1 failed" in err
    assert len(results_in(tmp_path / "out")) == 2


def test_a_shard_keeps_that_a_file_is_no_scan(predict, tiny, tmp_path):
    (tmp_path / "note.txt").write_text("no scan")
    words = (tiny, tmp_path / "note.txt", "--shard", "1/1", "-o", tmp_path / "out")
    assert predict(*words)[0] == 1, "other shards may have scans"
    assert [r["status"] for r in results_in(tmp_path / "out")] == ["failed"]


def test_a_resumed_run_looks_again_at_a_scan_that_was_mended(predict, tiny, phantom, tmp_path):
    shutil.copytree(phantom, tmp_path / "scan")
    slices = sorted((tmp_path / "scan").iterdir())
    lost = [slices[10].read_bytes(), slices[11].read_bytes()]
    slices[10].unlink()
    slices[11].unlink()
    assert predict(tiny, tmp_path / "scan", "-o", tmp_path / "out")[0] == 0
    (refused,) = results_in(tmp_path / "out")
    assert (refused["status"], refused["class"]) == ("refused", None)
    again = (tiny, tmp_path / "scan", "-o", tmp_path / "out", "--resume")
    assert "nothing left to do" in predict(*again)[2], "a refusal is a result"
    assert predict(*again, "--retry-refused", "--refused-is-failure")[0] == 1
    assert [r["reason"] for r in results_in(tmp_path / "out")] == [refused["reason"]]
    slices[10].write_bytes(lost[0])
    slices[11].write_bytes(lost[1])
    assert predict(*again)[0] == 0
    assert [r["status"] for r in results_in(tmp_path / "out")] == ["ok"]
    assert "nothing left to do" in predict(*again)[2].splitlines()[-1]


def results_in(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("obeyed_permissions")
def test_a_scan_without_permission_is_a_result_and_the_rest_go_on(predict, tiny, phantom, tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    code, out, _ = predict(tiny, tmp_path / "locked", phantom)
    assert code == 1
    assert sorted(json.loads(line)["status"] for line in out.splitlines()) == ["failed", "ok"]


@pytest.mark.usefixtures("obeyed_permissions")
def test_a_folder_without_write_permission(predict, tiny, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    errors_in_one_line(predict(tiny, tiny, "-o", tmp_path / "locked" / "out"), "cannot be written")


def test_a_disk_without_room_for_an_overlay_keeps_what_was_finished(
    predict, tiny, phantom, tmp_path
):
    (tmp_path / "note.txt").write_text("no scan")
    with small_disk(tmp_path / "disk", 2**17) as disk:
        out = disk.folder / "out"
        assert predict(tiny, tmp_path / "note.txt", "-o", out)[0] == 1
        outcome = predict(tiny, tmp_path / "note.txt", phantom, "-o", out, "--cam", "--resume")
        errors_in_one_line(outcome, ".png: cannot be written (No space left on device); ")
        assert [r["status"] for r in results_in(out)] == ["failed"]
        assert not list(out.glob("*.png"))


def run_on(cpu: dict[str, str], *words: object) -> tuple[int, list[dict[str, object]], str]:
    done = subprocess.run(
        [COMMAND, "predict", *map(str, words)],
        env={**os.environ, **cpu}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def bf16_bundle(tiny):
    """Return a bundle as a CPU with bfloat16 makes it."""
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    bf16 = {"name": "openvino-bf16", "precision": "bf16", "effective_precision": "bf16"}
    change_manifest(tiny, artifacts=[{**artifacts[0], **bf16}, *artifacts], default=bf16["name"])
    return tiny


def test_another_engine_takes_over_where_the_cpu_lacks_bfloat16(bf16_bundle, phantom, tmp_path):
    warning = (
        "engine openvino-fp32 instead of the default openvino-bf16: this CPU runs it in fp32, "
        "which was not checked"
    )
    words = (bf16_bundle, phantom, "--json", "-o", tmp_path / "out")
    code, (result,), err = run_on(AVX2, *words)
    assert code == 0, err
    assert f"warning: {warning}" in err.splitlines()
    assert (result["artifact"], result["precision"]) == ("openvino-fp32", "fp32")
    assert result["warnings"][0] == {"code": "engine-stand-in", "text": warning}
    code, results, _ = run_on(AVX2, *words, "--resume")
    assert (code, results) == (0, []), "finished, by the engine that took over"

    code, results, err = run_on(AVX2, bf16_bundle, phantom, "--artifact", "openvino-bf16")
    assert (code, results) == (2, [])
    assert "was checked in bf16 but this machine runs it in fp32" in err.splitlines()[-1]


@pytest.mark.skipif("avx512f" not in cpu().features, reason="needs AVX-512 to be without its BF16")
def test_an_emulated_precision_is_used_only_by_name(bf16_bundle, phantom):
    code, (result,), _ = run_on(AVX512, bf16_bundle, phantom)
    assert (code, result["artifact"]) == (0, "openvino-fp32")
    assert codes(result)[0] == "engine-stand-in"
    code, (result,), _ = run_on(AVX512, bf16_bundle, phantom, "--artifact", "openvino-bf16")
    assert (code, result["artifact"], result["precision"]) == (0, "openvino-bf16", "bf16")
    assert codes(result) == ["precision-emulated"]


def test_a_scan_in_an_archive_is_classified_alike(predict, tiny, phantom, tmp_path):
    archive = Path(
        shutil.make_archive(str(tmp_path / "study"), "zip", phantom.parent, phantom.name)
    )
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    code, out, err = predict(tiny, tmp_path)
    assert code == 0, err
    packed = json.loads(out)
    assert packed["scan"] == f"{archive.name}/{phantom.name}"
    assert packed["probabilities"] == json.loads(predict(tiny, phantom)[1])["probabilities"]
    assert any("1 PDF" in line for line in err.splitlines())
    for words in ([phantom, tmp_path], [archive / phantom.name]):  # a copy gives no result more
        code, out, err = predict(tiny, *words)
        assert (code, json.loads(out)["key"]) == (0, packed["key"]), err
