"""Who asks whether its slices are safe hears what the disk says, and the same again."""

import time
from contextlib import contextmanager
from functools import partial

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from darnet_trt.runtime.delivery.peers.commitment import PUSH_MODEL, Listener
from darnet_trt.runtime.serving.dicom import commitment
from darnet_trt.runtime.serving.intake.holdings import (
    NOT_HELD,
    OTHER_CLASS,
    UNCLEAR,
    why_not_held,
)
from darnet_trt.runtime.serving.settings import Peer
from tests.runtime.delivery.orthanc import free_port, needs_orthanc, running
from tests.runtime.serving.dicom.certificates import authority, client
from tests.runtime.serving.dicom.senders import association, eventually, send
from tests.runtime.serving.received import CT, IMPLICIT, a_file, one_slice

INSTANCE = "1.2.840.10008.1.20.1.1"


def request(*uids, sop_class=CT, transaction="1.2.3.100"):
    asked = Dataset()
    asked.TransactionUID = transaction
    asked.ReferencedSOPSequence = []
    for uid in uids:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(one)
    return asked


def ask(opened, asked, action=1, instance=INSTANCE):
    status, _ = opened.send_n_action(asked, action, PUSH_MODEL, instance)
    return status.Status


class Answers(list):
    """Reports that a peer hears: transaction, what is held, and why the others are not."""

    def take(self, event):
        said = event.event_information
        held = [
            str(each.ReferencedSOPInstanceUID) for each in said.get("ReferencedSOPSequence", ())
        ]
        failed = {
            str(each.ReferencedSOPInstanceUID): each.FailureReason
            for each in said.get("FailedSOPSequence", ())
        }
        self.append((str(said.TransactionUID), held, failed, event.event_type))
        return 0x0000, None


@contextmanager
def asking(door, answers):
    handlers = [(evt.EVT_N_EVENT_REPORT, answers.take)]
    contexts = [(PUSH_MODEL, IMPLICIT)]
    with association(door.address, contexts, evt_handlers=handlers) as opened:
        assert opened.is_established
        yield opened


def test_the_answer_comes_on_the_association_of_the_request(door):
    send(door.address, one_slice(1), one_slice(2))
    answers = Answers()
    with asking(door, answers) as opened:
        assert ask(opened, request("1.2.3.1", "1.2.3.2")) == 0
        eventually(lambda: len(answers) == 1)
        assert ask(opened, request("1.2.3.1", "1.2.3.9", transaction="1.2.3.101")) == 0
        eventually(lambda: len(answers) == 2)
        assert ask(opened, request("1.2.3.1", "1.2.3.9", transaction="1.2.3.101")) == 0
        eventually(lambda: len(answers) == 3)
    assert answers == [
        ("1.2.3.100", ["1.2.3.1", "1.2.3.2"], {}, 1),
        ("1.2.3.101", ["1.2.3.1"], {"1.2.3.9": NOT_HELD}, 2),
        ("1.2.3.101", ["1.2.3.1"], {"1.2.3.9": NOT_HELD}, 2),
    ]


def test_objects_and_requests_share_an_association(door):
    answers = Answers()
    handlers = [(evt.EVT_N_EVENT_REPORT, answers.take)]
    contexts = [(PUSH_MODEL, IMPLICIT), (CT, "1.2.840.10008.1.2.1")]
    with association(door.address, contexts, evt_handlers=handlers) as opened:
        for number in range(1, 4):
            assert opened.send_c_store(one_slice(number)).Status == 0
            assert ask(opened, request(f"1.2.3.{number}")) == 0
            eventually(lambda number=number: len(answers) == number)
    assert [held for _, held, _, _ in answers] == [["1.2.3.1"], ["1.2.3.2"], ["1.2.3.3"]]


@contextmanager
def listening(port, heard, tls=None):
    """A peer's own port; our delivery has the same."""
    if tls is None:
        listener = Listener("CT1", port, lambda *answer: heard.append(answer))
        try:
            yield
        finally:
            listener.close()
        return
    answers = Answers()
    ours = AE(ae_title="CT1")
    ours.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, answers.take)]
    server = ours.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls
    )
    try:
        yield
        heard.extend((one, held, failed) for one, held, failed, _ in answers)
    finally:
        server.shutdown()


