"""The script that compares `bench`'s file to result with `predict`'s stage times."""

from benchmarks.bench.stages import compare, main
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine


def test_both_ways_are_compared_in_the_same_rounds(tiny, phantom_series):
    bundle = open_bundle(tiny)
    rows = compare(bundle, load_engine(bundle), phantom_series, rounds=3)
    assert [row.what.split(", ")[1] for row in rows] == ["file to result", "to the input"]
    for row in rows:
        assert len(row.ours) == len(row.theirs) == 3
        assert min(*row.ours, *row.theirs) > 0


def test_file_to_result_has_a_target(tiny, phantom_series, capsys):
    (target,) = main([str(tiny), str(phantom_series), "--rounds", "3"])
    assert "file to result" in target.what
    assert target.limit == 3
    assert "to the input" in capsys.readouterr().out
