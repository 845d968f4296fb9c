"""A real archive: Orthanc, on loopback, with a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = shutil.which("Orthanc")
PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
STARTS_S: Final = 60


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Orthanc:
    """An archive that runs, or does not.

    Attributes:
        folder: Where it keeps what it stores.
        ours: The port on which it finds us.
        dicom: Its DICOM port.
        http: Its HTTP port.
        process: Of the program; None: it does not run.
    """

    folder: Path
    ours: int = field(default_factory=free_port)
    dicom: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def ae(self) -> str:
        """Return its address for DICOM."""
        return f"ORTHANC@127.0.0.1:{self.dicom}"

    @property
    def web(self) -> str:
        """Return its address for DICOMweb."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def start(self, **settings: Any) -> None:
        """Start it with what it stored before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen = {
            "Name": "test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [str(PLUGIN)],
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom,
            "HttpPort": self.http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "SaveJobs": False,
            "ConcurrentJobs": 1,
            "DicomModalities": {"us": ["DARNET-TRT", "127.0.0.1", self.ours]},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            **settings,
        }
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(chosen))
        assert PROGRAM is not None
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([PROGRAM, configuration], stdout=log, stderr=log)
        limit = time.monotonic() + STARTS_S
        while True:
            with suppress(OSError):
                self.get("/system")
                return
            assert time.monotonic() < limit, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def stop(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()  # it would take three seconds to end by itself
            self.process.wait()
            self.process = None

    def get(self, path: str) -> Any:
        """Return an answer of its REST interface."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """Return the bytes of an answer of its REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=20) as answer:
            found: bytes = answer.read()
            return found

    def delete(self, path: str) -> None:
        """Delete by its REST interface."""
        url = f"http://127.0.0.1:{self.http}{path}"
        request = urllib.request.Request(url, method="DELETE")
        urllib.request.urlopen(request, timeout=20).close()

    def instances(self) -> list[str]:
        """Return the SOPInstanceUID of every instance that it holds."""
        return sorted(
            each["MainDicomTags"]["SOPInstanceUID"] for each in self.get("/instances?expand")
        )

    def empty(self) -> None:
        """Delete all that it holds."""
        for patient in self.get("/patients"):
            self.delete(f"/patients/{patient}")
