"""The script that compares `bench`'s file to result with `predict`'s stage times."""

import pytest

from benchmarks.bench.stages import Row, compare, main
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine


def test_both_ways_are_compared_in_the_same_rounds(tiny, phantom_series):
    bundle = open_bundle(tiny)
    rows = compare(bundle, load_engine(bundle), phantom_series, rounds=3)
    assert [row.what.partition(", ")[2] for row in rows] == ["file to result", "to the input"]
    for row in rows:
        assert len(row.ours_ms) == len(row.stages_ms) == 3
        assert min(row.ours_ms + row.stages_ms) > 0


def test_the_ratio_is_that_of_bench_over_the_stages():
    row = Row("scan, file to result", [103.0, 206.0, 103.0], [100.0, 200.0, 100.0])
    assert row.ratio.value == pytest.approx(1.03)
    assert row.cells()[:3] == ["scan, file to result", "103.0", "100.0"]


def test_file_to_result_has_a_target(tiny, phantom_series, capsys):
    (target,) = main([str(tiny), str(phantom_series), "--rounds", "3"])
    assert target.what.endswith("file to result: differs by")
    assert target.limit == 3
    assert "to the input" in capsys.readouterr().out
