"""A watch that a signal ends: at once, at any moment, with all that is finished."""

import json
import random
import signal
import time

import pytest

from tests.archive.runs import facts, finish, known, left_behind, start, wait_for, words
from tests.short import SHORT

pytestmark = pytest.mark.slow
STUDIES = 40 if SHORT else 100
MOMENTS = 3 if SHORT else 6


def watched(bundle, archive, out, *more):
    return words(bundle, archive, out, "--watch", "--settle", 0.5, "--resume", *more)


def ended(run, number):
    """End a run by a signal; return its exit code."""
    run.process.send_signal(number)
    return run.end()


def test_signals_lose_nothing(archive, tiny_engine, tmp_path):
    incoming, expected = archive(STUDIES)
    out, log = tmp_path / "out", tmp_path / "log"
    rng = random.Random(1)
    for number in [signal.SIGTERM, signal.SIGINT] * (MOMENTS // 2):
        run = start(watched(tiny_engine, incoming, out), log)
        wait_for(lambda run=run: "watching" in run.said, run)
        time.sleep(rng.uniform(0.5, 1.2))  # the studies come after the quiet time
        begun = time.monotonic()
        assert ended(run, number) == 0, run.said[-2000:]
        assert "Traceback" not in run.said
        print(f"{time.monotonic() - begun:.2f} s, {len(known(out))} studies")
    run = start(watched(tiny_engine, incoming, out), log)
    wait_for(lambda: known(out) == set(expected), run)
    assert ended(run, signal.SIGTERM) == 0
    assert facts(out) == expected
    assert left_behind(out) == set()
    assert finish(words(tiny_engine, incoming, out, "--resume"), log)[0] == 0
    lines = (out / "results.jsonl").read_bytes().splitlines()
    assert all(json.loads(line)["replaces"] is None for line in lines)
