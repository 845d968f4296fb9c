import csv
import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from darnet_trt.errors import DeviceError
from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.file_to_result import cold_start
from darnet_trt.runtime.bench.regression import guard as regression
from darnet_trt.runtime.bench.regression.guard import Guard
from darnet_trt.runtime.bench.regression.yardstick import YARDSTICK
from darnet_trt.runtime.bench.report import files
from darnet_trt.runtime.bench.scenarios import batches
from darnet_trt.runtime.bench.statistics.ratios import Ratio
from darnet_trt.runtime.engines.tensorrt import gpu, lane, plan
from tests.full_disk import files_up_to
from tests.runtime.engines.host_gpu import CALLS, HostDevice, HostGraph, tensorrt
from tests.runtime.engines.plan_bundle import NAME, put_plan
from tests.tiny_bundle import write_bundle


@pytest.fixture
def bench(command, monkeypatch):
    monkeypatch.setattr(turns, "TURN_MS", 20)
    return partial(command, "bench")


def test_the_default_engine_against_another_runtime(bench, tiny):
    code, out, _ = bench(tiny, "--against", "onnxruntime,openvino", "--rounds", 3, "--json")
    assert code == 0
    report = json.loads(out)
    names = [c["name"] for c in report["configurations"]]
    assert names == ["openvino-fp32", "onnxruntime", "openvino"]
    assert report["schema_version"] == 4
    first, *others = report["configurations"]
    assert first["ratio"] is None
    for one in (first, *others):
        assert one["turns"] == 3
        assert one["latency"]["samples_ms"]
        assert one["way"] == "engine"
    for one in others:
        assert one["ratio"]["low"] <= one["ratio"]["value"] <= one["ratio"]["high"]
    own, other, chosen = report["engines"]
    assert own["precision"] == other["precision"] == "fp32"
    assert chosen["precision"] in ("fp32", "bf16", "fp16")  # OpenVINO's choice on this CPU
    assert report["answers"]["random"]
    assert report["answers"]["reference"] == "openvino-fp32"
    for engine in report["engines"]:
        assert engine["cold_start"] is None
        assert engine["fidelity"]["max_probability_difference"] < 0.05
        assert engine["fidelity"]["finite"]
    assert report["environment"]["cpu"]["cores"] >= 1
    assert report["environment"]["cpus_allowed"] >= 1
    assert report["environment"]["command"].startswith("darnet-trt bench ")
    assert report["conditions"]["duration_s"] > 0
    assert report["conditions"]["own_percent"] > 0
    assert len(report["bundle_sha256"]) == 64


def test_seconds_or_rounds(bench, tiny):
    code, out, err = bench(tiny, "--seconds", 1, "--json")
    assert code == 0
    assert "1 s" in err
    (one,) = json.loads(out)["configurations"]
    median, *_ = one["latency"]["quantiles"]
    assert median["percent"] == 50
    assert one["turns"] >= 3  # more where the machine has time
    code, _, err = bench(tiny, "--seconds", 1, "--rounds", 3)
    assert code == 2
    assert "--seconds" in err


@pytest.mark.data
def test_a_scan_adds_file_to_result_start_up_and_memory(
    bench, tiny, data_dir, tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(cold_start, "PROCESSES", 1)
    scan, folder = data_dir / "chest-4mm-64px", tmp_path / "out"
    held = bytearray(2**30)  # this process's memory is not the prediction's
    held[::4096] = b"1" * 2**18
    code, out, _ = bench(tiny, "--scan", scan, "--rounds", 10, "-o", folder)
    assert code == 0
    report = json.loads((folder / "report.json").read_text())
    assert (" ?" in out) == bool(report["doubts"])
    assert all(reason in out for reason in report["doubts"])
    engine, from_file = report["configurations"]
    assert (engine["way"], from_file["way"]) == ("engine", "file-to-result")
    assert from_file["ratio"]["value"] > 1
    assert set(from_file["stages_ms"]) == {"find", "read", "preprocess", "infer"}
    stages_ms = sum(from_file["stages_ms"].values())
    assert 0 < stages_ms < 1.5 * max(from_file["latency"]["samples_ms"])
    (loaded,) = report["engines"]
    cold = loaded["cold_start"]
    assert 50 < cold["peak_memory_mb"] < 1000
    assert 0 < cold["load_ms"] < cold["first_result_ms"]
    assert 0 < cold["first_inference_ms"] < cold["first_result_ms"]
    with (folder / "samples.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == "measured"]
    rows = [row for row in rows if row["configuration"] != YARDSTICK]
    assert len(rows) == sum(len(c["latency"]["samples_ms"]) for c in report["configurations"])
    reading = report["reading"]
    assert len(reading["warm"]["whole"]["samples_ms"]) == 10
    assert [one["name"] for one in reading["encodings"]] == reading["chosen"]
    shown = (folder / "report.md").read_text()
    assert "file to result" in shown
    assert "bound by " in shown
    assert "bound by " in out


def test_one_sample_is_shown_without_an_interval(bench, tiny, monkeypatch):
    monkeypatch.setattr(turns, "TURN_MS", 0)
    code, out, err = bench(tiny, "--rounds", 1)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.startswith("openvino-fp32 ")]
    assert rows[0][1] == "fp32"
    assert float(rows[0][2]) > 0
    assert rows[1] == ["openvino-fp32", "1", "needs", "29", "needs", "299"]
    assert "1 sample, an interval of the median takes 6" in out
    assert err.count("\n") == 1
    assert "openvino-fp32" in err


def test_batches(bench, tiny):
    code, out, _ = bench(tiny, "--batch", "1,2", "--rounds", 3)
    assert code == 0
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith("openvino-fp32 ")]
    assert rows[-2:] == [["openvino-fp32", "1"], ["openvino-fp32", "2"]]
    assert "time per scan / first's" in out


