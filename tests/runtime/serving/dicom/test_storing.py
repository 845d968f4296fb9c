"""A peer is answered when its slice is on the disk, and hears why where it is not."""

import io
import socket
import subprocess
import threading
from contextlib import suppress

import pytest
from pydicom.uid import ExplicitVRBigEndian
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from darnet_trt.errors import BusyError, OutputError
from darnet_trt.runtime.serving.dicom.contexts import SYNTAXES
from darnet_trt.scan.dicom.encoding.codestreams import COMPRESSED
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.dicom.header import read_headers
from tests.runtime.serving.dicom.senders import (
    association,
    eventually,
    needs_dcmtk,
    send,
    storescu,
)
from tests.runtime.serving.received import CT, IMPLICIT, contents, encoded, one_slice

PRIVATE_CT = "1.3.12.2.1107.5.9.1"  # Siemens CSA Non-Image Storage


def test_a_study_is_stored(door):
    assert send(door.address, *[one_slice(n) for n in range(1, 6)]) == [0] * 5
    (files,) = [files for _, files in door.kept.store.studies()]
    assert len(files) == 5
    assert {peer for _, peer in door.kept.arrived} == {"CT1"}


def test_bytes_are_kept_as_they_came(door):
    ds = one_slice()
    assert send(door.address, ds) == [0]
    (kept,) = contents(door.kept.store).values()
    own = encoded(ds)
    assert kept.endswith(own[own.index(b"\x08\x00\x08\x00CS") :])
    assert kept[128:132] == b"DICM"


def test_echo(door):
    with association(door.address, [("1.2.840.10008.1.1", IMPLICIT)]) as opened:
        assert opened.send_c_echo().Status == 0


def test_every_syntax_that_we_decode_is_taken_for_every_object(door):
    assert set(SYNTAXES) == NATIVE | COMPRESSED
    for sop_class in (CT, PRIVATE_CT, "1.2.840.10008.5.1.4.1.1.66.4"):
        with association(door.address, [(sop_class, syntax) for syntax in SYNTAXES]) as opened:
            assert len(opened.accepted_contexts) == len(SYNTAXES)


@pytest.mark.parametrize(
    "context",
    [
        ("1.2.840.10008.5.1.4.1.2.2.1", IMPLICIT),  # Study Root Query/Retrieve: FIND
        ("1.2.840.10008.5.1.4.31", IMPLICIT),  # Modality Worklist
        (CT, "1.2.840.10008.1.2.4.100"),  # MPEG2
        (CT, "1.2.3.4"),
    ],
)
def test_what_we_do_not_serve_is_rejected(door, context):
    with association(door.address, [context, ("1.2.840.10008.1.1", IMPLICIT)]) as opened:
        assert [str(each.abstract_syntax) for each in opened.rejected_contexts] == [context[0]]


def test_a_private_class_is_stored(door):
    ds = one_slice(SOPClassUID=PRIVATE_CT)
    assert send(door.address, ds) == [0]
    assert len(contents(door.kept.store)) == 1


def test_big_endian_and_implicit_slices_can_be_read_afterwards(door):
    for number, syntax in enumerate([IMPLICIT, str(ExplicitVRBigEndian)], 1):
        ds = one_slice(number, TransferSyntaxUID=syntax)
        ds["PixelData"].VR = "OW"
        del ds.PixelData
        assert send(door.address, ds) == [0]
    for study, files in door.kept.store.studies():
        for file in files:
            (header,) = read_headers(door.kept.store.folder(study) / file)
            assert header.get("StudyInstanceUID") == "1.2.3"


def test_the_same_on_two_associations_is_one(door):
    threads = [
        threading.Thread(target=send, args=(door.address, *map(one_slice, range(1, 9))))
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(contents(door.kept.store)) == 8
    outcomes = [received.outcome for received, _ in door.kept.arrived]
    assert (outcomes.count("new"), outcomes.count("known")) == (8, 24)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BusyError("9 studies wait", retry_after_s=1), 0xA700),
        (OutputError("cannot be written (Input/output error)"), 0xA700),
        (ZeroDivisionError(), 0x0110),
    ],
)
def test_what_cannot_be_kept_is_answered_with_a_status(open_door, error, status):
    def admit(study):
        if fails:
            raise error

    fails = [True]
    door = open_door({"admit": admit})
    with association(door.address) as opened:
        answer = opened.send_c_store(one_slice())
        assert answer.Status == status
        assert len(answer.ErrorComment) <= 64
        fails.clear()
        assert opened.send_c_store(one_slice()).Status == 0  # on the same association
    assert door.door.refused == {f"{status:04X}": 1}


