"""The queue outlives what may happen to its file, and keeps what peers said."""

import sqlite3
import subprocess
import sys
import time

import pytest

from darnet_trt.errors import OutputError
from darnet_trt.machine.files import sole_writer
from darnet_trt.runtime.delivery import queue as module
from darnet_trt.runtime.delivery.peers.answers import Answer
from darnet_trt.runtime.delivery.queue import QUEUE, Entry, Queue
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from tests.full_disk import small_disk
from tests.runtime.delivery.dicom_peers import peer
from tests.runtime.delivery.folders import made, sop_uid, write_results
from tests.runtime.delivery.orthanc import free_port
from tests.runtime.prediction.results.test_result import result

# pynetdicom leaves a socket that did not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
A = Entry("study:a", "1.2", "1.1", "dicom/a/sr.dcm")
B = Entry("study:b", "1.2", "1.2", "dicom/b/sr.dcm")


@pytest.fixture
def queue(tmp_path):
    with Queue(tmp_path) as opened:
        opened.add_peer("P")
        yield opened


def due(queue, peer="P"):
    return [each.sop_uid for each in queue.due(peer, commits=False)[0]]


def test_pauses_grow_and_end_at_an_hour(queue):
    queue.fill([A])
    pauses = []
    for _ in range(14):
        queue.put_off("P", [A.sop_uid], "down")
        pauses.append(queue.next_due("P", commits=False) - time.time())
    assert 4 <= pauses[0] <= 10
    assert 8 <= pauses[1] <= 20
    assert pauses[5] > 100
    assert all(1700 < pause <= 3600 for pause in pauses[10:])
    assert due(queue) == []
    queue.retry()
    assert due(queue) == [A.sop_uid]


def test_a_clock_that_was_set_back_makes_nothing_wait_for_years(queue, monkeypatch):
    queue.fill([A])
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 4e8)
    queue.put_off("P", [A.sop_uid], "down")
    monkeypatch.undo()
    assert due(queue) == [A.sop_uid]


def test_a_result_that_was_replaced_before_it_was_sent_is_dropped(queue):
    queue.fill([A, B])
    queue.note("P", Answer(B.sop_uid, "sent"))
    queue.add(A.study, [Entry(A.study, "1.2", "1.3", "dicom/c/sr.dcm")])
    assert due(queue) == ["1.3"]
    queue.add(B.study, [Entry(B.study, "1.2", "1.4", "dicom/d/sr.dcm")])
    assert queue.tally("P").all["sent"] == 1
    queue.fill([B])  # nothing else stands
    assert due(queue) == []
    assert queue.tally("P").all.total() == 1


def test_a_peer_that_is_named_later_gets_all(queue):
    queue.fill([A, B])
    queue.note("P", Answer(A.sop_uid, "sent"))
    queue.add_peer("Q")
    queue.fill([A, B])
    assert due(queue) == [B.sop_uid]
    assert sorted(due(queue, "Q")) == [A.sop_uid, B.sop_uid]


def test_names_need_not_be_utf_8(queue):
    queue.fill([Entry("path:\udcff", "1.2", "1.1", "dicom/\udcff/sr.dcm")])
    assert queue.due("P", commits=False)[0][0].path.name == "sr.dcm"


