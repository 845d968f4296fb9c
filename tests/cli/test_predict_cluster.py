"""`predict --ray` on a cluster of two nodes in this machine, on loopback, with deaths in it."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from benchmarks.cpu.predict.archive import phantom_slices, template
from tests.cli.command import COMMAND, darnet_trt
from tests.tiny_bundle import write_bundle

STUDIES = 60


@pytest.fixture(scope="module")
def study():
    return template(phantom_slices(48, 20))


@pytest.fixture(scope="module")
def archive(study, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for number in range(STUDIES):
        study.write(folder / f"{number:03d}", number)
    (folder / "broken").mkdir()
    (folder / "broken" / "a.nii").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def local(bundle, archive, tmp_path_factory) -> Path:
    """What a run without a cluster writes."""
    out = tmp_path_factory.mktemp("local") / "out"
    done = darnet_trt("predict", bundle, archive, "-o", out, "--threads", 1)
    assert done.returncode == 1, "one study is broken"
    return out


class Nodes(NamedTuple):
    """A cluster that runs."""

    address: str
    process: subprocess.Popen

    def kill_one(self):
        print(file=self.process.stdin, flush=True)


@pytest.fixture
def cluster():
    """Two nodes of one CPU; they need no network and tell nobody."""
    pytest.importorskip("ray", reason="ray is not installed")
    settings = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as short:
        for name, value in settings.items():
            patch.setenv(name, value)
        with subprocess.Popen(
            [sys.executable, Path(__file__).with_name("ray_cluster.py"), short],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "XDG_CONFIG_HOME": f"{short}/config"},  # with a key of their own
        ) as process:
            yield Nodes(process.stdout.readline().strip(), process)
            process.stdin.close()
            process.wait(60)


def started(cluster, *words):
    """Start a run on the cluster, and return it when both shards have results."""
    run = subprocess.Popen(
        [COMMAND, "predict", *map(str, words), "--ray", cluster.address],
        stderr=subprocess.PIPE,
        text=True,
    )
    out = Path(words[words.index("-o") + 1])
    files = [out / "shards" / f"{number}-of-2" / "results.jsonl" for number in (1, 2)]
    while not all(file.exists() and file.stat().st_size for file in files):
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    return run


def children():
    """The processes that run shards."""
    every = psutil.process_iter(["cmdline"])
    return [p for p in every if "run_module('darnet_trt'" in " ".join(p.info["cmdline"] or ())]


def lines(folder):
    """The results in a folder, without times, in the order of their keys."""
    file = folder / "results.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for result in results:
        result.pop("finished")
        result.pop("stages_ms")
    return sorted(results, key=lambda result: result["key"])


@pytest.mark.slow
def test_a_killed_worker_changes_nothing_and_new_studies_are_added(
    cluster, bundle, archive, local, study, tmp_path
):
    out = tmp_path / "out"
    run = started(cluster, bundle, archive, "-o", out)
    victim = children()[0]
    victim.parent().kill()
    psutil.wait_procs([victim], timeout=10)
    assert not victim.is_running(), "no orphan writes into the folder"
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1, said
    assert "shard 1/2 is done" in said
    assert lines(out) == lines(local)
    assert len(lines(out)) == STUDIES + 1
    assert all(result["patient_id"] for result in lines(out) if result["status"] == "ok")

    again = ("predict", bundle, archive, "--ray", cluster.address, "-o", out)
    refused = darnet_trt(*again)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr.splitlines()[-1]

    study.write(archive / "new", STUDIES)
    try:
        done = darnet_trt(*again, "--resume")
        assert done.returncode == 0, done.stderr
        alone = darnet_trt("predict", bundle, archive, "-o", local, "--resume", "--threads", 1)
        assert alone.returncode == 0, alone.stderr
    finally:
        for file in (archive / "new").iterdir():
            file.unlink()
        (archive / "new").rmdir()
    assert lines(out) == lines(local)
    assert len(lines(out)) == STUDIES + 2


@pytest.mark.slow
def test_a_dead_nodes_shard_goes_on_elsewhere(cluster, bundle, archive, tmp_path):
    out = tmp_path / "out"
    run = started(cluster, bundle, archive, "-o", out)
    cluster.kill_one()
    _, said = run.communicate(timeout=180)
    assert run.returncode == 1, said
    assert len(lines(out)) == STUDIES + 1


@pytest.mark.slow
def test_a_signal_ends_the_shards_and_says_how_to_continue(cluster, bundle, archive, tmp_path):
    out = tmp_path / "out"
    run = started(cluster, bundle, archive, "-o", out)
    running = children()
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 143, said
    assert said.splitlines()[-2] == "run the same command with --resume to continue"
    assert running
    assert psutil.wait_procs(running, timeout=10)[1] == []
    assert not (out / "results.jsonl").exists()
    done = darnet_trt("predict", bundle, archive, "--ray", cluster.address, "-o", out, "--resume")
    assert done.returncode in (0, 1), done.stderr
    assert len(lines(out)) == STUDIES + 1


@pytest.mark.slow
def test_shards_that_cannot_run_are_one_line(cluster, bundle, archive, tmp_path):
    common = ("predict", bundle, archive, "--ray", cluster.address)
    done = darnet_trt(*common, "-o", tmp_path / "a", "--artifact", "tensorrt-rtx-fp16")
    assert done.returncode == 2
    assert "GPU" in done.stderr.splitlines()[-1]
    done = darnet_trt(*common, "-o", tmp_path / "b", "--memory", "1M")
    assert done.returncode == 2
    assert "2 of 2 shards could not run" in done.stderr.splitlines()[-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", "of another cluster")
        done = darnet_trt(*common, "-o", tmp_path / "c")
    assert done.returncode == 2
    assert "no Ray cluster answers" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "words",
    [("--watch", "-o", "out"), ("--json", "-o", "out"), ("--shard", "1/2", "-o", "out"), ()],
)
def test_what_does_not_go_with_a_cluster_is_one_line(command, tiny, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("predict", tiny, tmp_path, "--ray", "127.0.0.1:1", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--ray" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["local", "ray://10.0.0.1:10001", "host", " "])
def test_what_is_no_address_is_an_error(command, tiny, phantom_series, tmp_path, address):
    done = command("predict", tiny, phantom_series, "-o", tmp_path / "out", "--ray", address)
    assert done.returncode == 2
    assert "no address of a Ray cluster" in done.stderr.splitlines()[-1]


def test_where_no_cluster_answers_is_an_error(command, tiny, phantom_series, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    address = f"127.0.0.1:{port}"
    done = command("predict", tiny, phantom_series, "-o", tmp_path / "out", "--ray", address)
    assert done.returncode == 2
    assert "no Ray cluster answers" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_results_of_another_run_are_not_replaced(command, tiny, phantom_series, tmp_path):
    out = tmp_path / "out"
    assert command("predict", tiny, phantom_series, "-o", out).returncode == 0
    before = (out / "results.jsonl").read_bytes()
    for more, says in (((), "already holds results"), (("--resume",), "without --ray")):
        done = command("predict", tiny, phantom_series, "-o", out, "--ray", "auto", *more)
        assert done.returncode == 2
        assert says in done.stderr.splitlines()[-1]
    assert (out / "results.jsonl").read_bytes() == before
