"""The script that compares `bench` with OpenVINO's own tool."""

from benchmarks.bench import benchmark_app
from benchmarks.bench.engine import engine


def test_both_measure_the_same_engine_of_a_bundle_in_turns(tiny):
    with engine(tiny, (16, 64, 64)) as loaded:
        assert loaded.name == "openvino-fp32"
        theirs, ours = benchmark_app.rounds_of(loaded, rounds=1, seconds=0.2)
    assert len(theirs) == len(ours) == 1
    assert min(theirs + ours) > 0


def test_the_short_form_prints_the_ratio_and_its_target(capsys):
    (target,) = benchmark_app.main(["--short"])

    assert target.limit == 3
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| one convolution |")
    ratio = float(row.split("|")[4].split()[0])
    assert abs(100 * abs(ratio - 1) - target.found) < 0.051
