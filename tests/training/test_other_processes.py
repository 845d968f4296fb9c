"""Trainings in other processes: killed at any moment, and several that train as one."""

import os
import random
import signal
import socket
import time
from contextlib import suppress

import pytest
import torch

from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.training.fitting.folder import BEFORE, STATE
from darnet_trt.training.fitting.history import HISTORY, read_history
from tests.short import SHORT
from tests.training.trainings import trainings, weights


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    return tmp_path_factory.mktemp("trainings") / "errors"


@pytest.fixture(scope="module")
def start(errors):
    with trainings(errors) as running:
        yield running


KILLED = {"epochs": 4, "batch": 2, "seed": 5}


def killed_and_resumed(start, examples, folder, moments):
    """Kill a training so many seconds after it saved its state, then those that go on with it."""
    inputs, whole, cut = examples[0].file.parent, folder / "whole", folder / "cut"
    unbroken = start.start(inputs, whole, KILLED)
    for moment in moments:
        seen = saved(cut)
        process = start.start(inputs, cut, KILLED, save_every_s=0)
        while saved(cut) == seen and not (cut / "weights.pt").exists():
            time.sleep(0.001)
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        start.wait(process)
    assert start.wait(start.start(inputs, cut, KILLED, save_every_s=0)) == 0
    assert start.wait(unbroken) == 0
    assert torch.equal(weights(whole), weights(cut))
    assert not [path for path in cut.iterdir() if path.name.startswith(".")]


def saved(run):
    found = []
    for name in (STATE, BEFORE):
        with suppress(FileNotFoundError):  # there is none yet, or it is being renamed
            found.append((run / name).stat().st_mtime_ns)
    return found


def test_killed_inside_an_epoch(start, tiny_examples, tmp_path):
    killed_and_resumed(start, tiny_examples, tmp_path, [0.03])


@pytest.mark.slow
def test_killed_at_twenty_random_moments(start, tiny_examples, tmp_path):
    chance = random.Random(18)
    killed_and_resumed(
        start, tiny_examples, tmp_path, [chance.uniform(0, 0.1) for _ in range(5 if SHORT else 20)]
    )


# Two processes normalize each part by itself, so their losses agree only without that.
TOGETHER = {"epochs": 2, "batch": 4, "seed": 5, "frozen_normalization": True}


def environment(rank, size, port):
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def together(start, inputs, run, recipe, **options):
    port = free_port()
    return [
        start.start(inputs, run, recipe, **options, **environment(rank, 2, port))
        for rank in range(2)
    ]


def losses(run):
    history = read_history(run / HISTORY)
    return [value for epoch in history for value in (epoch.loss, epoch.held_out_loss)]


def assert_two_are_like_one(start, examples, folder, recipe):
    inputs = examples[0].file.parent
    for process in (
        start.start(inputs, folder / "one", recipe),
        *together(start, inputs, folder / "two", recipe),
    ):
        assert start.wait(process) == 0, "see the errors"
    one, two = losses(folder / "one"), losses(folder / "two")
    assert len(one) == 2 * recipe["epochs"]
    assert two == pytest.approx(one, abs=1e-4)


def test_two_processes_are_like_one(start, tiny_examples, tmp_path):
    assert_two_are_like_one(start, tiny_examples, tmp_path, TOGETHER)


@pytest.mark.slow
def test_two_processes_are_like_one_over_many_epochs_in_parts(start, tiny_examples, tmp_path):
    assert_two_are_like_one(
        start, tiny_examples, tmp_path, TOGETHER | {"epochs": 12, "accumulate": 2}
    )


def test_of_two_processes_one_speaks_and_writes(start, tmp_path):
    plan = CohortPlan(scans=9, seed=0, format="cc-ccii", matrix=48, slices=(30, 30))
    write_cohort(plan, cohort := tmp_path / "cohort", processes=1)
    (cohort / "unzip_filenames.csv").write_text("label,patient_id,scan_id,n_slice\nNCP,9,9,30\n")
    words = ["train", cohort, "-o", tmp_path / "run", "--epochs", 1, "--held-out", 0.3, "--best"]
    outputs, port = [tmp_path / "first", tmp_path / "second"], free_port()
    running = [
        start.command([*words, "--threads", 1], output, **environment(rank, 2, port))
        for rank, output in enumerate(outputs)
    ]
    codes = [start.wait(process) for process in running]
    first, second = (output.read_text() for output in outputs)
    assert codes == [0, 0], first + second
    assert "the held-out scans choose the epoch" in first
    assert "1 scan is missing" in first
    assert f"the run is in {tmp_path / 'run'}" in first
    assert second == ""
    assert (tmp_path / "run" / "held-out.csv").exists()


@pytest.mark.slow
def test_the_end_of_a_process_ends_the_other_with_a_line(start, errors, tiny_examples, tmp_path):
    inputs, run = tiny_examples[0].file.parent, tmp_path / "run"
    leader, other = together(start, inputs, run, TOGETHER | {"epochs": 5000}, save_every_s=0)
    while not (run / STATE).exists():
        time.sleep(0.01)
    os.kill(other, signal.SIGKILL)
    began = time.monotonic()
    assert start.wait(leader) == 2
    assert time.monotonic() - began < 60
    assert "another process" in errors.read_text()
    assert (run / STATE).exists()
