"""Only what a peer says that it keeps is shown as committed."""

import threading
import time

import pytest

from darnet_trt.runtime.delivery import deliver
from tests.runtime.delivery.dicom_peers import commitment, peer, tell
from tests.runtime.delivery.folders import sop_uid
from tests.runtime.delivery.orthanc import free_port
from tests.runtime.delivery.web_peers import module, service

# pynetdicom leaves a socket that did not connect to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(deliver, "COMMIT_S", 0.5)
    monkeypatch.setattr(deliver, "_SAME_S", 0.3)


def answering(port, make):
    """Take a request to commit, and bring the answer to `port` soon."""

    def commit(event):
        report = make(event)
        threading.Thread(target=tell, args=(port, report), daemon=True).start()
        return 0x0000, None

    return commit


def test_some_are_committed_and_some_are_sent_again(command, out):
    port = free_port()
    failed = {sop_uid(0, "pm"): 0x0110}
    commit = answering(port, lambda event: commitment(event, failed))
    with peer(commit=commit) as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", port)
        assert done.returncode == 1
        assert "3 sent, 2 committed, 1 to be tried again" in done.stdout
        assert "not committed: processing failure" in done.stdout
        failed.clear()
        rest = command("deliver", out, "--listen", port, "--retry")
        assert (rest.returncode, rest.stderr) == (0, "")
        assert "1 sent, 1 committed" in rest.stdout
    assert receiver.stored.count(sop_uid(0, "pm")) == 2
    assert len(receiver.stored) == 4


def test_what_is_never_committed_is_refused(command, out):
    port = free_port()
    failed = {sop_uid(0, "pm"): 0x0122}
    commit = answering(port, lambda event: commitment(event, failed))
    with peer(commit=commit) as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", port)
    assert "2 committed, 1 refused (stored, but not committed: SOP class" in done.stdout


def test_a_peer_that_never_answers_leaves_them_uncommitted(command, out, hurried):
    with peer(commit=lambda event: (0x0000, None)) as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", free_port())
    assert done.returncode == 1
    assert "3 sent, 3 not yet committed" in done.stdout
    again = command("deliver", out)
    assert again.stdout.endswith(": 3 not yet committed\n")
    assert again.returncode == 0  # nobody listens


def tell_when_it_listens(port, report):
    for _ in range(600):
        if tell(port, report) is not None:
            return
        time.sleep(0.1)


def test_an_answer_that_comes_late_counts(command, out, hurried):
    port, asked = free_port(), []

    def remember(event):
        asked.append(commitment(event, {}))
        return 0x0000, None

    with peer(commit=remember) as receiver:
        command("deliver", out, "--send", receiver.ae, "--listen", port)
        later = threading.Thread(target=tell_when_it_listens, args=(port, asked[0]))
        later.start()
        done = command("deliver", out, "--listen", port, "--wait", 60)
        later.join()
    assert "3 committed" in done.stdout
    assert len(asked) == 1


@pytest.mark.parametrize("status", [0x0110, 0x0122, 0x0211])
def test_a_peer_that_does_not_take_the_request(command, out, hurried, status):
    with peer(commit=lambda event: (status, None)) as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", free_port())
    assert f"not willing to commit: {'processing' if status == 0x0110 else ''}" in done.stderr
    assert "3 sent" in done.stdout
    assert done.returncode == (1 if status == 0x0110 else 0)


def test_a_peer_without_the_service_has_them_sent(command, out, hurried):
    with peer() as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", free_port())
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("3 sent\n")
        again = command("deliver", out, "--listen", free_port())
        assert "nothing left" in again.stdout


def test_the_answer_may_come_on_our_own_association(command, out):
    def commit(event):
        report, association = commitment(event, {}), event.assoc

        def say():
            time.sleep(0.2)
            association.send_n_event_report(
                report, 1, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
            )

        threading.Thread(target=say, daemon=True).start()
        return 0x0000, None

    with peer(commit=commit) as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", free_port())
    assert "3 sent, 3 committed" in done.stdout


def test_an_answer_to_no_request_of_ours_is_left_aside(command, out, hurried):
    port = free_port()

    def other(event):
        report = commitment(event, {})
        report.TransactionUID = "1.2.3"
        return report

    def empty(event):
        report = commitment(event, {})
        del report.TransactionUID
        return report

    for make in (other, empty):
        with peer(commit=answering(port, make)) as receiver:
            done = command("deliver", out, "--send", receiver.ae, "--listen", port)
        assert "3 not yet committed" in done.stdout


def test_a_port_that_is_taken_is_named(command, out):
    with peer() as receiver:
        done = command("deliver", out, "--send", receiver.ae, "--listen", receiver.port)
    assert done.returncode == 2
    assert f"--listen: port {receiver.port} cannot be listened on" in done.stderr


def test_a_service_of_stow_rs_is_not_asked(command, out):
    with service(lambda uid: (200, {}, module(uid))) as to:
        for send in (["--send", to.web], []):
            done = command("deliver", out, *send, "--listen", free_port())
            assert (done.returncode, done.stderr) == (0, "")
            assert "committed" not in done.stdout
