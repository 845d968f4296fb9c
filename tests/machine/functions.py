"""What the children of test_worker.py run."""

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import psutil

from darnet_trt.errors import MissingPackageError
from darnet_trt.machine.shared_arrays import Slot
from darnet_trt.machine.worker import tell

prepared = 0


def prepare() -> None:
    global prepared
    prepared += 1


def identity() -> tuple[int, int]:
    return os.getpid(), prepared


def add(a: int, b: int) -> int:
    return a + b


def doubled(given: dict[str, Any]) -> Any:
    return given, 2 * np.asarray(given["a"][0])


def say(*lines: str) -> None:
    for line in lines:
        tell(line)


def fail() -> NoReturn:
    raise KeyError("nowhere")


def lack() -> NoReturn:
    raise MissingPackageError("openvino", extra="cpu")


def print_much() -> str:
    print("x" * 200_000)
    print("y" * 200_000, file=sys.stderr)
    os.write(1, b"from a library\n" * 10_000)
    return "value"


def read_stdin() -> str:
    return sys.stdin.read()


def kill_until(marks: str, times: int) -> int:
    """Kill this process, unless it has been done so often; return how often."""
    path = Path(marks)
    done = path.stat().st_size if path.exists() else 0
    if done < times:
        path.write_bytes(b"x" * (done + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return done


def segv() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def segv_with(content: bytes) -> None:
    ctypes.string_at(0)


def abort() -> None:
    os.write(2, b"last words\n")
    os.abort()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(0)


def close_everything_and_hang() -> None:
    os.closerange(0, 64)
    time.sleep(3600)


def return_a_lock() -> object:
    return threading.Lock()


def sleep() -> None:
    time.sleep(3600)


def wait_a_moment() -> float:
    """Return the milliseconds that it took."""
    start = time.perf_counter()
    time.sleep(0.01)
    return (time.perf_counter() - start) * 1000


def sleep_with_the_gil() -> None:
    ctypes.PyDLL(None).sleep(3600)


def square_or_die(n: int) -> int:
    if n == 4:
        segv()
    return n * n


def sleep_unless_zero(n: int) -> int:
    if n:
        sleep()
    return n


def fail_at_five(n: int) -> int:
    if n == 5:
        fail()
    return n


def meet(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def meet_another(folder: str) -> int:
    """Wait until two processes have come; return this one's number."""
    here = Path(folder)
    here.mkdir(exist_ok=True)
    (here / str(os.getpid())).touch()
    while len([*here.iterdir()]) < 2:
        time.sleep(0.01)
    return os.getpid()


def wait_for(file: str) -> None:
    while not Path(file).exists():
        time.sleep(0.01)


def append(file: str, word: str) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{word}\n")


def brothers() -> int:
    """Return how many children the parent has."""
    return len([p for p in psutil.Process(os.getppid()).children() if __name__ in p.cmdline()])


def fill(slot: Slot) -> None:
    slot.array()[:] = np.arange(100)
