"""`darnet-trt calibrate`: its files, its output and its errors."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import pytest

from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.decisions.margins import MARGINS
from darnet_trt.calibration.qdq import Range, quantize, quantized_tensors
from darnet_trt.calibration.search import search as int8
from darnet_trt.export.onnx.graph import build_graph
from darnet_trt.export.onnx.weights import folded
from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import read_cohort
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate") / "cohort"
    write_cohort(CohortPlan(scans=6, matrix=64, slices=(30, 30)), folder, processes=1)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate") / "run"
    save_checkpoint(trained_like(TINY), folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Of these tests alone: what one has run, the next one knows."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def calibrate(command, cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return partial(command, "calibrate")


def refused(outcome) -> str:
    code, out, err = outcome
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def test_no_report_among_the_files_of_a_cohort(calibrate, run, cohort):
    before = sorted(cohort.iterdir())
    assert f"{cohort}: is a cohort" in refused(calibrate(run, cohort, "-o", cohort))
    assert sorted(cohort.iterdir()) == before


def test_a_report_a_chart_and_the_ranges(calibrate, run, cohort, tmp_path):
    out = tmp_path / "calibration"
    code, stdout, err = calibrate(run, cohort, "-o", out, "--scans", 2, "--seconds", 0)
    assert code == 0, err
    assert stdout.strip() == str(out / "report.md")
    assert sorted(file.name for file in out.iterdir()) == [
        "calibration.json",
        "report.md",
        "sensitivity.svg",
    ]
    content = json.loads((out / "calibration.json").read_text())
    assert content["scans"] == 2
    assert len(content["ranges"]) == 28
    assert [e["layer"] for e in content["block_effects"]] == ["stem"]  # then the time was over
    assert content["effects"] == []
    memory, disk, *_ = err.splitlines()  # before a scan is read
    assert re.search(r"about \d+\.\d GB of mem", memory)
    assert re.search(r"up to \d+ MB in .* \d prep", disk)
    assert "8 of 9 not measured" in err
    assert "none of 20 layers measured" in err
    report = (out / "report.md").read_text()
    assert "(sensitivity.svg)" in report
    decisions = content["decisions"]
    assert decisions["scans"] == 2
    assert decisions["source"] in report
    assert decisions["accuracy"]["lower"] < 0
    for sentence in (*decisions["failures"], *decisions["reserves"], *decisions["notes"]):
        assert sentence in report
        assert sentence in err
    assert "nobody knows" in err.splitlines()[-1]


def test_where_all_are_on_the_test_side_nothing_is_drawn(calibrate, command, run, cohort, tmp_path):
    """As the run's split.csv says."""
    kept = shutil.copytree(run, tmp_path / "run")
    patients = {entry.patient for entry in read_cohort(cohort).entries}
    rows = "".join(f"x,{patient},normal,test\n" for patient in patients)
    (kept / "split.csv").write_text(f"scan,patient,label,side\n{rows}")
    said = f"6 of 6 scans, of {len(patients)} patients, are on the test side"
    assert said in refused(calibrate(kept, cohort, "-o", tmp_path / "out"))
    words = ("--target", "onnxruntime", "--calibration", cohort)
    assert said in refused(command("build", kept, "-o", tmp_path / "bundle", *words))
    assert not (tmp_path / "bundle").exists()


def test_a_report_of_int8_that_is_not_approved(calibrate, run, cohort, tmp_path, monkeypatch):
    strict = replace(MARGINS, mean_drift=-1)
    monkeypatch.setattr(int8, "decide", lambda *of, **more: decide(*of[:4], strict, **more))
    out = tmp_path / "calibration"
    code, _, err = calibrate(run, cohort, "-o", out, "--scans", 2, "--seconds", 1)
    assert code == 0, err
    headline, *rest = (out / "report.md").read_text().splitlines()
    assert "int8 not approved: no set of layers" in headline
    assert err.splitlines()[-1] == headline.removeprefix("# ")
    trials = json.loads((out / "calibration.json").read_text())["trials"]
    assert "0" in trials
    for spared, failures in trials.items():
        assert "at most -1 " in failures[-1]
        assert f"| {spared} | {'; '.join(failures)} |" in rest


def test_a_file_that_cannot_be_written_leaves_none(calibrate, run, cohort, tmp_path):
    out = tmp_path / "calibration"
    (out / "sensitivity.svg").mkdir(parents=True)
    line = refused(calibrate(run, cohort, "-o", out, "--scans", 2, "--seconds", 0))
    assert "sensitivity.svg: " in line
    assert [file.name for file in out.iterdir()] == ["sensitivity.svg"]


def test_a_file_that_is_not_a_graph_of_export_is_refused(calibrate, cohort, tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    line = refused(calibrate(tmp_path / "text.onnx", cohort, "-o", tmp_path / "out"))
    assert "text.onnx: " in line
    assert "darnet-trt export" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("precision", "said"), [("fp16", "fp16"), ("int8", "quantized")])
def test_a_graph_that_is_not_float32_is_refused_before_a_scan_is_read(
    calibrate, tmp_path, precision, said
):
    graph = build_graph(
        TINY,
        folded(trained_like(TINY).model()),
        "fp16" if precision == "fp16" else "fp32",
        {
            "network": TINY.model_dump_json(),
            "precision": precision,
            "preprocessing": Preprocessing(size=(16, 32, 32)).model_dump_json(),
        },
    )
    if precision == "int8":
        ranges = {t: Range(1.0, signed=True) for t in quantized_tensors(graph, ["stem.0"])}
        graph = quantize(graph, ranges, ["stem.0"], "u8")
    onnx.save(graph, tmp_path / "m.onnx")
    line = refused(calibrate(tmp_path / "m.onnx", tmp_path / "no_scans", "-o", tmp_path / "out"))
    assert re.search(rf"m\.onnx: .*{said}.*; give the float32", line)
    assert not (tmp_path / "out").exists()


def test_without_scans_nothing_is_written(calibrate, run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refused(
        calibrate(run, tmp_path / "empty", "-o", tmp_path / "out")
    )
    nowhere = calibrate(run, tmp_path / "nowhere", "-o", tmp_path / "out")
    assert str(tmp_path / "nowhere") in refused(nowhere)
    assert nowhere.stderr.count("\n") == 1  # before anything is announced
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(calibrate, run, cohort, tmp_path):
    (tmp_path / "out").write_text("mine")
    assert "out: is a file" in refused(calibrate(run, cohort, "-o", tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"
