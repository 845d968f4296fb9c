"""Our own codec says what pynetdicom's says, and takes no byte on trust."""

import io
import random
import socket
from contextlib import suppress

import pytest
from pydicom import dcmread
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import P_DATA_TF

from darnet_trt.runtime.serving.dicom.command import StoreRequest, read_store, store_answer
from darnet_trt.runtime.serving.dicom.part10 import file_head
from tests.runtime.serving.dicom.senders import association, play, send, turns_of
from tests.runtime.serving.received import CT, EXPLICIT, a_file, contents, one_slice


def theirs(primitive, kind):
    message = kind()
    message.primitive_to_message(primitive)
    return list(message.encode_msg(5, 16384))


def store(**values):
    request = C_STORE()
    request.MessageID, request.Priority = 77, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, "1.2.3.4"
    request.DataSet = io.BytesIO(b"data")
    for name, value in values.items():
        setattr(request, name, value)
    return request


def command_of(primitive, kind):
    return theirs(primitive, kind)[0].presentation_data_value_list[0][1][1:]


def test_a_request():
    move = {"MoveOriginatorApplicationEntityTitle": "PACS", "MoveOriginatorMessageID": 3}
    for values in ({}, move):
        read = read_store(5, command_of(store(**values), C_STORE_RQ))
        assert read == StoreRequest(5, 77, CT, "1.2.3.4")


def test_other_commands_are_left_to_pynetdicom():
    echo = C_ECHO()
    echo.MessageID, echo.AffectedSOPClassUID = 1, "1.2.840.10008.1.1"
    assert read_store(5, command_of(echo, C_ECHO_RQ)) is None
    assert read_store(5, command_of(store(DataSet=None), C_STORE_RQ)) is None


@pytest.mark.parametrize("comment", ["", "the disk is full"])
@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_an_answer(comment, uid):
    said = P_DATA_TF()
    said.decode(store_answer(StoreRequest(5, 77, CT, uid), 0xA700, comment))
    heard = DIMSEMessage()
    assert heard.decode_msg(said.to_primitive())
    assert isinstance(heard, C_STORE_RSP)
    answer = heard.message_to_primitive()
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (77, 0xA700)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (CT, uid)
    assert heard.command_set.get("ErrorComment", "") == comment
    own = C_STORE()
    own.MessageIDBeingRespondedTo, own.Status = 77, 0xA700
    own.AffectedSOPClassUID, own.AffectedSOPInstanceUID = CT, uid
    own.ErrorComment = comment or None
    (part,) = theirs(own, C_STORE_RSP)
    assert store_answer(StoreRequest(5, 77, CT, uid), 0xA700, comment) == P_DATA_TF(part).encode()


def test_damaged_commands():
    command = command_of(store(), C_STORE_RQ)
    for length in range(len(command)):
        with suppress(ValueError):
            read_store(5, command[:length])
    chance = random.Random(17)
    for _ in range(3000):
        damaged = bytearray(command)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        with suppress(ValueError):
            read_store(5, bytes(damaged))


def test_a_head(tmp_path):
    content = a_file()
    data = content[content.index(b"\x08\0\x08\0CS") :]
    for uid in ("1.2.3.1", "1.2.3.12"):
        path = tmp_path / f"{uid}.dcm"
        path.write_bytes(file_head(CT, uid, EXPLICIT) + data)
        read = dcmread(path)
        assert read.file_meta.MediaStorageSOPInstanceUID == uid
        assert read.file_meta.MediaStorageSOPClassUID == CT
        assert read.file_meta.TransferSyntaxUID == EXPLICIT
        assert read.file_meta.FileMetaInformationGroupLength > 100
        assert read.StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize(
    "uid", [b"1.2.03.4", b"1.2.ABCD", b"SECRET^NAME", b"x" * 64, b"\xff\xfe.2.3.45"]
)
def test_uids_that_break_the_rules_are_stored_and_not_logged(door, caplog, recwarn, uid):
    """Scanners write such UIDs; whoever refuses them loses the slice."""
    caplog.set_level(0)
    standing = ("1.2.3." + "7" * 58)[: len(uid)]
    turns = turns_of(
        door.address, lambda address: send(address, one_slice(SOPInstanceUID=standing))
    )
    ((study, _),) = door.kept.store.studies()
    assert door.kept.store.remove(study)
    with socket.create_connection(door.address) as connection:
        odd = [turn.replace(standing.encode(), uid) for turn in turns]
        heard = play(connection, odd, sum(map(len, odd)))
    assert b"\0\0\0\x09\2\0\0\0\0\0" in heard
    (kept,) = contents(door.kept.store).values()
    assert kept.count(uid) >= 2
    assert uid.decode("latin-1") not in caplog.text
    assert not recwarn.list
    with association(door.address) as opened:
        assert opened.send_c_store(one_slice()).Status == 0
