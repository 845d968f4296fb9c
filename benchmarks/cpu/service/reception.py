"""Time how fast slices are taken over DICOM: by our door, pynetdicom's example, and Orthanc.

    python -m benchmarks.cpu.service.reception [--slices 40] [--rounds 5]

dcmtk's storescu sends, one process an association. Every receiver starts with an empty folder on
the same disk; in each round they come one after the other. Both sides set TCP_NODELAY: Debian's
dcmtk waits 40 ms a slice without it. A slice counts when its answer has come. Ours is on the disk
then (fsync of file and folder); the example and Orthanc leave that to the system.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.serving.dicom.scp import DicomDoor
from darnet_trt.runtime.serving.intake.store import Store
from darnet_trt.runtime.serving.settings import DicomSettings, Settings

ASSOCIATIONS: Final = (1, 8)
SIZE: Final = 512
STARTS_S: Final = 60


def write_slices(folder: Path, series: int, slices: int) -> None:
    """Write noise, as CT slices: of each series a folder."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    noise = np.random.default_rng(17)
    for number in range(series):
        (folder / str(number)).mkdir()
        for index in range(slices):
            ds = Dataset()
            ds.SOPClassUID, ds.Modality, ds.PatientID = CTImageStorage, "CT", f"P{number}"
            ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.{number + 1}", f"2.25.{number + 1}.1"
            ds.SOPInstanceUID = f"2.25.{number + 1}.1.{index + 1}"
            ds.InstanceNumber, ds.ImagePositionPatient = index + 1, [0, 0, index]
            ds.Rows = ds.Columns = SIZE
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
            ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
            ds.PixelData = noise.integers(-1000, 1000, (SIZE, SIZE), np.int16).tobytes()
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            ds.save_as(folder / str(number) / f"{index:04d}.dcm", enforce_file_format=True)


def serve_ours(folder: Path, pipe: Connection) -> None:
    """Open our door until it is told to end."""
    settings = Settings(bundle=folder, state=folder)
    store = Store(folder, settings, lambda study: None, lambda received, peer: None)
    door = DicomDoor(DicomSettings(port=0), store)
    pipe.send(door.port)
    pipe.recv()


def serve_example(folder: Path, pipe: Connection) -> None:
    """Run the storage SCP of pynetdicom's documentation ("Beginner's tutorial"): decode, save."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    def handle_store(event: Any) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        ds.save_as(folder / ds.SOPInstanceUID, enforce_file_format=True)
        return 0x0000

    def opened(event: Any) -> None:
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    ae = AE()
    ae.supported_contexts = AllStoragePresentationContexts
    handlers = [(evt.EVT_C_STORE, handle_store), (evt.EVT_CONN_OPEN, opened)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    pipe.send(server.server_address[1])
    pipe.recv()
    os._exit(0)


@contextmanager
def python(serve: Callable[[Path, Connection], None], folder: Path) -> Iterator[int]:
    """Run a receiver in a process of its own; give its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(folder, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join(10)
        process.kill()


@contextmanager
def orthanc(folder: Path) -> Iterator[int]:
    """Run Orthanc with as many threads as there are associations; give its port."""
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "DicomPort": ports[0],
        "HttpPort": ports[1],
        "DicomThreadsCount": max(ASSOCIATIONS),
        "OverwriteInstances": False,
    }
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, "TCP_NODELAY": "1"}
        process = subprocess.Popen(
            ["Orthanc", configuration], stdout=log, stderr=log, env=environment
        )
    try:
        until = time.monotonic() + STARTS_S
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/system").close()
                break
            if time.monotonic() > until:
                sys.exit(f"Orthanc does not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        yield ports[0]
    finally:
        process.kill()
        process.wait()


def send(port: int, series: list[Path]) -> float:
    """Send each series on an association of its own; return slices a second."""
    files = [sorted(folder.iterdir()) for folder in series]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command = ["storescu", "-pdu", "131072", "127.0.0.1", str(port)]
    began = time.perf_counter()
    senders = [
        subprocess.Popen([*command, *own], env=environment, stdout=subprocess.DEVNULL)
        for own in files
    ]
    if any(sender.wait() for sender in senders):
        sys.exit("storescu failed")
    return sum(map(len, files)) / (time.perf_counter() - began)


def main() -> None:
    """Time them in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    receivers: dict[str, Callable[[Path], Any]] = {
        "ours": lambda folder: python(serve_ours, folder),
        "example": lambda folder: python(serve_example, folder),
    }
    if shutil.which("Orthanc"):
        receivers["Orthanc"] = orthanc
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    with TemporaryDirectory(dir=Path.cwd()) as work:
        slices = Path(work) / "slices"
        slices.mkdir()
        write_slices(slices, sum(ASSOCIATIONS), options.slices)
        series = sorted(slices.iterdir())
        for number in range(options.rounds):
            for name, receiver in receivers.items():
                folder = Path(work) / f"{name}-{number}"
                folder.mkdir()
                with receiver(folder) as port:
                    rates[name, 1].append(send(port, series[:1]))
                    rates[name, 8].append(send(port, series[1:]))
                shutil.rmtree(folder)
    print(f"{cpu()}, {os.cpu_count()} CPUs; {SIZE}x{SIZE} slices, {options.rounds} rounds")
    print(f"{'slices a second':16}" + "".join(f"{name:>10}" for name in receivers))
    for count in ASSOCIATIONS:
        medians = {name: statistics.median(rates[name, count]) for name in receivers}
        print(f"{count} association{'s' * (count > 1):5}" + "".join(
            f"{medians[name]:10.0f}" for name in receivers
        ))  # fmt: skip
        for name in receivers:
            if name != "ours":
                ratios = [a / b for a, b in zip(rates["ours", count], rates[name, count],
                                                strict=True)]  # fmt: skip
                print(f"    ours / {name}: {statistics.median(ratios):.2f} "
                      f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
