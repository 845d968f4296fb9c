"""Damaged scans end in a code or in an input: the short form of `make fuzz`."""

import pytest

from tests.scan.fuzz import watched
from tests.scan.fuzz.mutations import mutated
from tests.scan.fuzz.run import ends
from tests.scan.fuzz.samples import make_samples
from tests.scan.fuzz.watched import Child

COUNT = 200


@pytest.mark.long
def test_damaged_scans(tmp_path):
    results = list(ends(range(COUNT), tmp_path))
    assert [(seed, damage, end.defect) for seed, damage, _, end in results if end.defect] == []
    codes = {code for _, _, _, end in results for code in end.codes.split()}
    assert "ok" in codes
    assert len(codes) > 5, "damage of many kinds"


def test_a_seed_always_gives_the_same_damage(tmp_path):
    one, other = (make_samples(tmp_path / name) for name in ("one", "other"))
    assert sorted(one) == sorted(other)
    for seed in range(30):
        assert mutated(one, seed) == mutated(one, seed)
        assert mutated(one, seed)[0] == mutated(other, seed)[0]


def test_the_watch_sees_crashes_hangs_and_memory(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("no scan")
    with Child() as child:
        assert child.read(tmp_path).defect == ""
        monkeypatch.setattr(watched, "MAX_BYTES", 1)
        assert child.read(tmp_path).defect.startswith("memory")
    with Child(("-c", "import os; input(); os.abort()")) as child:
        assert child.read(tmp_path).defect.startswith("crash: exit status -6")
    monkeypatch.setattr(watched, "MAX_S", 0.2)
    for waits in ("while True: pass", "import time; time.sleep(99)"):
        with Child(("-c", waits)) as child:
            assert child.read(tmp_path).defect.startswith("hang")
