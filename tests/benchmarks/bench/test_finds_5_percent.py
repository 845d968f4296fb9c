"""How often `bench` must find a runner that is slower by 5 %."""

from collections import Counter

from benchmarks.bench.finds_5_percent import found_5_percent


def test_38_of_40_slower_runs_must_be_found_and_2_of_40_equal_ones_may_be_accused(capsys):
    said = {
        "slower": Counter({"above": 38, "not known": 2, "app": 40, "app above": 30}),
        "equal": Counter({"above": 2, "below": 38}),
    }
    assert all(target.reached for target in found_5_percent(said, 1))
    assert "| slower | 38 of 40 | 0 of 40 | 2 of 40 | 30 of 40 |" in capsys.readouterr().out

    said = {
        "slower": Counter({"above": 37, "below": 3}),
        "equal": Counter({"above": 3, "below": 37}),
    }
    assert not any(target.reached for target in found_5_percent(said, 1))
