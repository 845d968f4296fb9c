import json
from functools import partial

import pytest

from darnet_trt.runtime.bench import timing
from darnet_trt.runtime.engines.tensorrt import gpu, lane, plan
from tests.full_disk import files_up_to
from tests.runtime.engines.host_gpu import CALLS, HostDevice, HostGraph, tensorrt
from tests.runtime.engines.plan_bundle import NAME, put_plan


@pytest.fixture
def bench(command):
    return partial(command, "bench")


def test_the_default_engine_against_another_runtime(bench, tiny):
    code, out, _ = bench(tiny, "--against", "onnxruntime,openvino", "--rounds", 3, "--json")
    assert code == 0
    report = json.loads(out)
    names = [c["name"] for c in report["configurations"]]
    assert names == ["openvino-fp32", "onnxruntime", "openvino"]
    assert report["schema_version"] == 1
    assert report["configurations"][0]["speed"] == 1
    assert report["configurations"][0]["on_scan"] is None
    for configuration in report["configurations"]:
        assert len(configuration["engine"]["samples_ms"]) == 3
        assert configuration["engine"]["p90_ms"] is None
        assert configuration["precision"] == "fp32"
    assert report["environment"]["cpu"]["cores"] >= 1
    assert report["environment"]["load_1min"] >= 0
    assert 0 <= report["environment"]["steal_percent"] <= 100
    assert len(report["bundle_sha256"]) == 64


@pytest.mark.data
def test_a_scan_adds_file_to_result_start_up_and_memory(bench, tiny, data_dir, tmp_path):
    scan = data_dir / "chest-4mm-64px"
    held = bytearray(2**30)  # this process's memory is not the prediction's
    held[::4096] = b"1" * 2**18
    code, out, _ = bench(tiny, "--scan", scan, "--rounds", 10, "-o", tmp_path / "bench.json")
    assert code == 0
    report = json.loads((tmp_path / "bench.json").read_text())
    assert f"{report['pause_ms']} ms" in out
    assert ("×?" in out) == bool(report["busy"])
    assert all(reason in out for reason in report["busy"])
    (one,) = report["configurations"]
    one = one["on_scan"]
    assert one["file_to_result"]["p90_ms"] >= one["file_to_result"]["median_ms"]
    assert one["file_to_result"]["p99_ms"] is None
    assert set(one["stages_ms"]) == {"find", "read", "preprocess", "infer"}
    assert 50 < one["peak_memory_mb"] < 1000
    assert one["startup_ms"] > 0


def test_the_table_shows_no_percentile_of_too_few_samples(bench, tiny):
    code, out, err = bench(tiny, "--rounds", 1)
    assert code == 0
    (row,) = (line for line in out.splitlines() if line.startswith("openvino-fp32"))
    assert row.split()[3:5] == ["–", "–"]
    assert err.count("\n") == 1
    assert "openvino-fp32" in err


@pytest.mark.data
def test_a_refused_scan_or_several_scans_are_errors(bench, tiny, data_dir):
    code, _, err = bench(tiny, "--scan", data_dir / "head-tilted", "--rounds", 1)
    assert code == 2
    assert "tilted" in err.splitlines()[-1]
    code, _, err = bench(tiny, "--scan", data_dir, "--rounds", 1)
    assert code == 2
    assert "4 scans" in err.splitlines()[-1]


@pytest.fixture
def plan_on_the_host(tiny, monkeypatch):
    """The bundle, with a plan that a GPU runs which the host simulates."""
    monkeypatch.setattr(gpu, "CudaPythonDevice", HostDevice)
    monkeypatch.setattr(HostDevice, "open", 0)  # bench leaves it to the end of the process
    monkeypatch.setattr(lane, "CudaGraph", HostGraph)
    monkeypatch.setattr(plan, "import_tensorrt", lambda backend: tensorrt("1.7.1"))
    monkeypatch.setattr(timing, "WARM_UP_MS", 10)
    monkeypatch.setattr(timing, "GPU_TURN_MS", 50)
    CALLS.clear()
    return put_plan(tiny, (tiny / "model.onnx").read_bytes(), "1.7.1")


TWO = ("--artifact", NAME, "--artifact", "openvino-fp32", "--rounds", 3)


def test_a_plan_runs_many_times_a_turn_and_its_times_are_split(bench, plan_on_the_host, tmp_path):
    code, out, _ = bench(plan_on_the_host, *TWO, "-o", tmp_path / "bench.json")
    assert code == 0
    on_gpu, on_cpu = json.loads((tmp_path / "bench.json").read_text())["configurations"]
    split = on_gpu["on_gpu"]
    assert set(split) == {"to_gpu_ms", "compute_ms", "to_host_ms"}
    assert 0 < sum(split.values()) < on_gpu["engine"]["p90_ms"]
    assert len(on_gpu["engine"]["samples_ms"]) > 3
    assert on_gpu["provenance"]["cuda_graph"] == "captured"
    assert (len(on_cpu["engine"]["samples_ms"]), on_cpu["on_gpu"]) == (3, None)
    (row,) = (line.split() for line in out.splitlines() if line.endswith("captured"))
    assert row[0] == NAME
    assert len(row) == 5
    # A warm-up and what counts; the first run alone is no graph.
    assert CALLS.count("launch graph") > len(on_gpu["engine"]["samples_ms"])


def test_without_cuda_graphs(bench, plan_on_the_host):
    code, out, err = bench(plan_on_the_host, *TWO, "--no-cuda-graph", "--json")
    assert code == 0
    on_gpu, _ = json.loads(out)["configurations"]
    assert on_gpu["provenance"]["cuda_graph"].startswith("off")
    assert "launch graph" not in CALLS
    (line,) = (line for line in err.splitlines() if line.startswith("--no-cuda-graph"))
    assert "openvino-fp32" in line
    assert NAME not in line


def test_engines_on_the_cpu_alone_have_no_columns_of_a_gpu(bench, tiny):
    code, out, err = bench(tiny, "--rounds", 1, "--no-cuda-graph")
    assert code == 0
    assert "GPU" not in out
    assert "--no-cuda-graph" in err


def test_an_unknown_engine_to_compare_with(bench, tiny):
    code, _, err = bench(tiny, "--against", "tensorflow")
    assert code == 2
    assert "'tensorflow'" in err
    assert "torch-compile" in err


@pytest.mark.parametrize(("place", "wrong"), [("", ""), ("missing/report.json", "missing")])
def test_a_report_that_cannot_be_written_is_refused_first(bench, tiny, tmp_path, place, wrong):
    code, out, err = bench(tiny, "--rounds", 1, "-o", tmp_path / place)
    assert (code, out) == (2, "")
    assert err.startswith(f"darnet-trt: {tmp_path / wrong}: ")
    assert err.count("\n") == 1


def test_a_disk_without_room_leaves_no_half_report(bench, tiny, tmp_path):
    with files_up_to(1000):
        code, out, err = bench(tiny, "--rounds", 1, "-o", tmp_path / "report.json")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"darnet-trt: {tmp_path / 'report.json'}: ")
    assert "File too large" in err.splitlines()[-1]
    assert not list(tmp_path.glob("*report*"))
