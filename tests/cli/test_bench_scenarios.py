import csv
import importlib.util
import json
import tempfile
import time
from functools import partial

import pytest

from darnet_trt.runtime.bench import turns
from darnet_trt.runtime.bench.report.schema import BenchReport
from darnet_trt.runtime.bench.scenarios import engines, run
from darnet_trt.runtime.bench.scenarios.burst import Burst
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from darnet_trt.runtime.serving.settings import Settings
from tests.runtime.prediction.pipeline.studies import write_study


@pytest.fixture
def bench(command, monkeypatch, tiny):
    monkeypatch.setattr(turns, "TURN_MS", 20)
    return partial(command, "bench", tiny, "--scenario")


@pytest.fixture
def sleepy(monkeypatch):
    """Engines that take 5 ms at least."""
    infer = OpenVINORunner.infer

    def slowly(runner, batch):
        time.sleep(0.005)
        return infer(runner, batch)

    monkeypatch.setattr(OpenVINORunner, "infer", slowly)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def quick_service(monkeypatch):
    quick = {"quiet_s": 0.8, "shortest_quiet_s": 0.2, "least_free": 0, "workers": 1}
    monkeypatch.setattr(run, "Settings", partial(Settings, **quick))


def read(text):
    """The report, which its own schema reads."""
    report = json.loads(text)
    assert BenchReport.model_validate_json(text).model_dump(mode="json") == report
    return report


