"""What a run finds in its output folder: another run, half a line, or what is no result of ours."""

import json
import shutil
import signal

import pytest

from tests.archive.runs import facts, finish, known, left_behind, start, wait_for, words


@pytest.fixture(scope="module")
def finished(archive, tiny_engine, tmp_path_factory):
    """An output folder that an unbroken run left, its archive, and what stands in it."""
    place, expected = archive(24)
    home = tmp_path_factory.mktemp("finished")
    assert finish(words(tiny_engine, place, home / "out"), home / "log")[0] == 0
    return home / "out", place, expected


def test_a_second_run_on_one_folder_is_refused(archive, tiny_engine, tmp_path):
    place, expected = archive(24)
    command = words(tiny_engine, place, tmp_path / "out", "--resume")
    first = start(command, tmp_path / "log")
    wait_for(lambda: bool(known(tmp_path / "out")), first)
    first.process.send_signal(signal.SIGSTOP)  # it must not end before the second has begun
    assert first.running
    code, said = finish(command, tmp_path / "log of the second")
    first.process.send_signal(signal.SIGCONT)
    assert first.end() == 0
    assert code == 2
    assert str(tmp_path / "out") in said.splitlines()[-1]
    assert facts(tmp_path / "out") == expected
    assert left_behind(tmp_path / "out") == set()


def test_half_a_line_is_cut_off_and_its_study_classified_again(finished, tiny_engine, tmp_path):
    left, place, expected = finished
    whole = (left / "results.jsonl").read_bytes()
    last = len(whole.splitlines()[-1])
    shutil.copytree(left, tmp_path / "out")
    for kept in (1, last // 2, last - 1):  # of the last line; its newline is missing at last - 1
        (tmp_path / "out" / "results.jsonl").write_bytes(whole[: -last - 1 + kept])
        code, said = finish(
            words(tiny_engine, place, tmp_path / "out", "--resume"), tmp_path / "log"
        )
        assert code == 0, said
        assert facts(tmp_path / "out") == expected


def _another_version(line: bytes) -> bytes:
    return json.dumps({**json.loads(line), "schema_version": 1}).encode()


FOREIGN = {
    "an older version": _another_version,
    "a newer version": lambda line: json.dumps({**json.loads(line), "schema_version": 99}).encode(),
    "deep": lambda line: b"[" * 200_000,
    "deep objects": lambda line: b'{"a":' * 100_000,
    "a number": lambda line: b"7",
    "foreign": lambda line: b'{"name": "other", "values": [1, 2]}',
    "no JSON": lambda line: b"\x00\xff\xfe",
    "a picture": lambda line: b"\x89PNG\r\n\x1a\n" + bytes(99),
    "not a number": lambda line: line.replace(b'"probabilities"', b'"probabilities": NaN, "x"', 1),
    "many digits": lambda line: b"9" * 100_000,
    "megabytes": lambda line: b'{"scan": "' + b"x" * (20 << 20) + b'"}',
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("where", ["first", "last"])
def test_what_is_no_result_is_refused_and_left_alone(
    finished, tiny, command, tmp_path, kind, where
):
    left, place, _ = finished
    shutil.copytree(left, tmp_path / "out")
    file = tmp_path / "out" / "results.jsonl"
    lines = file.read_bytes().splitlines()
    at = 0 if where == "first" else len(lines) - 1
    lines[at] = FOREIGN[kind](lines[at])
    content = b"\n".join(lines) + b"\n"
    file.write_bytes(content)
    done = command("predict", tiny, place, "-o", tmp_path / "out", "--resume")
    assert done.returncode == 2
    assert str(file) in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()[-1]) < 2000
    assert file.read_bytes() == content
