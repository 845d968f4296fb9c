import json
import os
import signal
import threading
import time
from functools import partial

import pytest

from benchmarks.cpu.predict.archive import Template, phantom_slices, template
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.prediction.pipeline import loading
from darnet_trt.runtime.prediction.predict import predict as classify
from darnet_trt.scan import isolated
from tests.scan import deaths


@pytest.fixture(scope="module")
def study() -> Template:
    """Return one small study that can be written as many."""
    return template(phantom_slices(48, 20))


@pytest.fixture
def predict(command):
    return partial(command, "predict")


@pytest.mark.parametrize(
    ("way", "code", "says"),
    [
        (deaths.segv, "reading-crashed", "SIGSEGV"),
        (deaths.abort, "reading-crashed", "SIGABRT"),
        (deaths.leave, "reading-crashed", "code 0"),
        (deaths.kill, "reading-killed", "SIGKILL"),
        (deaths.hang, "reading-too-slow", "not done in 8 s"),
        (deaths.fill_memory, "out-of-memory", "memory"),
        (deaths.ask_for_too_much, "out-of-memory", "memory"),
        (deaths.blame_the_library, "out-of-memory", "memory"),
        (deaths.divide, "internal-error", "ZeroDivisionError in loading.py:"),
    ],
)
def test_what_ends_the_reading_costs_one_scan(
    predict, tiny, study, tmp_path, monkeypatch, way, code, says
):
    monkeypatch.setattr(loading, "load", partial(deaths.load_or, way.__name__))
    if way is deaths.hang:
        monkeypatch.setattr(isolated, "LONGEST_S", 8)  # with the start of a child
    for number, name in enumerate("abc"):
        study.write(tmp_path / "scans" / name, number)
    ended, out, err = predict(tiny, tmp_path / "scans")
    assert ended == 1, err
    one, two, three = sorted(map(json.loads, out.splitlines()), key=lambda r: r["scan"])
    assert (one["status"], two["status"], three["status"]) == ("ok", "failed", "ok")
    assert one["probabilities"] == three["probabilities"]
    assert two["code"] == code
    assert says in two["reason"]
    assert "\n" not in two["reason"]
    assert two["series"]["slices"] == one["series"]["slices"]
    assert sum(line.startswith("[") for line in err.splitlines()) == 3, "a line a scan"


def test_a_reader_killed_from_outside_costs_one_scan(tiny, study, tmp_path, monkeypatch):
    for number, name in enumerate("abc"):
        study.write(tmp_path / "scans" / name, number)
    hung = tmp_path / "pid"

    def kill():
        while not hung.exists():
            time.sleep(0.05)
        os.kill(int(hung.read_text()), signal.SIGKILL)

    monkeypatch.setattr(loading, "load", partial(deaths.load_when_killed_once, hung))
    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    found = {r.scan: r.code for r in classify(open_bundle(tiny), tmp_path / "scans")}
    killing.join(60)
    assert found == {"a": "", "b": "reading-killed", "c": ""}