@pytest.mark.parametrize("scenario", ["multi-stream", "offline"])
def test_streams_take_turns(bench, sleepy, tmp_path, scenario):
    pytest.importorskip("matplotlib")
    words = ("--concurrency", "1,2", "--batch", "1,2", "--rounds", 3)
    code, out, _ = bench(scenario, *words, "-o", tmp_path / "out")
    assert code == 0
    report = read((tmp_path / "out" / "report.json").read_text())
    assert report["scenario"] == scenario
    one, _, two, both = report["configurations"]
    assert [c["streams"] for c in (one, two, both)] == [1, 2, 2]
    assert two["name"] == "openvino-fp32 2 streams batch 1"
    assert both["batch"] == (4 if scenario == "multi-stream" else 2)
    assert (one["ratio"], one["arrivals"]) == (None, None)
    assert two["ratio"]["value"] > 0
    assert one["scans_per_s"]["value"] <= 200
    assert {c["turns"] for c in report["configurations"]} == {3}
    with (tmp_path / "out" / "samples.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == "measured"]
    assert len(rows) == sum(len(c["latency"]["samples_ms"]) for c in report["configurations"])
    assert (tmp_path / "out" / "throughput.svg").stat().st_size > 1000
    assert "scans per s" in out
    assert "in turns" in (tmp_path / "out" / "report.md").read_text()


def test_multi_stream_has_two_streams_if_not_told_otherwise(bench):
    code, out, _ = bench("multi-stream", "--rounds", 1, "--json")
    assert code == 0
    assert [c["streams"] for c in read(out)["configurations"]] == [2]


def test_each_stream_has_its_share_of_the_threads(bench, monkeypatch):
    asked = []
    load = engines.load_engine

    def noted(bundle, artifact, *, threads):
        asked.append(threads)
        return load(bundle, artifact, threads=threads)

    monkeypatch.setattr(engines, "load_engine", noted)
    code, _, err = bench("offline", "--rounds", 1, "--concurrency", "1,2,4", "--threads", 3)
    assert code == 0
    assert asked == [3, 2, 1, 1, 1, 1, 1]
    assert "4 streams share 3 CPU threads" in err


def test_a_rate_of_random_arrivals(bench, sleepy):
    words = ("--rate", 40, "--seconds", 1, "--concurrency", "1,2")
    code, out, _ = bench("server", *words, "--json")
    assert code == 0
    report = read(out)
    for one, streams in zip(report["configurations"], (1, 2), strict=True):
        assert one["streams"] == streams
        assert one["arrivals"]["rate_per_s"] == 40
        assert one["arrivals"]["load"] >= 0.2 / streams
        assert (one["scans_per_s"], one["ratio"]) == (None, None)
        assert min(one["latency"]["samples_ms"]) >= 5


def test_streams_that_cannot_keep_up_are_overloaded(bench, sleepy):
    code, out, _ = bench("server", "--rate", 1000, "--seconds", 2)
    assert code == 0
    assert "OVERLOADED" in out


def test_a_short_search_says_before_and_after_that_it_is_not_sure(bench, sleepy, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--limit-ms", 200, "--seconds", 2, "-o", tmp_path / "out")
    code, out, err = bench("server", *words)
    assert code == 0
    (line,) = (line for line in err.splitlines() if line.startswith("warning: "))
    assert "to be sure of p99 takes 528 queries" in line
    assert "or --percentile 90" in line
    (one,) = read((tmp_path / "out" / "report.json").read_text())["configurations"]
    assert one["arrivals"]["limit"] == {"latency_ms": 200, "percent": 99}
    assert one["arrivals"]["at_least_per_s"] is None
    assert one["arrivals"]["trials"]
    assert "not sure" in out
    assert "rates tried" in (tmp_path / "out" / "report.md").read_text()


def test_a_limit_that_no_rate_meets(bench, sleepy, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--limit-ms", 1, "--percentile", 90, "--seconds", 1, "-o", tmp_path / "out")
    code, out, _ = bench("server", *words)
    assert code == 0
    assert "none met it" in out
    (one,) = read((tmp_path / "out" / "report.json").read_text())["configurations"]
    assert (one["latency"], one["arrivals"]["rate_per_s"]) == (None, None)


def test_from_files_to_result_side_by_side(bench, phantom_series):
    words = ("--scan", phantom_series, "--concurrency", 2, "--rounds", 1, "--json")
    code, out, _ = bench("multi-stream", *words)
    assert code == 0
    report = read(out)
    (one,) = report["configurations"]
    assert (one["way"], one["streams"], one["batch"]) == ("file-to-result", 2, 2)
    assert one["name"] == "openvino-fp32 2 streams from file"
    assert report["scan"] == str(phantom_series)


def test_a_scenario_takes_one_scan(bench, phantom_series, tmp_path):
    for number in (1, 2):
        write_study(phantom_series, tmp_path / f"{number}", number)
    code, _, err = bench("offline", "--scan", tmp_path, "--rounds", 1)
    assert code == 2
    assert "holds 2 scans" in err


def test_a_scanner_s_burst(bench, phantom_series, quick_service, temporary):
    code, out, _ = bench("burst", "--scan", phantom_series, "--seconds", 0.1, "--json")
    assert code == 0
    (one,) = read(out)["configurations"]
    found = one["arrivals"]
    assert one["way"] == "file-to-result"
    assert found["slices"] == len([*phantom_series.iterdir()])
    assert found["quiet_ms"] > 100
    parts_ms = found["behind_ms"] + found["quiet_ms"] + found["work_ms"]
    assert parts_ms == pytest.approx(one["latency"]["samples_ms"][0], abs=0.01)
    assert not [*temporary.glob("darnet-trt-bench-*")]


def ends(ask):
    """Ask for a short time, and press Ctrl-C."""

    def short(*words, **options):
        ask(*words, **options | {"seconds": 0.3})
        raise KeyboardInterrupt

    return short


@pytest.mark.parametrize("case", ["offline", "rate", "limit", "burst"])
def test_ctrl_c_keeps_what_was_measured(
    bench, tmp_path, monkeypatch, phantom_series, quick_service, temporary, sleepy, case
):
    pytest.importorskip("matplotlib")
    words = ("server", "--rate", 100)
    if case == "offline":
        asked, words = turns._queries, ("offline", "--concurrency", 2)

        def interrupted(subject, turn, least_ms):
            if turn == 1:
                raise KeyboardInterrupt
            return asked(subject, turn, least_ms)

        monkeypatch.setattr(turns, "_queries", interrupted)
    elif case == "rate":
        monkeypatch.setattr(run, "server", ends(run.server))
    elif case == "limit":
        words = ("server", "--limit-ms", 200)
        monkeypatch.setattr(run, "search", ends(run.search))
    else:
        replay, words = Burst.replay, ("burst", "--scan", phantom_series)

        def second(burst, turn):
            if turn:
                raise KeyboardInterrupt
            return replay(burst, turn)

        monkeypatch.setattr(Burst, "replay", second)
    code, out, err = bench(*words, "-o", tmp_path / "out")
    assert code == 130
    assert err.splitlines()[-1] == "darnet-trt: interrupted"
    report = read((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    (one,) = report["configurations"]
    assert (one["arrivals"] is None) == (case == "offline")
    assert one["turns"] == 1
    assert "INTERRUPTED" in out
    assert not [*temporary.glob("darnet-trt-bench-*")]


def test_an_interruption_before_the_second_configuration(bench, monkeypatch):
    monkeypatch.setattr(run, "server", ends(run.server))
    words = ("--rate", 100, "--concurrency", "1,2", "--json")
    code, out, _ = bench("server", *words)
    assert code == 130
    first, second = read(out)["configurations"]
    assert first["latency"]["samples_ms"]
    assert (second["latency"], second["arrivals"], second["warm_up"]) == (None, None, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("offline", "--rate", 5), "--rate: does not go with --scenario offline"),
        (("single-stream", "--concurrency", 2), "--concurrency: does not go with"),
        (("single-stream", "--limit-ms", 2), "take --scenario server"),
        (("multi-stream", "--against", "torch"), "--against: does not go with"),
        (("offline", "--layers"), "--layers: does not go with"),
        (("offline", "--baseline", "before"), "--baseline: does not go with"),
        (("server", "--rate", 5, "--rounds", 3), "--rounds: does not go with"),
        (("server", "--rate", 5, "--batch", 2), "--batch: does not go with"),
        (("server", "--rate", 5, "--limit-ms", 9), "--rate: cannot go with --limit-ms"),
        (("server",), "--scenario server: needs --rate or --limit-ms"),
        (("server", "--rate", 5, "--percentile", 90), "--percentile: needs --limit-ms"),
        (("server", "--rate", 0), "--rate"),
        (("server", "--rate", "nan"), "--rate"),
        (("server", "--limit-ms", "nan"), "--limit-ms"),
        (("burst",), "--scenario burst: needs --scan"),
        (("burst", "--scan", "SERIES", "--concurrency", 2), "--concurrency: does not go with"),
        (("burst", "--scan", "nowhere"), "nowhere"),
        (("offline", "--scan", "SERIES", "--batch", 2), "--batch: cannot go with --scan"),
        (
            ("offline", "--concurrency", "1,x"),
            "--concurrency: '1,x' is no list of numbers from 1 to 999999",
        ),
        (
            ("offline", "--concurrency", 0),
            "--concurrency: '0' is no list of numbers from 1 to 999999",
        ),
        (("quickly",), "quickly"),
    ],
)
def test_what_a_scenario_cannot_use_is_refused_first(
    bench, monkeypatch, phantom_series, words, said
):
    def load(*_, **options):
        raise AssertionError("an engine was loaded")

    monkeypatch.setattr(engines, "load_engine", load)
    words = [phantom_series if word == "SERIES" else word for word in words]
    code, out, err = bench(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_engines_that_memory_has_no_room_for(bench, monkeypatch):
    monkeypatch.setattr(engines, "free_memory", lambda: 1000)
    code, out, err = bench("offline", "--concurrency", "1,2")
    assert (code, out) == (2, "")
    assert err.startswith("darnet-trt: --concurrency: 3 engines take some ")
    assert err.count("\n") == 1


def test_a_burst_needs_the_extra_of_the_service(bench, phantom_series, monkeypatch):
    find = importlib.util.find_spec
    absent = "pynetdicom"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *of: None if name == absent else find(name, *of)
    )
    code, out, err = bench("burst", "--scan", phantom_series)
    assert (code, out) == (2, "")
    assert "darnet-trt[serve]" in err
