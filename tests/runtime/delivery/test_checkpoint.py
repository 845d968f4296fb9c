"""pynetdicom's own thread takes no answer of ours, however late it runs."""

import threading
import time

import pytest

from darnet_trt.runtime.delivery.peers.checkpoint import Checkpoint, keep_answers


def test_the_thread_is_at_rest_when_it_was_stopped():
    """An Event fails this in the first rounds."""
    between, ends = threading.Event(), threading.Event()

    def rounds():
        while not ends.is_set():
            checkpoint.wait()
            between.set()
            time.sleep(0.005)
            between.clear()

    thread = threading.Thread(target=rounds, daemon=True)
    checkpoint = Checkpoint(thread)
    thread.start()
    for _ in range(20):
        assert between.wait(60)
        checkpoint.clear()
        assert not between.is_set()
        assert not checkpoint.is_set()
        checkpoint.set()
    ends.set()
    thread.join()
    checkpoint.clear()  # nobody is left to wait for


def test_a_thread_may_stop_itself():
    stopped = []

    def run():
        checkpoint.clear()
        stopped.append(not checkpoint.is_set())
        checkpoint.set()
        checkpoint.wait()

    thread = threading.Thread(target=run)
    checkpoint = Checkpoint(thread)
    thread.start()
    thread.join(60)
    assert stopped == [True]


@pytest.fixture
def opened():
    """Associations with a peer, each with a checkpoint of ours."""
    pynetdicom = pytest.importorskip("pynetdicom")
    from pynetdicom.sop_class import Verification

    peer, ours = pynetdicom.AE(), pynetdicom.AE()
    peer.add_supported_context(Verification)
    ours.add_requested_context(Verification)
    server = peer.start_server(("127.0.0.1", 0), block=False)

    def associate():
        association = ours.associate(*server.socket.getsockname())
        keep_answers(association)
        return association

    yield associate
    server.shutdown()


def test_a_report_that_ends_meanwhile_holds_nothing_up(opened):
    """Its thread says that the association has not paused, after we paused it."""
    association = opened()
    clear = association._reactor_checkpoint.clear

    def clear_and_report():
        clear()
        association._is_paused = False

    association._reactor_checkpoint.clear = clear_and_report
    ending = threading.Thread(target=association.release, daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
    assert association.is_released


def test_requests_a_release_and_an_abort(opened):
    for end in ("release", "abort"):
        association = opened()
        assert [association.send_c_echo().Status for _ in range(20)] == [0] * 20
        getattr(association, end)()
        association.join(60)
        assert not association.is_alive()
