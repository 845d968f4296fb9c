"""The script that compares `bench` with OpenVINO's own tool."""

from benchmarks.bench import benchmark_app
from benchmarks.bench.engine import engine


def test_both_measure_the_same_engine_of_a_bundle_in_turns(tiny):
    with engine(tiny, (16, 64, 64)) as loaded:
        assert loaded.name == "openvino-fp32"
        theirs, ours = benchmark_app.rounds_of(loaded, rounds=1, seconds=0.2)
    assert len(theirs) == len(ours) == 1
    assert min(theirs + ours) > 0


def test_the_short_form_prints_the_ratio_and_returns_its_target(capsys):
    (target,) = benchmark_app.main(["--short"])

    assert target.limit == 3
    assert "\n| one convolution, ms | " in capsys.readouterr().out
