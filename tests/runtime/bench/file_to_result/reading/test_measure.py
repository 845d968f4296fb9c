"""Measuring a scan in a process that reads it."""

import pytest

from darnet_trt.errors import RefusedScanError
from darnet_trt.runtime.bench.file_to_result.reading.cache import drop_from_cache
from darnet_trt.runtime.bench.file_to_result.reading.cost import cost_so_far
from darnet_trt.runtime.bench.file_to_result.reading.measure import measure
from darnet_trt.scan import find_studies
from darnet_trt.scan.preprocessing import Preprocessing
from tests.scan.series_factory import chest, write_series
from tests.scan.written_scans import packed

SPEC = Preprocessing(size=(16, 32, 32))


def test_rounds_are_measured_after_a_warm_up_and_cold_ones_come_from_the_disk(tmp_path):
    write_series(tmp_path)
    found = measure(tmp_path, SPEC, rounds=6)
    assert len(found.warm.whole.samples_ms) == 6
    assert found.warm.whole.low_ms is not None
    assert (found.slices, found.decoded, found.files) == (24, 24, 24)
    assert found.peak_memory_mb is None or 20 < found.peak_memory_mb < 1000
    if found.cold is not None:
        assert len(found.cold.whole.samples_ms) == 3
        assert found.cold.whole.from_disk_mb > found.warm.whole.from_disk_mb


def test_a_refused_scan_is_an_error(tmp_path):
    write_series(tmp_path, chest(4))
    with pytest.raises(RefusedScanError):
        measure(tmp_path, SPEC, rounds=1)


def test_files_are_dropped_from_the_cache_in_archives_too(tmp_path):
    write_series(tmp_path / "scan")
    archive = packed(tmp_path / "scan", tmp_path / "scan.zip")
    for path in (tmp_path / "scan", archive):
        (study,) = find_studies(path)
        drop_from_cache(study)
        assert find_studies(path)[0].uid == study.uid


def test_costs_are_differences():
    before = cost_so_far()
    sum(range(10**5))
    cost = cost_so_far().minus(before)
    assert 0 < cost.ms < 10_000
    assert cost.cpu_ms > 0
    assert cost.plus(before).ms == pytest.approx(before.ms + cost.ms)
