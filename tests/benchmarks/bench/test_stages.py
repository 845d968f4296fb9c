"""The script that compares `bench`'s file to result with `predict`'s stage times."""

from benchmarks.bench.stages import compare
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine


def test_both_ways_are_compared_in_the_same_rounds(tiny, phantom_series):
    bundle = open_bundle(tiny)
    rows = compare(bundle, load_engine(bundle), phantom_series, rounds=3)
    assert [row[0] for row in rows] == ["file to result", "to the input"]
    for _, ours, theirs, ratio, agrees in rows:
        assert float(ours) > 0
        assert float(theirs) > 0
        value = float(ratio.partition(" ")[0])
        assert (agrees == "yes") == (abs(value - 1) <= 0.03) or abs(abs(value - 1) - 0.03) < 0.001
