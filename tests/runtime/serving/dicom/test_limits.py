"""Whatever a peer does, the door stays open for the others and forgets the peer."""

import gc
import os
import random
import resource
import socket
import struct
import threading
import time
from contextlib import suppress

import psutil
import pytest

from darnet_trt.runtime.delivery.peers.dimse import rejection
from darnet_trt.runtime.serving.dicom import association as association_module
from darnet_trt.runtime.serving.dicom import limits, listener, messages, wire
from tests.runtime.serving.dicom.senders import (
    association,
    eventually,
    play,
    read_pdu,
    send,
    turns_of,
)
from tests.runtime.serving.received import contents, one_slice

RELEASE = b"\x05\0\0\0\0\4\0\0\0\0"
ABORT = 7
STORED = b"\0\0\0\x09\2\0\0\0\0\0"
"""Status (0000,0900) of an answer, 0x0000."""


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(association_module, "ASSOCIATE_S", 0.4)
    monkeypatch.setattr(association_module, "LINGER_S", 0.2)
    for module in (listener, wire):
        monkeypatch.setattr(module, "ASSOCIATE_S", 0.4)


@pytest.fixture
def turns(door):
    """What a client says that stores one slice."""
    said = turns_of(door.address, lambda address: send(address, one_slice(7, "1.2.9")))
    assert len(said) == 3
    ((study, _),) = door.kept.store.studies()
    assert door.kept.store.remove(study)
    return said


def takes(door):
    """Return whether it takes a slice. A busy machine is too slow for a door in a hurry."""
    with suppress(AssertionError, AttributeError, RuntimeError):
        return send(door.address, one_slice(99)) == [0]
    return False


def is_well(door):
    """The door takes a slice, and nothing is left of those that came before."""
    eventually(lambda: not door.door._open)
    eventually(lambda: takes(door))
    eventually(lambda: not door.door._open)
    assert door.door.associations() == 0
    assert not door.door._listener._strangers
    assert door.door.budget._left == limits.IN_FLIGHT
    assert not list((door.kept.store.folder("x").parents[1] / "incoming").iterdir())
    names = [each.name for each in threading.enumerate()]
    assert not [name for name in names if name.startswith(("DICOM assoc", "DICOM conn"))]


def crash(door, turns, count, reset):
    """Say so many bytes, and die; return whether a slice was acknowledged."""
    with socket.create_connection(door.address) as connection:
        if reset:  # the connection is reset, as where a process is killed with unread answers
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        heard = play(connection, turns, count)
    return STORED in heard


def crash_at(door, turns, places):
    """Nothing is acknowledged before its last byte has come."""
    whole = len(turns[0]) + len(turns[1])
    for count in places:
        assert crash(door, turns, count, reset=count % 2) == (count >= whole)
        assert bool(contents(door.kept.store)) == (count >= whole)
    is_well(door)


def test_a_client_that_dies_leaves_nothing(door, turns):
    whole = sum(map(len, turns))
    crash_at(door, turns, sorted({*range(0, whole, 23), *range(0, 14), whole - 1, whole}))


@pytest.mark.slow
def test_a_client_that_dies_at_every_byte(door, turns):
    crash_at(door, turns, range(sum(map(len, turns)) + 1))


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bytes_end_an_association_and_no_more(door, turns, seed, hurried, monkeypatch):
    chance = random.Random(seed)
    failures = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    for _ in range(60):
        damaged = [bytearray(turn) for turn in turns]
        for turn in damaged:
            for _ in range(chance.randrange(4)):
                turn[chance.randrange(min(len(turn), 400))] = chance.randrange(256)
        with socket.create_connection(door.address) as connection:
            connection.settimeout(0.2)
            with suppress(OSError):
                for turn in damaged:
                    connection.sendall(turn)
                    if not connection.recv(1 << 16):
                        break
    is_well(door)
    assert failures == []


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + bytes(200),  # TLS on a port that speaks none
        b"\x01\x00\xff\xff\xff\xff" + bytes(1000),  # a request of 4 GiB
        b"\x04\x00\xff\xff\xff\xff" + bytes(1000),
        b"\x04\x00\x00\x00\x00\x00",
        b"\x05\x00\x00\x00\x00\x04" + bytes(4),
        bytes(2000),
        b"\xff" * 2000,
        os.urandom(2000),
    ],
)
def test_strangers_are_hung_up_on(door, said, hurried):
    with socket.create_connection(door.address) as connection:
        connection.sendall(said)
        connection.settimeout(10)
        with suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                pass
    is_well(door)


