"""How often `bench` must find an engine that is slower by 5 %."""

from benchmarks.bench.finds_5_percent import found_5_percent


def test_38_of_40_slower_runs_must_be_found_and_2_of_40_equal_ones_may_be_accused(capsys):
    said = {"slower": {"above": 38, "app above": 30}, "equal": {"above": 2, "below": 38}}
    assert all(target.reached for target in found_5_percent(said, 40))
    assert "| slower, 40 runs | 38 | 30 |" in capsys.readouterr().out

    said = {"slower": {"above": 37}, "equal": {"above": 3}}
    assert not any(target.reached for target in found_5_percent(said, 40))
