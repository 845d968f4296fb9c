"""Send a recorded association to the DICOM door, cut and altered."""

from __future__ import annotations

import io
import random
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

import pydicom
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, Verification

from benchmarks.cpu.service.server import Server
from tests.runtime.serving.fuzz.http_door import Verdict

PATIENCE_S = 5.0


def record(slices: list[bytes]) -> list[bytes]:
    """Return the protocol data units that a sender of some slices sends, a list of bytes."""
    server = AE()
    server.supported_contexts = AllStoragePresentationContexts
    for each in (Verification, StorageCommitmentPushModel):
        server.add_supported_context(each)
    handlers = [
        (evt.EVT_C_STORE, lambda event: 0),
        (evt.EVT_N_ACTION, lambda event: (0, None)),
    ]
    started = server.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    sent: list[bytes] = []

    def note(event: Any) -> None:
        sent.append(event.data)

    ours = AE(ae_title="FUZZ")
    ours.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    ours.add_requested_context(Verification)
    ours.add_requested_context(StorageCommitmentPushModel)
    association = ours.associate(
        "127.0.0.1", started.server_address[1], evt_handlers=[(evt.EVT_DATA_SENT, note)]
    )
    try:
        association.send_c_echo()
        stored = [pydicom.dcmread(io.BytesIO(content)) for content in slices]
        for ds in stored:
            association.send_c_store(ds)
        asked = pydicom.Dataset()
        asked.TransactionUID = "2.25.1"
        asked.ReferencedSOPSequence = []
        for ds in stored:
            one = pydicom.Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = (
                ds.SOPClassUID,
                ds.SOPInstanceUID,
            )
            asked.ReferencedSOPSequence.append(one)
        association.send_n_action(asked, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        association.release()
    finally:
        server.shutdown()
    return sent


def altered(rng: random.Random, units: list[bytes]) -> list[bytes]:
    """Return protocol data units of which some are not as they should be."""
    made = list(units)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        place = rng.randrange(len(made))
        unit = bytearray(made[place])
        how = rng.randrange(12)
        if how == 0:  # cut, and nothing more comes
            made = [*made[:place], bytes(unit[: rng.randrange(len(unit))])]
            if not made[-1]:
                made.pop()
            if not made:
                made = [b"\x01"]
            continue
        if how == 1 and len(unit) >= 6:  # a length that lies
            lie = rng.choice([0, 1, len(unit), len(unit) - 7, 2**31, 2**32 - 1])
            unit[2:6] = struct.pack(">I", max(lie, 0))
        elif how == 2 and len(unit) >= 12:  # a fragment's length that lies
            unit[6:10] = struct.pack(">I", rng.choice([0, 1, 2, len(unit), 2**31, 2**32 - 1]))
        elif how == 3 and unit:  # another kind of unit
            unit[0] = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])
        elif how == 4 and len(unit) > 11:  # another context, or flags
            unit[10] = rng.choice([0, 1, 2, 3, 5, 255])
            unit[11] = rng.choice([0, 1, 2, 3, 255])
        elif how == 5:
            made.insert(place, bytes(unit))
            continue
        elif how == 6 and len(made) > 1:
            del made[place]
            continue
        elif how == 7:
            other = rng.randrange(len(made))
            made[place], made[other] = made[other], made[place]
            continue
        elif how == 8:
            made.insert(place, rng.randbytes(rng.choice([1, 10, 5000])))
            continue
        elif how == 9 and len(unit) > 30:  # among the first attributes, where lengths and UIDs are
            for _ in range(rng.randint(1, 4)):
                unit[rng.randrange(6, min(len(unit), 400))] = rng.randrange(256)
        elif how == 10:  # more or less than the length says
            unit = unit + rng.randbytes(20) if rng.random() < 0.5 else unit[: len(unit) // 2]
        elif unit:
            for _ in range(rng.randint(1, 30)):
                unit[rng.randrange(len(unit))] = rng.randrange(256)
        made[place] = bytes(unit)
    return made


def fuzz_dicom(server: Server, slices: list[bytes], seeds: range) -> Verdict:
    """Send an association a seed; a fault is a service that ends or takes no C-ECHO afterwards."""
    verdict, units = Verdict("DICOM associations"), record(slices)
    for seed in seeds:
        verdict.ends[replay(server.dicom, altered(random.Random(seed), units), seed)] += 1
        if not server.alive:
            verdict.faults.append(f"seed {seed}: the service has ended: {server.said[-1000:]}")
            break
        if seed % 20 == 0 and not echo(server.dicom):
            verdict.faults.append(f"seed {seed}: no C-ECHO afterwards")
    if not echo(server.dicom):
        verdict.faults.append("no C-ECHO at the end")
    return verdict


def replay(port: int, units: list[bytes], seed: int) -> str:
    """Send the units; return which kind of unit came last, or what came instead."""
    rng, last = random.Random(seed), "nothing"
    received = bytearray()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S)
            listening = threading.Thread(target=_listen, args=(connection, received), daemon=True)
            listening.start()
            with suppress(OSError):
                for number, unit in enumerate(units):
                    connection.sendall(unit)
                    if number == 0:
                        listening.join(0.02)  # the answer to the request comes first
                if rng.random() < 0.7:
                    connection.shutdown(socket.SHUT_WR)
                    listening.join(PATIENCE_S)
    except OSError as error:
        return type(error).__name__
    while len(received) >= 6:
        length = struct.unpack(">I", received[2:6])[0]
        last = {2: "accepted", 3: "rejected", 4: "data", 6: "released", 7: "aborted"}.get(
            received[0], "another unit"
        )
        del received[: 6 + length]
    return last


def _listen(connection: socket.socket, received: bytearray) -> None:
    with suppress(OSError):
        while piece := connection.recv(65536):
            received += piece


def echo(port: int) -> bool:
    """Return whether the door answers C-ECHO with success."""
    ours = AE(ae_title="FUZZ")
    ours.add_requested_context(Verification)
    for _ in range(3):  # the most associations may be under way for a moment
        association = ours.associate("127.0.0.1", port)
        if association.is_established:
            status = association.send_c_echo()
            association.release()
            return status.get("Status") == 0
        threading.Event().wait(2)
    return False
