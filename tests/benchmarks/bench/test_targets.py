import math

import pytest

from benchmarks.bench.targets import Agreement, Target, compared, judged


@pytest.mark.parametrize(
    ("target", "result"),
    [
        (Target("a", 2.0, 2.0), "| a | 2 | ≤ 2 | reached |"),
        (Target("a", 2.1, 2.0, unit=" s"), "| a | 2.1 s | ≤ 2 s | **missed** |"),
        (Target("a", 1234.4, 700, at_least=True), "| a | 1234 | ≥ 700 | reached |"),
        (Target("a", math.nan, 1, at_least=True), "| a | nothing | ≥ 1 | **missed** |"),
    ],
)
def test_a_target_is_judged(target, result, capsys):
    assert judged([target]) == ("reached" in result)
    assert result in capsys.readouterr().out


def test_what_agrees_within_its_share_is_told_from_what_does_not(capsys):
    times = [10.0, 20.0, 40.0]
    rows = [
        Agreement(what, times, [ratio * one for one in times], within)
        for what, ratio, within in (("near", 1.019, 0.02), ("far", 0.979, 0.02), ("only", 2, None))
    ]
    assert [target.reached for target in compared("another", rows)] == [True, False]
    printed = capsys.readouterr().out
    assert "| median of the rounds | another | bench | bench / another |" in printed
    assert "| near | 20.000 | 20.380 | 1.019" in printed
    near, far, shown = rows
    assert near.targets()[0].found == pytest.approx(1.9)
    assert far.targets()[0].found == pytest.approx(2.1)
    assert shown.targets() == []


def test_where_a_tool_found_nothing_the_target_is_missed():
    (target,) = Agreement("rate", [math.nan], [100.0], 0.05).targets()
    assert not target.reached
    assert target.cells()[1] == "nothing"