def test_the_answer_comes_to_the_port_of_a_peer_that_has_one(open_door):
    port, heard = free_port(), []
    door = open_door(peers=(Peer("CT1", port=port),))
    send(door.address, one_slice(1))
    with listening(port, heard), asking(door, Answers()) as opened:
        assert ask(opened, request("1.2.3.1", "1.2.3.5")) == 0
        eventually(lambda: len(heard) == 1)
    assert heard == [("1.2.3.100", ["1.2.3.1"], {"1.2.3.5": NOT_HELD})]


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
def test_a_peer_that_is_away_is_told_later(open_door, monkeypatch):
    monkeypatch.setattr(commitment, "_AGAIN_S", (0.2,) * 20)
    port, heard = free_port(), []
    door = open_door(peers=(Peer("CT1", port=port),))
    send(door.address, one_slice(1))
    with asking(door, Answers()) as opened:
        assert ask(opened, request("1.2.3.1")) == 0
    time.sleep(0.5)
    with listening(port, heard):
        eventually(lambda: len(heard) == 1)
    assert heard == [("1.2.3.100", ["1.2.3.1"], {})]


def test_a_peer_that_speaks_tls_is_told_so(open_door, tmp_path):
    signer = authority(tmp_path)
    ours, theirs = signer.sign("server"), signer.sign("scanner")
    port, heard = free_port(), []
    door = open_door(tls=ours, peers=(Peer("CT1", port=port),))
    from darnet_trt.runtime.serving.network.tls import server_context

    context = client(theirs, signer.path)
    with listening(port, heard, server_context(theirs)):
        contexts = [(PUSH_MODEL, IMPLICIT)]
        with association(door.address, contexts, tls_args=(context, None)) as opened:
            assert ask(opened, request("1.2.3.1")) == 0
        time.sleep(0.5)
    assert heard == [("1.2.3.100", [], {"1.2.3.1": NOT_HELD})]


def test_requests_that_make_no_sense_are_refused(door):
    empty = request()
    nameless = request("1.2.3.1")
    del nameless.TransactionUID
    with asking(door, Answers()) as opened:
        assert ask(opened, request("1.2.3.1"), action=2) == 0x0123
        assert ask(opened, request("1.2.3.1"), instance="1.2.3") == 0x0112
        assert ask(opened, empty) == 0x0115
        assert ask(opened, nameless) == 0x0115


def test_why_an_instance_is_not_held(door):
    store = door.kept.store
    store.receive(a_file(1), peer="CT1")
    store.receive(a_file(2), peer="CT1")
    store.receive(a_file(2, InstanceNumber=7), peer="CT1")  # other content of the same UID
    store.receive(a_file(3), peer="CT1")
    store.receive(a_file(3, StudyInstanceUID="1.2.4"), peer="CT1")  # and in another study
    why = partial(why_not_held, store)
    assert why([(CT, "1.2.3.1")]) == {}
    assert why([(CT, "1.2.3.2"), (CT, "1.2.3.3"), (CT, "1.2.3.4"), (CT + ".1", "1.2.3.1")]) == {
        (CT, "1.2.3.2"): UNCLEAR,
        (CT, "1.2.3.3"): UNCLEAR,
        (CT, "1.2.3.4"): NOT_HELD,
        (CT + ".1", "1.2.3.1"): OTHER_CLASS,
    }


@needs_orthanc
def test_orthanc_is_told(open_door, tmp_path):
    """The archive sends a study, asks, and hears the answer on its own port."""
    import json
    import urllib.request

    with running(tmp_path / "orthanc") as archive:
        peer = Peer("ORTHANC", ("127.0.0.1",), port=archive.dicom)
        door = open_door(port=archive.ours, peers=(peer,))
        for number in (1, 2):
            upload = urllib.request.Request(
                f"http://127.0.0.1:{archive.http}/instances", a_file(number), method="POST"
            )
            urllib.request.urlopen(upload, timeout=20).close()

        def post(path, content):
            url = f"http://127.0.0.1:{archive.http}{path}"
            call = urllib.request.Request(url, json.dumps(content).encode(), method="POST")
            with urllib.request.urlopen(call, timeout=30) as answer:
                return json.load(answer)

        stored = post("/modalities/us/store", archive.get("/instances"))
        assert stored["FailedInstancesCount"] == 0
        asked = post(
            "/modalities/us/storage-commitment", {"DicomInstances": [[CT, "1.2.3.1"], [CT, "1.9"]]}
        )

        def report():
            return archive.get(f"/storage-commitment/{asked['ID']}")

        eventually(lambda: report()["Status"] != "Pending")
        assert report()["Status"] == "Failure"
        assert [each["SOPInstanceUID"] for each in report()["Success"]] == ["1.2.3.1"]
        assert [each["SOPInstanceUID"] for each in report()["Failures"]] == ["1.9"]
    assert len(door.kept.arrived) == 2
