"""`darnet-trt merge`, as its user sees it."""

import pytest

from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.shards.shard import marked
from tests.runtime.prediction.results.test_result import result


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folders = [tmp_path / "1", tmp_path / "2"]
    for number, folder in enumerate(folders, 1):
        with ResultFolder(folder) as opened, marked(folder, (number, 2)):
            opened.add(result(folder.name))
    return folders


def test_shards_are_joined(command, shards, tmp_path):
    done = command("merge", tmp_path / "out", *shards)
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 scans: 2 ok" in done.stderr
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 2
    again = command("merge", tmp_path / "out", *shards)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1


def test_a_missing_shard_is_named_and_the_exit_code_says_so(command, shards, tmp_path):
    done = command("-q", "merge", tmp_path / "out", shards[0])
    assert done.returncode == 1
    assert "missing: shard 2/2" in done.stderr


def test_what_cannot_be_joined_is_one_line(command, shards, tmp_path):
    done = command("merge", tmp_path / "out", *shards, tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
