"""The report of `run.py`: what came of each part, and on which machine."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.attention.clocks import clocks_mhz
from benchmarks.attention.tables import report as attention_tables
from benchmarks.gpu.parts import ROOT

LAST_LINES = 60  # of a part's output, in report.md; report.json has all
LONGEST_REASON = 200  # characters in report.md's table
PACKAGES = (
    "torch", "numpy", "triton", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt", "cuda-bindings",
    "pycuda",
)  # fmt: skip


@dataclass(frozen=True)
class PartResult:
    """The outcome of a part.

    Attributes:
        part: Its title.
        status: passed, failed, missed (a target), incomplete, skipped, interrupted.
        reason: One line, the last that it printed as a rule.
        seconds: It took.
        output: All that it printed.
        measured: What the attention benchmark measured, also before it was stopped.
    """

    part: str
    status: str
    reason: str
    seconds: float = 0
    output: str = ""
    measured: dict[str, Any] | None = None


def machine() -> dict[str, str]:
    """Describe the machine; "GPU" is there only if torch can use one."""
    device = "import torch; print(torch.cuda.get_device_name())"
    smi = ("nvidia-smi", "--query-gpu=driver_version,memory.total,compute_cap")
    found = {
        "command": " ".join(["python", "-m", "benchmarks.gpu.run", *sys.argv[1:]]),
        "commit": said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "GPU": said(sys.executable, "-c", device),
        "driver, memory, compute capability": said(*smi, "--format=csv,noheader"),
        "clocks before (MHz)": ", ".join(f"{k} {v}" for k, v in clocks_mhz().items()),
        "nvcc": said("nvcc", "--version").partition("release ")[2].partition("\n")[0],
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def said(*words: str) -> str:
    """Return what a command prints; nothing where it fails or takes longer than a minute."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def write_report(
    out: Path, about: Mapping[str, str], results: Sequence[PartResult], waiting: Sequence[str]
) -> None:
    """Write report.json and report.md.

    Args:
        out: The folder.
        about: The machine.
        results: Of the parts so far.
        waiting: Titles of the parts that have not run.
    """
    content = {"machine": about, "parts": [asdict(r) for r in results], "not_run": waiting}
    (out / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    lines = ["# What needs a GPU", "", *(f"- {name}: {value}" for name, value in about.items())]
    lines += ["", "| part | | seconds | |", "| --- | --- | ---: | --- |"]
    for r in results:
        reason = r.reason.replace("|", "/")[:LONGEST_REASON]
        lines.append(f"| {r.part} | {r.status} | {r.seconds} | {reason} |")
    lines += ["", f"Not run: {', '.join(waiting) or 'none'}."]
    for result in results:
        if result.output:
            lines += ["", f"## {result.part}: {result.status}", ""]
            if result.measured and "rows" in result.measured:
                lines += [attention_tables(result.measured), ""]
            last = result.output.rstrip().splitlines()[-LAST_LINES:]
            lines += ["```text", *last, "```"]
    (out / "report.md").write_text("\n".join(lines) + "\n")
