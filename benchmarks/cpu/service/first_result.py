"""Time how soon the service has a result after the last slice of a study was acknowledged.

    python -m benchmarks.cpu.service.first_result BUNDLE [--studies 10] [--slices 100] [--quiet 8]

Whole studies come one after the other over one association, and others with a gap, for which the
service waits the whole quiet time. What is left of the time without the quiet time and the
engine's own is the service's.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage

from benchmarks.cpu.archive import phantom_slices, template
from benchmarks.cpu.service.server import Server, running
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu
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
            for kind, quiet_s in (("whole", given.quiet / SHORTER), ("with a gap", given.quiet)):
                first = 0 if kind == "whole" else given.studies + 1
                own = []
                for number in range(first, first + given.studies + 1):
                    contents = [content for _, content in of.study(number)]
                    if kind != "whole":
                        del contents[len(contents) // 2]
                    own.append(_seconds(server, contents) - quiet_s)
                own = own[1:]  # the first warms up
                middle = statistics.median(own)
                print(f"{kind}: quiet time {quiet_s:.1f} s, then {middle:.2f} s", end=" ")
                print(f"({min(own):.2f} to {max(own):.2f}) with reading, engine, SR, PM and SC")


def _seconds(server: Server, contents: list[bytes]) -> float:
    """Send a study; return the seconds from its last answer to its result."""
    before = {view["id"] for view in server.studies()}
    ours = AE()
    ours.add_requested_context(CTImageStorage)
    association = ours.associate("127.0.0.1", server.dicom)
    for content in contents:
        status = association.send_c_store(dcmread(io.BytesIO(content)))
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
