"""Run `darnet-trt serve` as a process of its own, on loopback, and ask its doors."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.cpu.service.orthanc import free_port

STRUCK: Final = "benchmarks.cpu.service.ending.struck"
STARTS_S: Final = 120
ENDS_S: Final = 120


class EndedError(Exception):
    """The service ended before it was ready."""


@dataclass
class Server:
    """The service, which runs or does not.

    Attributes:
        bundle: What it serves.
        folder: Its state folder is in it, and what it says on stderr.
        more: Further words of its command.
        dicom: Its DICOM port.
        http: Its HTTP port.
        process: Of the program; None: it does not run.
        change: It dies at so many changes of the disk (`ending.struck`); 0: never.
    """

    bundle: Path
    folder: Path
    more: tuple[object, ...] = ()
    dicom: int = field(default_factory=free_port)
    http: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    change: int = 0

    @property
    def port(self) -> int:
        """Return its DICOM port."""
        return self.dicom

    @property
    def state(self) -> Path:
        """Return its state folder."""
        return self.folder / "state"

    @property
    def said(self) -> str:
        """Return all that it said on stderr, over all its starts."""
        return (self.folder / "stderr").read_text(errors="replace")

    def start(self) -> None:
        """Start it with the state that it left; return when both doors are open.

        Raises:
            EndedError: It ends before.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ("serve", self.bundle, "--state", self.state)
        doors = ("--dicom", f"127.0.0.1:{self.dicom}", "--http", f"127.0.0.1:{self.http}")
        program = (STRUCK, self.change) if self.change else ("darnet_trt",)
        command = [sys.executable, "-m", *map(str, (*program, *words, *doors, *self.more))]
        with (self.folder / "stderr").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until it says that it is ready.

        Raises:
            EndedError: It ends before.
        """
        limit = time.monotonic() + STARTS_S
        while not self.ready:
            if not self.alive:
                raise EndedError(self.said[-4000:])
            assert time.monotonic() < limit, f"it is not ready:\n{self.said[-4000:]}"
            time.sleep(0.05)

    @property
    def ready(self) -> bool:
        """Return whether it says that it is ready."""
        with suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/v2/health/ready")[0] == 200
        return False

    @property
    def model(self) -> str:
        """Return the name of its model."""
        return "darnet"

    @property
    def alive(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it by SIGKILL; wait for those that it started, which end by themselves."""
        if self.process is not None:
            below = self.processes()[1:]
            self.process.kill()
            self.process.wait()
            self.process = None
            left = psutil.wait_procs(below, timeout=ENDS_S)[1]
            assert not left, f"processes outlive it: {left}"

    def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(ENDS_S)
        self.process = None
        return code

    def reload(self) -> None:
        """Make it open its bundle again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def processes(self) -> list[psutil.Process]:
        """Return its process and those below it."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout_s: float = 60,
        **headers: str,
    ) -> tuple[int, bytes]:
        """Return status and body of an answer of its HTTP door."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return what an address gives as JSON."""
        status, body = self.ask("GET", path)
        assert status == 200, f"{path}: {status} {body[:500]!r}"
        return json.loads(body)

    def studies(self) -> list[dict[str, Any]]:
        """Return the views of all its studies."""
        found: dict[str, dict[str, Any]] = {}
        before = ""
        while True:
            page = self.get(f"/v1/scans?limit=100{before}")
            scans = page["scans"]
            new = [scan for scan in scans if scan["id"] not in found]
            found |= {scan["id"]: scan for scan in new}
            if not new:
                return list(found.values())
            before = f"&before={scans[-1]['id']}"


@contextmanager
def running(bundle: Path, folder: Path, *more: object) -> Iterator[Server]:
    """Run the service; SIGKILL ends it where nothing else did."""
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")  # for what it sends
    server = Server(bundle, folder, more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
