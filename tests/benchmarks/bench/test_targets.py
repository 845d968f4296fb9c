import math

import pytest

from benchmarks.bench.targets import Target, agrees, judged


@pytest.mark.parametrize(
    ("target", "result"),
    [
        (Target("a", 2.0, 2.0), "| a | 2 | ≤ 2 | reached |"),
        (Target("a", 2.1, 2.0, unit=" s"), "| a | 2.1 s | ≤ 2 s | **missed** |"),
        (Target("a", 1234.4, 700, at_least=True), "| a | 1234 | ≥ 700 | reached |"),
        (Target("a", math.nan, 1, at_least=True), "| a | nothing | ≥ 1 | **missed** |"),
        (agrees("a", 0.979, 0.02), "| a: differs by | 2.1 % | ≤ 2 % | **missed** |"),
        (agrees("a", 1.019, 0.02), "| a: differs by | 1.9 % | ≤ 2 % | reached |"),
    ],
)
def test_a_target_is_judged(target, result, capsys):
    assert judged([target]) == ("reached" in result)
    assert result in capsys.readouterr().out
