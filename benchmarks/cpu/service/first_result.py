"""Time how soon the service has a result after the last slice of a study was acknowledged.

    python -m benchmarks.cpu.service.first_result BUNDLE [--studies 10] [--quiet 8]

Whole studies come one after the other, each over one association, and then others that lack a slice
by their own ImagesInAcquisition (0020,1002), for which the service waits the whole quiet time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from benchmarks.cpu.predict.archive import phantom_slices, template
from benchmarks.cpu.service.server import Server, running
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers
from darnet_trt.runtime.serving.studies.waiting import SHORTER

MATRIX = 512
POLL_S = 0.005


def main() -> None:
    """Print the time that is the service's, of studies that are whole and of those that are not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--studies", type=int, default=10, help="of each kind")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--quiet", type=float, default=8.0, help="seconds")
    given = parser.parse_args()
    print(
        f"{cpu().name}, {usable_cpus()} CPUs, studies of {given.slices} slices of {MATRIX}x{MATRIX}"
    )
    of = template(phantom_slices(MATRIX, given.slices))
    with TemporaryDirectory() as folder:
        settle = ("--settle", given.quiet)
        with running(given.bundle, Path(folder), *settle, "--objects", "sr,pm,sc") as server:
            for first, (kind, quiet_s) in enumerate(
                (("whole", given.quiet / SHORTER), ("lacking a slice", given.quiet))
            ):
                own = []
                for number in range(given.studies + 1):
                    named = number + first * (given.studies + 1)
                    slices = [dcmread(io.BytesIO(content)) for _, content in of.study(named)]
                    for each in slices:
                        each.ImagesInAcquisition = len(slices) + first
                    own.append(_seconds(server, slices) - quiet_s)
                own = own[1:]  # the first warms up
                middle = statistics.median(own)
                print(f"{kind}: quiet time {quiet_s:.1f} s, then {middle:.2f} s", end=" ")
                print(f"({min(own):.2f} to {max(own):.2f}) with reading, engine, SR, PM and SC")


def _seconds(server: Server, slices: list[Dataset]) -> float:
    """Send a study; return the seconds from its last answer to its result."""
    before = {view["id"] for view in server.studies()}
    ours = AE()
    ours.add_requested_context(CTImageStorage)
    association = ours.associate("127.0.0.1", server.dicom)
    keep_answers(association)
    for each in slices:
        status = association.send_c_store(each)
        assert status.get("Status") == 0, f"not stored: {status}\n{server.said}"
    sent = time.monotonic()
    while True:
        views = [v for v in server.get("/v1/scans?limit=2")["scans"] if v["id"] not in before]
        if views and views[0]["state"] == "done":
            break
        time.sleep(POLL_S)
    seconds = time.monotonic() - sent
    association.release()
    return seconds


if __name__ == "__main__":
    main()