def associated(door, turns):
    connection = socket.create_connection(door.address)
    connection.sendall(turns[0])
    assert read_pdu(connection)[0] == 2
    return connection


@pytest.mark.parametrize(
    "said",
    [
        b"\4\0" + struct.pack(">L", (1 << 32) - 1) + bytes(5000),  # a PDU of 4 GiB
        b"\4\0" + struct.pack(">LLBB", 6, 1 << 31, 1, 3) + bytes(5000),  # a value of 2 GiB
        b"\4\0" + struct.pack(">LLBB", 6, 0, 1, 3),  # a value of nothing
        b"\4\0" + struct.pack(">LLBB", 6, 2, 1, 3) + b"\0",  # a command of nothing
        b"\4\0\0\0\0\0",
        b"\4\0" + struct.pack(">LLBB", 8, 4, 99, 2) + b"\0\0",  # of no context
        b"\1\0\0\0\0\4" + bytes(4),  # a second request
        b"\2\0\0\0\0\4" + bytes(4),
        b"\x09\0\0\0\0\0",
    ],
)
def test_lying_lengths_end_the_association(door, turns, said):
    before = psutil.Process().memory_info().rss
    with associated(door, turns) as connection:
        connection.sendall(said)
        answer = read_pdu(connection)
        assert not answer or answer[0] == ABORT
    is_well(door)
    assert psutil.Process().memory_info().rss - before < 50 << 20


def command_parts(turn):
    """The command of a C-STORE, in a PDU, and its context."""
    size = int.from_bytes(turn[2:6], "big") + 6
    return turn[:size], turn[10]


def test_an_object_that_never_ends_is_given_up(door, turns, monkeypatch):
    monkeypatch.setattr(messages, "LARGEST_MESSAGE", 1 << 20)
    command, context = command_parts(turns[1])
    part = b"\4\0" + struct.pack(">LLBB", 100_006, 100_002, context, 0) + bytes(100_000)
    with associated(door, turns) as connection:
        connection.sendall(command)
        until_it_ends(connection, part, 1000)
    is_well(door)


def until_it_ends(connection, part, times, pause_s=0.0):
    """Say the same again and again; fail where the association does not end."""
    with suppress(ConnectionError):
        for _ in range(times):
            connection.sendall(part)
            time.sleep(pause_s)
            if readable(connection):
                return
        raise AssertionError("it takes it all")


def readable(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) is not None
    except BlockingIOError:
        return False
    finally:
        connection.setblocking(True)


def test_a_command_that_never_ends_is_given_up(door, turns):
    _, context = command_parts(turns[1])
    part = b"\4\0" + struct.pack(">LLBB", 10_006, 10_002, context, 1) + bytes(10_000)
    with associated(door, turns) as connection:
        until_it_ends(connection, part, 1000)
    is_well(door)


def test_all_objects_together_have_a_limit(door, turns):
    command, context = command_parts(turns[1])
    part = b"\4\0" + struct.pack(">LLBB", 100_006, 100_002, context, 0) + bytes(100_000)
    door.door.budget.take(limits.IN_FLIGHT - 150_000)
    with associated(door, turns) as first, associated(door, turns) as second:
        first.sendall(command + part)
        eventually(lambda: door.door.budget._left < 100_000)
        second.sendall(command + part)
        assert read_pdu(second)[0] == ABORT
        assert not readable(first)
    door.door.budget.give(limits.IN_FLIGHT - 150_000)
    is_well(door)


