"""Read the times of an earlier benchmark from its report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.report.environment import environment
from darnet_trt.runtime.bench.report.files import REPORT
from darnet_trt.runtime.bench.report.schema import BenchReport

_SHORTEST_MS: Final = 1e-6
"""A step of the clock."""
_MAKE: Final = "make one with darnet-trt bench -o FOLDER"


class StoredLatencies(NamedTuple):
    """The latencies of a stored configuration, in order.

    Attributes:
        ms: Its own.
        yardstick_ms: Those of the yardstick; None on a GPU, of which it says nothing.
    """

    ms: tuple[float, ...]
    yardstick_ms: tuple[float, ...] | None


def read_baseline(path: Path) -> BenchReport:
    """Read the report of an earlier benchmark.

    Args:
        path: The folder of its `-o`, or `report.json` in it.

    Raises:
        UsageError: It is none, or of another version of the format.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        return BenchReport.model_validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise UsageError("there is no such file", where=file, do=_MAKE) from error
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=file, do=_MAKE) from error
    except ValidationError as error:
        raise UsageError("is no report of this version's bench", where=file, do=_MAKE) from error


def stored_latencies(
    baseline: BenchReport, name: str, threads: int | None, *, on_gpu: bool = False
) -> StoredLatencies:
    """Return the latencies of a configuration in a baseline.

    Args:
        baseline: From `read_baseline`.
        name: The configuration.
        threads: The engines' now.
        on_gpu: Whether the configuration runs on a GPU.

    Raises:
        UsageError: The baseline was measured on another machine or with other threads, lacks the
            configuration, or holds times that are not positive numbers.
    """
    now, then = environment(0.0, command="", threads=threads), baseline.environment
    for what, there, here in (
        ("CPU", then.cpu.name, now.cpu.name),
        ("number of CPUs", then.cpus_allowed, now.cpus_allowed),
        ("GPU", [gpu.name for gpu in then.gpus], [gpu.name for gpu in now.gpus]),
        ("number of threads", then.threads, threads),
    ):
        if there != here:
            raise UsageError(
                f"was measured with another {what} ({_shown(there)}, and here {_shown(here)})",
                where="--baseline",
                do="measure it here",
            )
    yardstick_ms = None if on_gpu else baseline.yardstick_ms or ()
    found = {
        one.name: StoredLatencies(one.latency.samples_ms, yardstick_ms)
        for one in baseline.configurations
        if one.latency and yardstick_ms != ()  # an interruption may come before these
    }
    if name not in found:
        others = f", only of {', '.join(found)}" if found else ""
        raise UsageError(
            f"holds no times of {name}{others}",
            where="--baseline",
            do="measure the same engine and batch",
        )
    stored = found[name]
    if not all(_SHORTEST_MS <= ms < math.inf for ms in (*stored.ms, *(stored.yardstick_ms or ()))):
        raise UsageError(
            "holds times that nothing can take", where="--baseline", do="measure it anew"
        )
    return stored


def _shown(value: object) -> object:
    return "not given" if value is None else value or "none"
