"""A service in a process of its own, as a person starts it."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import psutil

from tests.cli.command import COMMAND
from tests.runtime.serving.asking import ask


class Process:
    """A running `darnet-trt serve`, and what it said."""

    def __init__(self, *words, env=None):
        self.process = subprocess.Popen(
            [COMMAND, "serve", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        self.lines = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def says(self, pattern, seconds=60):
        """Wait for a line; return its match."""
        end = time.monotonic() + seconds
        with self._said:
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                assert self.process.poll() is None or self._reader.is_alive(), self.lines
                assert self._said.wait(end - time.monotonic()), self.lines

    def ready(self):
        self.says("^ready$")
        self.http = int(self.says(r"^HTTP: https?://.*:(\d+)$")[1])
        self.dicom = int(self.says(r"^DICOM: .*:(\d+)")[1])
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def ended(self, seconds=60):
        """Wait for its end; return its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        self.process.stderr.close()
        assert not any("Traceback" in line for line in self.lines), self.lines
        return code

    def ask(self, method, path, body=None, headers=None):
        status, _, content = ask(self.http, method, path, body, headers)
        return status, content


@contextmanager
def serving(bundle, state, *words, env=None, ready=True):
    """Start it on free ports; whatever a test leaves of it is killed."""
    ports = ("--http", "127.0.0.1:0", "--dicom", "127.0.0.1:0")
    quick = ("--settle", 0.5, "--workers", 1, "--least-free", "0")
    started = Process(bundle, "--state", state, *ports, *quick, *words, env=env)
    children = []
    try:
        if ready:
            started.ready()
            children = psutil.Process(started.process.pid).children(recursive=True)
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()
        started._reader.join(10)
        started.process.stderr.close()
    assert psutil.wait_procs(children, timeout=30)[1] == [], "it left processes behind"


def until(holds, seconds=60):
    """Wait until something holds; return it."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def results(state):
    """The results that were written, the newest of each key."""
    file = state / "results" / "results.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {each["key"]: each for each in map(json.loads, lines)}