def test_a_peer_that_falls_silent_is_ended(open_door, turns):
    door = open_door(idle_s=0.5)
    for count in (0, 5, 100):  # between PDUs, in a head, in a body
        with associated(door, turns) as connection:
            connection.sendall(turns[1][:count])
            answer = read_pdu(connection)
            assert not answer or answer[0] == ABORT
    is_well(door)


def test_a_peer_that_trickles_is_ended(open_door, turns):
    door = open_door(idle_s=0.5)
    with associated(door, turns) as connection:
        began = time.monotonic()
        with suppress(ConnectionError):
            for byte in turns[1]:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - began < 0.05 * len(turns[1])
    is_well(door)


def test_an_object_that_trickles_in_small_pdus_is_given_up(door, turns, monkeypatch):
    monkeypatch.setattr(messages, "SLOW_AFTER_S", 0.3)
    command, context = command_parts(turns[1])
    part = b"\4\0" + struct.pack(">LLBB", 7, 3, context, 0) + b"\0"
    with associated(door, turns) as connection:
        connection.sendall(command)
        until_it_ends(connection, part, 200, pause_s=0.02)
    is_well(door)


def test_a_peer_that_reads_no_answers_holds_nobody_up(open_door, turns):
    door = open_door(idle_s=0.5)
    with associated(door, turns):
        eventually(lambda: takes(door))
    is_well(door)


def test_a_connection_that_asks_for_nothing_is_ended(door, hurried):
    with socket.create_connection(door.address) as connection:
        assert read_pdu(connection) == b""
    is_well(door)


def test_port_probes_leave_nothing_and_take_no_place(open_door):
    door = open_door(associations=1)
    gc.collect()  # what other tests left
    before = psutil.Process().num_fds()
    for _ in range(100):
        socket.create_connection(door.address).close()
    assert send(door.address, one_slice()) == [0]
    is_well(door)
    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize("name", ["DICOM connection", "DICOM association"])
def test_a_system_without_threads_closes_the_door_for_a_while(door, monkeypatch, name):
    start = threading.Thread.start

    def fails(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        with socket.create_connection(door.address) as connection:
            assert read_pdu(connection) == b""
    is_well(door)


def test_silent_connections_do_not_close_the_door(door):
    silent = [socket.create_connection(door.address) for _ in range(limits.STRANGERS + 20)]
    assert send(door.address, one_slice()) == [0]
    eventually(lambda: door.door.refused["crowded"] >= 20)
    for each in silent:
        each.close()
    is_well(door)


def test_more_associations_than_allowed_hear_so(open_door):
    door = open_door(associations=2)
    with association(door.address) as first, association(door.address) as second:
        assert first.is_established
        assert second.is_established
        with association(door.address) as third:
            said = rejection(third)
            assert said is not None
            assert (said.result, said.result_source, said.diagnostic) == (2, 3, 2)
        assert first.send_c_store(one_slice()).Status == 0
    assert door.door.refused["associations"] == 1
    is_well(door)


def test_many_files_may_be_open(door):
    """`select` fails from the 1024th descriptor on; the door does not use it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("no more files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with socket.create_connection(door.address) as connection:
            connection.sendall(RELEASE)
            assert read_pdu(connection)[0] == ABORT
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    is_well(door)


def test_strangers_who_choose_their_titles_are_not_remembered_for_ever():
    pace = limits.Pace(1e9)
    for number in range(5000):
        pace.wait(f"AE{number}", threading.Event())
    assert len(pace._next) <= 1000


def test_a_peer_keeps_to_its_pace(open_door):
    door = open_door(slices_per_s=20.0)
    began = time.monotonic()
    threads = [
        threading.Thread(target=send, args=(door.address, *(one_slice(n) for n in range(k, k + 5))))
        for k in (1, 6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert time.monotonic() - began >= 9 / 20
    assert len(contents(door.kept.store)) == 10