@pytest.mark.parametrize("wrong", ["1,x", "0", " ", "1,,2"])
def test_what_is_no_batch(bench, tiny, wrong):
    code, _, err = bench(tiny, "--batch", wrong)
    assert code == 2
    assert err.startswith("darnet-trt: --batch: ")


def test_a_batch_that_no_engine_takes_or_has_memory_for(bench, tiny, monkeypatch):
    code, _, err = bench(tiny, "--batch", "100000")
    assert code == 2
    assert "takes batches of 1 to 64" in err
    monkeypatch.setattr(batches, "free_memory", lambda: 0)
    code, out, err = bench(tiny, "--batch", "64")
    assert (code, out) == (2, "")
    assert "free" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("ends", "expected"),
    [(KeyboardInterrupt(), (130, "interrupted")), (DeviceError("the GPU is gone"), (2, "the GPU"))],
)
def test_what_ends_it_keeps_what_was_measured(
    bench, tiny, tmp_path, monkeypatch, as_json, ends, expected
):
    pytest.importorskip("matplotlib")
    asked = turns._queries

    def interrupted(subject, turn, least_ms):
        if turn == 2:
            raise ends
        return asked(subject, turn, least_ms)

    monkeypatch.setattr(turns, "_queries", interrupted)
    code, out, err = bench(tiny, "-o", tmp_path / "out", *["--json"] * as_json)
    assert code == expected[0]
    assert err.splitlines()[-1].startswith(f"darnet-trt: {expected[1]}")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    assert report["configurations"][0]["turns"] == 2
    assert json.loads(out) == report if as_json else "INTERRUPTED" in out


@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_does_not_keep_the_report_from_being_written(
    bench, tiny, tmp_path, monkeypatch, early
):
    pytest.importorskip("matplotlib")
    asked, write = turns._queries, files.write

    def interrupted(subject, turn, least_ms):
        if early and turn == 2:
            signal.raise_signal(signal.SIGINT)
        return asked(subject, turn, least_ms)

    def interrupted_again(*given):
        signal.raise_signal(signal.SIGINT)
        write(*given)

    monkeypatch.setattr(turns, "_queries", interrupted)
    monkeypatch.setattr(files, "write", interrupted_again)
    before = signal.getsignal(signal.SIGINT)
    code, out, err = bench(tiny, "-o", tmp_path / "out", "--rounds", 3)
    last = "darnet-trt: interrupted" if early else f"the report is in {tmp_path / 'out'}"
    assert (code, err.splitlines()[-1]) == (130 if early else 0, last)
    assert ("INTERRUPTED" in out) == early
    assert json.loads((tmp_path / "out" / "report.json").read_text())["interrupted"] == early
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("name", ["report.json", "report.md", "samples.csv", "latency.png"])
def test_a_file_of_the_user_is_not_replaced(bench, tiny, tmp_path, name):
    (tmp_path / name).write_text("mine")
    code, out, err = bench(tiny, "-o", tmp_path, "--rounds", 1)
    assert (code, out) == (2, "")
    assert err == f"darnet-trt: {tmp_path}: holds {name} already; choose another folder\n"
    assert (tmp_path / name).read_text() == "mine"


