"""A series sent to the real service, over a DICOM association on loopback."""

import pydicom
import pytest

from darnet_trt.errors import ScanError, UnreadableScanError, UsageError
from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.synthesis import synthesize_scan
from darnet_trt.runtime.bench.scenarios.burst import Burst, read_series
from darnet_trt.runtime.bench.subject import Trace
from darnet_trt.runtime.serving.settings import DicomSettings, Settings
from tests.tiny_bundle import write_bundle

QUICK = {"quiet_s": 2.0, "shortest_quiet_s": 1.0, "least_free": 0, "workers": 1}


@pytest.fixture
def series(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    scan = synthesize_scan("covid-19", 5, matrix=64, slices=(30, 30))
    write_dicom(scan, folder, "P0001", 0, "burst")
    return folder


@pytest.fixture
def settings(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    return Settings(bundle, tmp_path / "state", dicom=DicomSettings(port=0), **QUICK)


def test_each_replay_is_a_study_of_its_own_with_a_result(series, settings):
    trace = Trace("service")
    with Burst(settings, series, read_series(series), slices_per_s=300) as burst:
        for turn in range(2):
            trace.queries.append(burst.replay(turn))
        result = burst.result(trace)

    assert result.slices == 30
    assert (result.quiet_s, result.shortest_quiet_s) == (2.0, 1.0)
    assert result.quiet_ms > 100
    assert result.behind_ms >= 0
    assert result.work_ms > 0
    for query in trace.queries:
        assert (query.started_ns - query.due_ns) / 1e9 > settings.shortest_quiet_s / 2
        assert query.started_ns <= query.done_ns
    first, second = trace.queries
    assert second.due_ns - first.done_ns >= 29 / 300 * 1e9  # it keeps the scanner's pace


def test_a_refused_series_says_why(series, settings):
    for file in sorted(series.iterdir())[3:]:
        file.unlink()

    with (
        Burst(settings, series, read_series(series)) as burst,
        pytest.raises(ScanError, match="refused"),
    ):
        burst.replay()


@pytest.mark.parametrize("content", [None, b"no DICOM", "two series"])
def test_what_is_no_series_is_refused(series, content):
    if content is None:
        for file in series.iterdir():
            file.unlink()
    elif content == "two series":
        file = next(series.iterdir())
        one = pydicom.dcmread(file)
        one.SeriesInstanceUID = "1.2.3"
        one.save_as(file)
    else:
        (series / "IM0001.dcm").write_bytes(content)

    with pytest.raises((UsageError, UnreadableScanError)) as caught:
        read_series(series)
    assert caught.value.where is not None
