"""What every step of `gpu.py` has: how it ends, its time, and the programs and tests it runs.

A step is a process of its own; its exit code says what came of it, its last line why.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = 75  # it lacks something
MISSED = 76  # it ran, and did not reach a target
INCOMPLETE = 77  # it ran, and not everything could be measured
NOTE = "NOTE: "  # begins the last line of a step that passed, where the report shall have it

_BEGAN = time.monotonic()


def skip(reason: str) -> NoReturn:
    """End the step: it cannot run here."""
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def installed(*packages: str) -> list[str]:
    """Those of the packages that are here, by their import names."""
    from importlib.util import find_spec

    found = []
    for name in packages:
        with suppress(ModuleNotFoundError):  # the package that it is a part of
            found += [name] if find_spec(name) else []
    return found


def need(*packages: str) -> None:
    """Skip the step where a package is missing."""
    here = installed(*packages)
    if missing := [name for name in packages if name not in here]:
        skip(f"not installed: {', '.join(missing)}")


def folder() -> Path:
    """Where the report and what belongs to it go."""
    return Path(os.environ["DARNET_GPU_REPORT"])


def seconds_left() -> float:
    """Until this step is ended."""
    return float(os.environ["DARNET_GPU_SECONDS"]) - (time.monotonic() - _BEGAN)


def run(*words: str | Path, **environment: str) -> None:
    """Run a program; its failure is the step's."""
    print("$", *words, flush=True)
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, check=False)
    if done.returncode == SKIPPED:
        sys.exit(SKIPPED)
    if done.returncode != 0:
        sys.exit(f"ended with {done.returncode}")


def run_tests(
    on: str,
    words: Sequence[str | Path],
    meanings: Mapping[int, str] = MappingProxyType({}),
    **environment: str,
) -> None:
    """Run tests; on a GPU one that is skipped has not shown anything.

    Args:
        on: "cuda" or "cpu".
        words: The command.
        meanings: Of exit codes that are not pytest's.
        environment: What differs from this process's.
    """
    print("$", *words, flush=True)
    summary, reasons = "", []
    # A machine's own plugins of pytest are no part of what is tested.
    all_of_it = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    with subprocess.Popen(
        words, cwd=ROOT, env=all_of_it, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            summary = line if line.strip() else summary
            if line.startswith("SKIPPED"):
                reasons.append(line.strip())
    if process.returncode != 0:
        code = process.returncode
        sys.exit(meanings.get(code) or f"pytest ended with {code}: {summary.strip()}")
    if on == "cuda" and reasons:
        if " passed" in summary:
            sys.exit(f"tests were skipped: {reasons[0]}")
        skip(reasons[0].partition("] ")[2])


def pytest_words(file: str, *options: str) -> list[str]:
    """Tests, of a file under tests/, without the project's settings, which want more packages."""
    return [
        sys.executable, "-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", str(ROOT),
        "--noconftest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnknownMarkWarning",
        f"tests/{file}", *options,
    ]  # fmt: skip


def all_parts(parts: Mapping[str, Callable[[], None]]) -> None:
    """Run the parts of a step, each whatever becomes of the others; then say what did not pass.

    The step fails with any part, and is skipped where all of them are.
    """
    failed, skipped = [], []
    for name, part in parts.items():
        print(f"--- {name}", flush=True)
        try:
            part()
        except SystemExit as ended:
            if ended.code == SKIPPED:
                skipped.append(name)
            elif ended.code:
                failed.append(f"{name}: {ended.code}")
    if failed:
        sys.exit("; ".join(failed))
    if len(skipped) == len(parts):
        skip(f"{', '.join(skipped)}: the log says why")
    if skipped:
        print(f"{NOTE}skipped: {', '.join(skipped)}: the log says why")


def elapsed(on: str, call: Callable[[], Any]) -> float:
    """Seconds of a call, with all that it left to the GPU."""
    import torch

    if on == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if on == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