def test_a_scan_that_is_not_there_is_named_before_anything_is_measured(bench, tiny):
    code, out, err = bench(tiny, "--scan", "nowhere", "--rounds", 1)
    assert (code, out) == (2, "")
    assert err == "darnet-trt: --scan nowhere: no such file or folder; check the path\n"


@pytest.mark.parametrize(
    "words",
    [("--threads", 10**11), ("--threads", 10**20), ("--threads", 0),
     ("--baseline", "b", "--fail-above", "inf"), ("--baseline", "b", "--fail-above", "nan")],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_refused(bench, tiny, words):
    code, out, err = bench(tiny, *words)
    assert (code, out) == (2, "")
    assert words[-2] in err
    assert err.count("\n") == 1


def test_an_ascii_stdout_gets_lines_and_tables_in_their_order(tiny):
    words = (sys.executable, "-m", "darnet_trt", "bench", tiny, "--rounds", "1", "-q")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    printed = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    found = [printed.index(text) for text in ("in turns", "median ms", "slow queries", "give")]
    assert found == sorted(found)


def test_ctrl_c_while_warming_up_leaves_nothing(bench, tiny, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(turns, "_queries", interrupted)
    code, out, _ = bench(tiny, "-o", tmp_path / "out")
    assert (code, out) == (130, "")
    assert not (tmp_path / "out").exists()


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
    monkeypatch.setattr(turns, "GPU_WARM_UP_MS", 10)
    CALLS.clear()
    return put_plan(tiny, (tiny / "model.onnx").read_bytes(), "1.7.1")


TWO = ("--artifact", NAME, "--artifact", "openvino-fp32", "--rounds", 3)


def test_a_plan_runs_many_times_a_turn_and_its_times_are_split(bench, plan_on_the_host):
    code, out, _ = bench(plan_on_the_host, *TWO, "--json")
    assert code == 0
    report = json.loads(out)
    (on_gpu, _), (plan, on_cpu) = report["configurations"], report["engines"]
    split = plan["on_gpu"]
    assert set(split) == {"to_gpu_ms", "compute_ms", "to_host_ms"}
    assert 0 < sum(split.values()) < max(on_gpu["latency"]["samples_ms"])
    assert len(on_gpu["latency"]["samples_ms"]) > 3
    assert plan["provenance"]["cuda_graph"] == "captured"
    assert on_cpu["on_gpu"] is None
    # A warm-up and what counts; the first run alone is no graph.
    assert CALLS.count("launch graph") > len(on_gpu["latency"]["samples_ms"])


def test_the_gpus_part_has_a_table(bench, plan_on_the_host):
    code, out, _ = bench(plan_on_the_host, *TWO)
    assert code == 0
    (row,) = (line.split() for line in out.splitlines() if line.endswith("captured"))
    assert row[0] == NAME
    assert len(row) == 5


def test_without_cuda_graphs(bench, plan_on_the_host):
    code, out, err = bench(plan_on_the_host, *TWO, "--no-cuda-graph", "--json")
    assert code == 0
    on_gpu, _ = json.loads(out)["engines"]
    assert on_gpu["provenance"]["cuda_graph"].startswith("off")
    assert "launch graph" not in CALLS
    (line,) = (line for line in err.splitlines() if line.startswith("--no-cuda-graph"))
    assert "openvino-fp32" in line
    assert NAME not in line


def test_nor_in_another_bundle(bench, plan_on_the_host, tmp_path):
    peer = f"{plan_on_the_host}:{NAME}"
    other = write_bundle(tmp_path / "other")
    code, out, _ = bench(other, "--against", peer, "--rounds", 1, "--no-cuda-graph", "--json")
    assert code == 0
    _, on_gpu = json.loads(out)["engines"]
    assert on_gpu["provenance"]["cuda_graph"].startswith("off")
    assert on_gpu["on_gpu"]["compute_ms"] > 0
    assert "launch graph" not in CALLS


def test_engines_on_the_cpu_alone_have_no_columns_of_a_gpu(bench, tiny):
    code, out, err = bench(tiny, "--rounds", 1, "--no-cuda-graph")
    assert code == 0
    assert "GPU" not in out
    assert "per scan" not in out
    assert "--no-cuda-graph" in err


def test_an_unknown_engine_to_compare_with(bench, tiny):
    code, _, err = bench(tiny, "--against", "tensorflow")
    assert code == 2
    assert "'tensorflow'" in err
    assert "torch-compile" in err


def test_a_peer_that_cannot_run_is_left_out_and_the_others_run(bench, tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    code, out, err = bench(tiny, "--against", "torch,onnxruntime", "--rounds", 1)
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("torch left out: "))
    assert "pip install 'darnet-trt[train]'" in line
    assert line in out
    assert "random numbers" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("onnxruntime "))
    flips, probability, logits = row[-3:]
    assert flips == "0"
    assert float(probability) < 1e-4
    assert float(logits) < 1e-4


def test_another_bundle_is_a_peer(bench, tiny, tmp_path):
    pytest.importorskip("matplotlib")
    other = write_bundle(tmp_path / "other", bias=5.0)
    peer = f"{other}:onnxruntime-fp32"
    code, out, _ = bench(tiny, "--against", peer, "--rounds", 1, "--json", "-o", tmp_path / "out")
    assert code == 0
    own, changed = json.loads(out)["engines"]
    assert changed["name"] == "other:onnxruntime-fp32"
    assert own["fidelity"]["max_probability_difference"] == 0
    assert changed["fidelity"]["max_probability_difference"] > 0.5
    assert (tmp_path / "out" / "pareto.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("name", "said"), [("a-file", "expected a folder"), ("report.json", "--json > FILE")]
)
def test_a_folder_that_cannot_be_written_is_refused_first(bench, tiny, tmp_path, name, said):
    pytest.importorskip("matplotlib")
    (tmp_path / "a-file").touch()
    code, out, err = bench(tiny, "--rounds", 1, "-o", tmp_path / name)
    assert (code, out) == (2, "")
    assert err.startswith(f"darnet-trt: {tmp_path / name}: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_report_is_not_replaced_and_a_bundle_not_written_into(bench, tiny, tmp_path):
    (tmp_path / "report.json").touch()
    code, _, err = bench(tiny, "--rounds", 1, "-o", tmp_path)
    assert code == 2
    assert "report.json" in err
    code, _, err = bench(tiny, "--rounds", 1, "-o", tiny)
    assert code == 2
    assert "is a bundle" in err


def test_a_disk_without_room_leaves_no_half_report_and_the_table_is_printed(bench, tiny, tmp_path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "out"
    with files_up_to(1000):
        code, out, err = bench(tiny, "--rounds", 1, "-o", folder)
    assert code == 2
    assert "openvino-fp32" in out
    assert err.splitlines()[-1].startswith(f"darnet-trt: {folder / 'report.json'}: ")
    assert "File too large" in err.splitlines()[-1]
    assert not folder.exists()


def test_without_matplotlib_a_folder_is_refused_first(bench, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = bench(tiny, "--rounds", 1, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "darnet-trt[plots]" in err
    assert bench(tiny, "--rounds", 1, "--json").returncode == 0


@pytest.mark.parametrize(
    ("verdict", "code", "says"),
    [
        ("below", 0, "1.07 (1.05 to 1.09), limit 1.1: not slower"),
        ("above", 1, "1.07 (1.05 to 1.09), limit 1.1: slower"),
        (None, 2, "1.07 (1.05 to 1.09), limit 1.1: not decided in this time"),
    ],
)
def test_a_baseline_decides_the_exit_code(bench, tiny, tmp_path, monkeypatch, verdict, code, says):
    def look(guard, traces, passed):  # on a busy machine a tiny engine's times say nothing
        guard.verdict, guard.ratio = verdict, Ratio(1.07, 0.01, 50, 50)
        guard.interval = guard.ratio.interval()
        return True

    assert bench(tiny, "--rounds", 1, "-o", tmp_path / "before")[0] == 0
    monkeypatch.setattr(regression, "NEEDED", 1)
    monkeypatch.setattr(Guard, "look", look)
    words = ("--baseline", tmp_path / "before", "--fail-above", 1.1)
    found, out, err = bench(tiny, "--rounds", 1, *words)
    assert found == code
    assert says in out
    assert (says in err.splitlines()[-1]) == bool(code)


def test_a_baseline_with_too_few_queries_is_refused(bench, tiny, tmp_path, monkeypatch):
    assert bench(tiny, "--rounds", 1, "-o", tmp_path / "before")[0] == 0
    monkeypatch.setattr(regression, "NEEDED", 10**9)
    code, out, err = bench(tiny, "--rounds", 1, "--baseline", tmp_path / "before")
    assert (code, out) == (2, "")
    assert "--baseline: has too few queries: they are worth " in err


def test_a_limit_needs_a_baseline(bench, tiny):
    code, _, err = bench(tiny, "--fail-above", 1.1)
    assert (code, "--baseline" in err) == (2, True)
