"""Readers that die, hang or want all memory at one scan: most of them where it is called "b".

The process that reads imports them by name, as it does the real one.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.runtime.prediction.pipeline import loading
from darnet_trt.scan.loading import load
from darnet_trt.scan.loading.load import load_best, load_study
from darnet_trt.training import inputs

judge = load.judge_pixels
prepare = inputs._prepare_one


def segv() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def abort() -> None:
    os.abort()


def leave() -> None:
    os._exit(0)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_memory() -> None:
    """Ask for more than a reader may have, piece by piece; no page is touched."""
    kept = [np.empty((64, 1024, 1024), np.uint8) for _ in range(64)]
    assert kept


def ask_for_too_much() -> None:
    np.ones((1 << 14, 1 << 10, 1 << 10), np.float32)


def blame_the_library() -> None:
    try:
        raise RuntimeError("ITK: std::bad_alloc")
    except RuntimeError as error:
        raise ValueError("cannot be read") from error


def divide() -> None:
    raise ZeroDivisionError("division by\nzero")


def hang() -> None:
    time.sleep(3600)


def load_or(way: str, *arguments: Any) -> Any:
    return _load_with(lambda study: study.path.name != "b" or globals()[way](), arguments)


def load_when_killed_once(file: Path, *arguments: Any) -> Any:
    return _load_with(lambda study: study.path.name != "b" or write_pid_and_hang(file), arguments)


def use_a_gigabyte_first(*arguments: Any) -> Any:
    return _load_with(lambda study: use_a_gigabyte(), arguments)


def _load_with(before: Callable[[Any], object], arguments: tuple[Any, ...]) -> Any:
    """Load a study as the pipeline does, but do something first where its pixels are read."""

    def best(study: Any, ranked: Any, spec: Any, *, into: Any) -> Any:
        before(study)
        return load_best(study, ranked, spec, into=into)

    loading.load_best = best  # in the child alone
    return loading.load(*arguments)


def study_or(way: str, place: Path, study: Any, spec: Any, *, identify: bool) -> Any:
    if study.path == place:
        globals()[way]()
    return load_study(study, spec, identify=identify)


def prepare_or(way: str, entry: Any, spec: Any, file: Path) -> None:
    if entry.scan.name == "b":
        globals()[way]()
    prepare(entry, spec, file)


def judge_or(way: str, series: Any, spec: Any) -> Any:
    if series.path.name == "b":
        globals()[way]()
    return judge(series, spec)


def write_pid_and_hang(file: Path) -> None:
    file.with_suffix(".new").write_text(str(os.getpid()))
    file.with_suffix(".new").rename(file)
    hang()


def throw(error: Exception) -> None:
    raise error


def use_a_gigabyte() -> int:
    return np.empty(1 << 30, np.uint8).size


def number_or_death(n: int) -> int:
    if n == 1:
        segv()
    if n == 2:
        ask_for_too_much()
    if n == 3:
        raise UsageError("no such file or folder")
    if n == 4:
        divide()
    return n * n
