"""A query lasts from the scan's files to its result; what the run does then is not timed."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import ScanError, UsageError
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.prediction.pipeline.pipeline import Pipeline
from tests.runtime.prediction.pipeline.studies import write_study


@pytest.fixture
def way(tiny):
    bundle, opened = open_bundle(tiny), []

    def make(scan):
        opened.append(load_engine(bundle))
        return FromFile("from file", bundle, scan, opened[-1])

    yield make
    for engine in opened:
        engine.runner.close()


@pytest.fixture
def closed(monkeypatch):
    """Tell of each run that ended whether its process was kept."""
    ends, close = [], Pipeline.close

    def closing(pipeline, *, keep_one=False):
        ends.append(keep_one)
        close(pipeline, keep_one=keep_one)

    monkeypatch.setattr(Pipeline, "close", closing)
    return ends


def test_the_end_of_the_run_comes_after_the_query(way, phantom_series, closed):
    subject = way(phantom_series).subject
    for count in (1, 2):
        subject.query()
        assert len(closed) == count - 1
        subject.after()
        assert closed == [True] * count


def test_a_whole_run_ends_with_its_query(way, phantom_series, closed):
    own = way(phantom_series)
    for count in (1, 2):
        own.whole_run()
        assert closed == [True] * count


def test_runs_side_by_side_keep_their_processes(way, phantom_series, monkeypatch):
    started, popen = [], subprocess.Popen
    ways = [way(phantom_series), way(phantom_series)]
    for own in ways:  # the first call of OpenVINO comes from one thread
        own.whole_run()
    both = threading.Barrier(2, timeout=60)

    def rounds(own):
        for _ in range(4):
            own.subject.query()
            both.wait()  # both have a process now
            own.subject.after()
            both.wait()

    def start(*given, **named):
        started.append(given)
        return popen(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", start)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(rounds, ways))
    assert len(started) == 1


def test_several_scans_are_refused(way, phantom_series, tmp_path):
    for number in (1, 2):
        write_study(phantom_series, tmp_path / f"{number}", number)
    own = way(tmp_path)
    own.subject.query()
    for end in (own.subject.after, own.whole_run):
        with pytest.raises(UsageError, match=r"holds 2 scans, ([12]) and (?!\1)[12] among them;"):
            end()


def test_a_scan_that_is_refused_ends_the_run(way, tmp_path, closed):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ScanError, match="no scan"):
        way(tmp_path).subject.query()
    assert closed == [True]
