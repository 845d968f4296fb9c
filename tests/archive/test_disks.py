"""A disk that fills, and a folder that goes and comes back, cost nothing that is not made up."""

import random
import shutil
import time

import pytest

from tests.archive.runs import facts, finish, known, left_behind, start, wait_for, words
from tests.full_disk import small_disk
from tests.short import SHORT

SIZES = [
    pytest.param(24, id="few"),
    pytest.param(60 if SHORT else 200, id="many", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("studies", SIZES)
def test_a_disk_that_fills_again_and_again(archive, tiny_engine, tmp_path, studies):
    place, expected = archive(studies)
    log = tmp_path / "log"
    with small_disk(tmp_path / "disk", 32_768) as disk:
        out = disk.folder / "out"
        command = words(tiny_engine, place, out, "--resume")
        codes, before = [], set()
        for size in (1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 22):
            code, said = finish(command, log)
            codes.append(code)
            if out.exists() and (out / "results.jsonl").exists():
                content = (out / "results.jsonl").read_bytes()
                assert content.endswith(b"\n") or not content, "a part of a line stayed behind"
            assert known(out) >= before, "a result was lost"
            before = known(out)
            if code == 0:
                break
            assert code == 2
            assert "No space left on device" in said.splitlines()[-1]
            disk.resize(size)
        assert codes[0] == 2
        assert codes[-1] == 0
        assert facts(out) == expected
        assert left_behind(out) == set()


@pytest.mark.parametrize("studies", SIZES)
def test_a_folder_that_goes_and_comes_back(archive, tiny_engine, tmp_path, studies):
    place, expected = archive(studies)
    moving = tmp_path / "archive"
    shutil.copytree(place, moving)
    out, log, gone = tmp_path / "out", tmp_path / "log", tmp_path / "elsewhere"
    command = words(tiny_engine, moving, out, "--resume")
    rng = random.Random(3)
    for part in (moving, moving / "000", next((moving / "000").iterdir())):
        goal = len(known(out)) + studies // 6
        run = start(command, log)
        wait_for(lambda goal=goal: len(known(out)) > goal, run)
        time.sleep(rng.random() * 0.05)
        part.rename(gone)
        code = run.end()
        gone.rename(part)
        assert "Traceback" not in run.said
        assert code in (0, 1), run.said[-4000:]
    code, said = finish(command, log)
    assert code == 0, said[-4000:]
    assert facts(out) == expected
    assert left_behind(out) == set()


def test_results_stay_while_their_scans_are_away(archive, tiny_engine, tmp_path):
    place, expected = archive(24)
    moving = tmp_path / "archive"
    shutil.copytree(place, moving)
    out, log = tmp_path / "out", tmp_path / "log"
    command = words(tiny_engine, moving, out, "--resume")
    assert finish(command, log)[0] == 0
    (moving / "000").rename(tmp_path / "elsewhere")
    assert finish(command, log)[0] in (0, 2)
    assert facts(out) == expected
    moving.rmdir()
    assert finish(command, log)[0] == 2
    assert facts(out) == expected