def test_a_data_set_that_is_another_than_its_command_says(door):
    with association(door.address) as opened:
        for name, value in (("SOPInstanceUID", "1.2.3.99"), ("SOPClassUID", CT + ".1")):
            assert _store_as(opened, one_slice(), one_slice(**{name: value})) == 0xA900
    assert contents(door.kept.store) == {}


def test_an_object_of_another_class_than_its_context(door):
    """pynetdicom serves what comes in any context; only a storage class holds an object."""
    with association(door.address, [("1.2.840.10008.1.1", IMPLICIT)]) as opened:
        assert _store_as(opened, one_slice(), one_slice()) == 0xA900


def _store_as(opened, command, content):
    """Store a data set under another one's UIDs."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID = command.SOPClassUID
    request.AffectedSOPInstanceUID = command.SOPInstanceUID
    request.DataSet = io.BytesIO(encode(content, False, True))
    return _exchange(opened, request)


def _exchange(opened, request):
    opened._reactor_checkpoint.clear()
    while not opened._is_paused:
        threading.Event().wait(0.001)
    opened.dimse.send_msg(request, opened.accepted_contexts[0].context_id)
    _, answer = opened.dimse.get_msg(block=True)
    opened._reactor_checkpoint.set()
    return answer.Status


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SOPInstanceUID"])
def test_a_data_set_without_a_uid(door, name):
    with association(door.address) as opened:
        assert _store_as(opened, one_slice(), one_slice(**{name: None})) == 0xC000


def test_bytes_that_are_no_data_set(door):
    with association(door.address) as opened:
        for content in (b"\xff" * 500, b"hello", bytes(2000)):
            request = C_STORE()
            request.MessageID, request.Priority = 7, 2
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, "1.2.3"
            request.DataSet = io.BytesIO(content)
            assert _exchange(opened, request) == 0xC000
        assert opened.send_c_store(one_slice()).Status == 0


def test_a_disk_at_its_mark_says_so(open_door, caplog):
    door = open_door({"least_free": 1 << 60})
    assert send(door.address, *map(one_slice, range(1, 4))) == [0xA700] * 3
    assert caplog.text.count("--least-free") == 1


@needs_dcmtk
def test_dcmtk_stores_and_echoes(door, tmp_path):
    for number in range(1, 4):
        (tmp_path / f"{number}.dcm").write_bytes(encoded(one_slice(number)))
    said = storescu(door.door.port, "+sd", tmp_path)
    assert said.count("Received Store Response (Success)") == 3
    subprocess.run(["echoscu", "127.0.0.1", str(door.door.port)], check=True, timeout=30)
    assert len(contents(door.kept.store)) == 3


def test_an_end_between_two_slices(door):
    with association(door.address) as opened:
        assert opened.send_c_store(one_slice(1)).Status == 0
        assert door.door.drain(10)
        eventually(lambda: opened.is_aborted)
    assert len(contents(door.kept.store)) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(door.address)


def test_a_peer_that_sends_on_and_on_is_ended_by_a_drain(door):
    acknowledged = []

    def send_on():
        with association(door.address) as opened:
            opened.dimse_timeout = 2  # an answer that the end cut off never comes
            for number in range(1, 2000):
                if not opened.is_established:
                    return
                with suppress(RuntimeError, AttributeError):
                    if opened.send_c_store(one_slice(number)).Status == 0:
                        acknowledged.append(number)

    sender = threading.Thread(target=send_on)
    sender.start()
    eventually(lambda: len(acknowledged) > 5)
    assert door.door.drain(10)
    sender.join()
    assert len(acknowledged) < 1900
    assert len(contents(door.kept.store)) - len(acknowledged) in (0, 1)  # an answer may be lost


def test_a_slice_under_way_is_finished_by_a_drain(open_door):
    began, go = threading.Event(), threading.Event()

    def admit(study):
        began.set()
        assert go.wait(60)

    door = open_door({"admit": admit})
    statuses = []
    sender = threading.Thread(target=lambda: statuses.extend(send(door.address, one_slice())))
    sender.start()
    assert began.wait(60)
    drained = threading.Thread(target=door.door.drain, args=(10,))
    drained.start()
    go.set()
    drained.join()
    sender.join()
    assert statuses == [0]
    assert len(contents(door.kept.store)) == 1