def spoilt(out):
    """Queues that cannot be used."""
    file = out / QUEUE
    content = bytearray(file.read_bytes())
    middle = bytes(content[:100]) + b"\xff" * (len(content) - 100)
    yield "a foreign file", lambda: file.write_bytes(b"groceries: milk\n" * 100)
    yield "a damaged file", lambda: file.write_bytes(middle)
    yield "half a file", lambda: file.write_bytes(content[: len(content) // 2])
    yield "a folder", lambda: (file.unlink(), file.mkdir())
    yield "a link", lambda: (file.unlink(), file.symlink_to(out / "results.jsonl"))

    def another(version):
        with sqlite3.connect(file) as db:
            db.execute(f"PRAGMA user_version = {version}")
        db.close()

    yield "another version", lambda: another(99)

    def foreign():
        file.unlink()
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE object (name TEXT)")
        db.close()

    yield "a foreign database", foreign


def test_a_queue_that_cannot_be_used_is_put_aside(command, tmp_path):
    out = tmp_path / "out"
    uids = write_results(out, 1)
    results = (out / "results.jsonl").read_bytes()
    with peer() as receiver:
        assert command("deliver", out, "--send", receiver.ae).returncode == 0
        for what, spoil in list(spoilt(out)):
            spoil()
            done = command("deliver", out)
            assert done.returncode == 2, what
            assert "--send" in done.stderr.splitlines()[-1]
            again = command("deliver", out, "--send", receiver.ae)
            assert (again.returncode, again.stdout.count("3 sent")) == (0, 1), what
            aside = out / f"{QUEUE}.old"
            assert aside.is_symlink() or aside.exists(), what
            remove(aside)
            assert (out / "results.jsonl").read_bytes() == results
    assert sorted(set(receiver.stored)) == uids


def remove(path):
    path.rmdir() if path.is_dir() else path.unlink()


def test_a_lost_queue_is_filled_from_the_results(command, tmp_path):
    out = tmp_path / "out"
    write_results(out, 1)
    with peer() as receiver:
        command("deliver", out, "--send", receiver.ae)
        (out / QUEUE).unlink()
        gone = command("deliver", out)
        assert gone.returncode == 2
        assert gone.stderr.count("\n") == 1
        assert command("deliver", out, "--send", receiver.ae).returncode == 0


def test_an_empty_file_is_a_new_queue(tmp_path):
    (tmp_path / QUEUE).touch()
    with Queue(tmp_path) as queue:
        queue.add_peer("P")
        assert queue.peers() == ["P"]


def test_a_full_disk_ends_it_with_a_line_and_loses_nothing(command, tmp_path):
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        out = disk.folder / "out"
        uids = write_results(out, 2)
        filler = disk.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        with peer() as receiver:
            done = command("deliver", out, "--send", receiver.ae)
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            filler.unlink()
            assert command("deliver", out, "--send", receiver.ae).returncode == 0
        assert sorted(set(receiver.stored)) == uids


def test_a_disk_that_fills_up_while_it_is_sent(tmp_path):
    with small_disk(tmp_path / "disk", 1 << 20) as disk, Queue(disk.folder) as queue:
        queue.add_peer("P")
        many = [Entry(f"study:{n}", "1.2", f"1.{n}", "x" * 2000) for n in range(1000)]
        with pytest.raises(OutputError, match="queue cannot be kept"):
            queue.fill(many)
        assert queue.peers() == ["P"]
        queue.fill(many[:5])
        assert len(due(queue)) == 5


def test_a_change_outlives_a_kill(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from darnet_trt.runtime.delivery.queue import Entry, Queue
from darnet_trt.runtime.delivery.peers.answers import Answer
queue = Queue(Path({str(tmp_path)!r}))
queue.add_peer("P")
queue.fill([Entry("a", "1.2", "1.1", "x"), Entry("b", "1.2", "1.2", "y")])
queue.note("P", Answer("1.1", "refused", "no"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    with Queue(tmp_path) as queue:
        assert queue.tally("P").all == {"refused": 1, "waiting": 1}
        assert queue.tally("P").why_refused == "no"


def test_one_run_at_a_time(command, tmp_path):
    out = tmp_path / "out"
    write_results(out, 1)
    with peer() as receiver, sole_writer(out):
        done = command("deliver", out, "--send", receiver.ae)
    assert done.returncode == 2
    assert "another darnet-trt" in done.stderr
    assert done.stderr.count("\n") == 1
    assert receiver.stored == []


def test_what_is_no_result_folder_is_one_line(command, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        done = command("deliver", folder, "--send", "PACS@127.0.0.1:104")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "nowhere").exists()
    assert list((tmp_path / "empty").iterdir()) == []


def test_results_without_objects_say_how_to_make_them(command, tmp_path):
    with ResultFolder(tmp_path / "out") as folder:
        folder.add(result())
    done = command("deliver", tmp_path / "out", "--send", "PACS@127.0.0.1:104")
    assert done.returncode == 2
    assert "predict --resume --dicom" in done.stderr


def test_an_object_whose_file_is_gone_or_damaged_waits(command, tmp_path):
    out = tmp_path / "out"
    write_results(out, 4, "sr")
    files = sorted(out.glob("dicom/*/sr.dcm"))
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:200])
    files[2].write_bytes(made(9, "sr").content)
    with peer() as receiver:
        done = command("deliver", out, "--send", receiver.ae)
        assert done.returncode == 1
        assert "1 sent, 3 to be tried again" in done.stdout
        assert "predict --resume" in done.stdout
        assert len(receiver.stored) == 1
        assert receiver.stored[0] != sop_uid(9, "sr")
        write_results(out, 4, "sr")
        assert command("deliver", out, "--retry").returncode == 0
    assert len(receiver.stored) == 4


def test_cron_hears_only_of_what_is_left(command, tmp_path):
    out = tmp_path / "out"
    write_results(out, 1, "sr")
    with peer() as receiver:
        done = command("-q", "deliver", out, "--send", receiver.ae)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    write_results(out, 2, "sr")
    done = command("-q", "deliver", out)
    assert (done.returncode, done.stdout) == (1, "")
    assert "1 to be tried again" in done.stderr


def test_a_missing_package_is_one_line(command, tmp_path, monkeypatch):
    write_results(tmp_path / "out", 1, "sr")
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    done = command("deliver", tmp_path / "out", "--send", "PACS@127.0.0.1:104")
    assert done.returncode == 2
    assert "darnet-trt[dicom]" in done.stderr
    assert not (tmp_path / "out" / QUEUE).exists()


def test_a_peer_that_was_named_by_mistake_is_forgotten(command, tmp_path):
    out = tmp_path / "out"
    write_results(out, 1, "sr")
    wrong = f"PACS@127.0.0.1:{free_port()}"
    assert command("deliver", out, "--send", wrong).returncode == 1
    with peer() as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--forget", wrong)
    assert (done.returncode, done.stdout) == (0, f"{receiver.ae}: 1 sent\n")
    again = command("deliver", out, "--forget", wrong)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "no peer of this folder" in again.stderr
    assert command("deliver", out, "--forget", receiver.ae).returncode == 0
    assert command("deliver", out).returncode == 2
