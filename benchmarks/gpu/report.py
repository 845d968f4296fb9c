"""What came of `gpu.py`'s steps, on which machine: report.md and report.json."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.attention.clocks import clocks_mhz
from benchmarks.attention.tables import report as attention_report
from benchmarks.gpu.step_process import ROOT

MEASURED = "attention.json"
PACKAGES = (
    "torch", "numpy", "triton", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt", "cuda-bindings",
    "pycuda",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Attributes:
        step: Its name.
        status: passed, failed, missed (a target), incomplete, skipped, interrupted.
        reason: One line, where there is something to say.
        seconds: That it took.
        output: The end of what it printed.
    """

    step: str
    status: str
    reason: str
    seconds: float
    output: str


def machine() -> dict[str, str]:
    """What the numbers were made on."""
    found = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "GPU": _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap",
                     "--format=csv,noheader"),
        "clocks before": clocks_line(clocks_mhz()),
        "nvcc": _said("nvcc", "--version"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }  # fmt: skip
    found["nvcc"] = next((s for s in found["nvcc"].splitlines() if "release" in s), "")
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def clocks_line(clocks: dict[str, int]) -> str:
    """The GPU's clocks in words; empty where they are not known."""
    known = {name: f"{mhz} MHz" for name, mhz in clocks.items()}
    if not known:
        return ""
    sm, memory, most_sm, most_memory = (
        known.get(name, "unknown") for name in ("sm", "memory", "sm_max", "memory_max")
    )
    return f"SM {sm} of at most {most_sm}, memory {memory} of at most {most_memory}"


def _said(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_report(
    out: Path,
    command: str,
    about: dict[str, str],
    outcomes: Sequence[Outcome],
    not_asked: Sequence[str],
) -> None:
    """Both files, rewritten after each step.

    Args:
        out: The folder.
        command: What was called.
        about: The machine.
        outcomes: Of the steps so far.
        not_asked: Steps that were left out.
    """
    content: dict[str, Any] = {
        "command": command,
        "machine": about,
        "steps": [asdict(outcome) for outcome in outcomes],
        "not_asked_for": list(not_asked),
    }
    measured = out / MEASURED
    if any(outcome.step == "benchmark" for outcome in outcomes) and measured.exists():
        content["attention"] = json.loads(measured.read_text())
    (out / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    lines = ["# What needs a GPU", "", f"    {command}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "| step | | seconds | |", "| --- | --- | ---: | --- |"]
    lines += [f"| {o.step} | {o.status} | {o.seconds} | {o.reason} |" for o in outcomes]
    if not_asked:
        lines += ["", f"Not asked for: {', '.join(not_asked)}."]
    for o in outcomes:
        if o.output:
            lines += ["", f"## {o.step}: {o.status}", "", *_told(o, content)]
    (out / "report.md").write_text("\n".join(lines) + "\n")


def _told(outcome: Outcome, content: dict[str, Any]) -> list[str]:
    """A step's output; the benchmark's tables from what it measured, so far as it came."""
    log = ["```text", outcome.output, "```"]
    measured = content.get("attention", {})
    if outcome.step != "benchmark" or "rows" not in measured:
        return log
    tables = [attention_report(measured)]
    return [*tables, "", *log] if outcome.status in ("failed", "interrupted") else tables
