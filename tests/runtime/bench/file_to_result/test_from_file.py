"""A query lasts from the scan's files to its result; what the run does then is not timed."""

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import ScanError, UsageError
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.prediction.pipeline.pipeline import Pipeline
from tests.runtime.prediction.pipeline.studies import write_study


@pytest.fixture
def way(tiny):
    bundle = open_bundle(tiny)
    engine = load_engine(bundle)
    yield lambda scan: FromFile("from file", bundle, scan, engine)
    engine.runner.close()


def test_the_end_of_the_run_comes_after_the_query(way, phantom_series, monkeypatch):
    closed = []
    close = Pipeline.close
    monkeypatch.setattr(
        Pipeline, "close", lambda *given, **named: (closed.append(1), close(*given, **named))
    )
    subject = way(phantom_series).subject
    for count in (1, 2):
        subject.query()
        assert len(closed) == count - 1
        subject.after()
        assert len(closed) == count


def test_several_scans_are_refused(way, phantom_series, tmp_path):
    for number in (1, 2):
        write_study(phantom_series, tmp_path / f"{number}", number)
    subject = way(tmp_path).subject
    subject.query()
    with pytest.raises(UsageError, match=r"holds 2 scans, [12] among them; name one of them"):
        subject.after()


def test_a_scan_that_is_refused_ends_the_run(way, tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ScanError, match="no scan"):
        way(tmp_path).subject.query()
