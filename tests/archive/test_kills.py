"""SIGKILL at any moment loses no result and makes none twice."""

import random
import time

import pytest

from tests.archive.runs import facts, finish, known, left_behind, start, wait_for, words
from tests.short import SHORT

KILLS = [
    pytest.param(3, 24, id="few"),
    pytest.param(*((6, 60) if SHORT else (20, 200)), id="many", marks=pytest.mark.slow),
]
WHOM = ("all", "worker", "parent")


@pytest.mark.parametrize(("kills", "studies"), KILLS)
def test_killed_runs_together_are_one_unbroken_run(archive, tiny_engine, tmp_path, kills, studies):
    place, expected = archive(studies)
    out, log = tmp_path / "out", tmp_path / "log"
    command = words(tiny_engine, place, out, "--resume", "--workers", 2)
    rng = random.Random(15)
    for number in range(kills):
        before = known(out)
        run = start(command, log)
        if rng.random() < 0.3:
            time.sleep(rng.random() * 1.5)  # anywhere in the start, too
        else:
            wait_for_more(studies // (2 * kills), before, run, out, rng)
        whom = WHOM[number % len(WHOM)]
        run.kill(whom, rng)
        if whom == "worker":
            wait_for_more(studies // (2 * kills), known(out), run, out, rng)
            run.kill("parent", rng)
        assert run.end() in (-9, 0, 1)  # it may have been done
        assert "Traceback" not in run.said
        assert known(out) >= before
    code, said = finish(command, log)
    assert code == 0, said[-4000:]
    assert facts(out) == expected
    assert left_behind(out) == set()


def wait_for_more(most, before, run, out, rng):
    """Wait for up to so many results more, and a moment."""
    goal = len(before) + rng.randrange(most + 1)
    wait_for(lambda: len(known(out)) > goal, run)
    time.sleep(rng.random() * 0.05)
