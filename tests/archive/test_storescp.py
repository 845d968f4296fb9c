"""dcmtk's storescp fills a folder while `predict --watch` follows it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from benchmarks.cpu.predict.archive import uid_of
from tests.archive.runs import facts, finish, known, left_behind, start, wait_for, words
from tests.short import SHORT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("storescp") is None, reason="no storescp: install dcmtk"),
]
STUDIES = 6 if SHORT else 20
SETTLE_S = 1.0
NODELAY = {**os.environ, "TCP_NODELAY": "1"}  # Debian's dcmtk waits 40 ms for each slice without


@contextmanager
def receiver(incoming):
    """Run storescp into a folder, a folder for each study; give its port."""
    incoming.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["storescp", "-od", incoming, "--sort-on-study-uid", "S", "-dhl", "--fork", str(port)]
    process = subprocess.Popen(list(map(str, command)), env=NODELAY, start_new_session=True)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def send(folder, port):
    """Send the files of a folder in one association."""
    command = ["storescu", "+sd", "127.0.0.1", str(port), str(folder)]
    subprocess.run(command, env=NODELAY, check=True, capture_output=True)


def test_each_study_has_one_standing_result(templates, tiny_engine, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    chests = templates[:3]
    late = []
    with receiver(tmp_path / "incoming") as port:
        command = words(tiny_engine, tmp_path / "incoming", out, "--watch", "--settle", SETTLE_S)
        run = start(command, log)
        try:
            for number in range(STUDIES):
                chest, folder = chests[number % 3], tmp_path / "sent" / str(number)
                if number % 4 == 1:  # the lower half now, the upper half when it has settled
                    half = len(chest.files) // 2
                    chest.write(folder, number, only=slice(half))
                    rest = tmp_path / "rest" / str(number)
                    late.append((number, chest.write(rest, number, only=slice(half, None))))
                elif number % 4 == 2:  # in two associations without a pause
                    half = chest.write(folder, number, only=slice(0, None, 2))
                    send(half, port)
                    folder = tmp_path / "odd" / str(number)
                    chest.write(folder, number, only=slice(1, None, 2))
                else:
                    chest.write(folder, number)
                send(folder, port)
            wait_for(lambda: len(known(out)) == STUDIES, run)
            for _, rest in late:
                send(rest, port)
            last = [uid_of(number) for number, _ in late]
            wait_for(lambda: all(whole(out, uid, len(chests[0].files)) for uid in last), run)
        finally:
            run.process.send_signal(signal.SIGTERM)
        code = run.end()
    assert "Traceback" not in run.said
    assert code == 0, run.said[-4000:]
    alone = tmp_path / "alone"
    assert finish(words(tiny_engine, tmp_path / "incoming", alone), tmp_path / "log 2")[0] == 0
    assert facts(out) == facts(alone)
    assert {fact["study_uid"] for fact in facts(out).values()} == set(map(uid_of, range(STUDIES)))
    assert left_behind(out) == set()


def whole(out, uid, slices):
    """Return whether a study's last result is of all its slices."""
    of_it = [r for r in results(out) if r["study_uid"] == uid]
    return bool(of_it) and (of_it[-1]["series"] or {}).get("slices") == slices


def results(out):
    import json

    *lines, _ = (out / "results.jsonl").read_bytes().split(b"\n")
    return list(map(json.loads, lines))
