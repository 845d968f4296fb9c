"""The report of `run.py`: what came of each part, and on which machine."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.attention.clocks import clocks_mhz
from benchmarks.attention.tables import report as attention_tables
from benchmarks.gpu.parts import ROOT
from darnet_trt.errors import BuildError
from darnet_trt.kernels.toolchain import find_nvcc

LAST_LINES = 60  # of a part's output, in report.md; report.json has all
LONGEST_REASON = 200  # characters in report.md's table
PACKAGES = (
    "torch", "numpy", "triton", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx", "tensorrt",
    "cuda-bindings", "pycuda",
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
        "nvcc": said(nvcc(), "--version").partition("release ")[2].partition("\n")[0],
    }
    found |= {name: version_of(name) for name in PACKAGES}
    found["not installed"] = ", ".join(name for name in asked_for() if not version_of(name))
    return {name: value for name, value in found.items() if value}


def nvcc() -> str:
    """Return the compiler, also where it is not on the PATH."""
    try:
        return find_nvcc()
    except BuildError:
        return "nvcc"


def version_of(package: str) -> str:
    """Return the version of an installed package; nothing where it is absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def asked_for() -> list[str]:
    """Return the packages that darnet-trt[gpu-test] asks for, from pyproject.toml.

    Without them all, parts are skipped, each for the first package that it lacks.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    ours = re.match(r"darnet-trt\[(.+)\]", extras["gpu-test"][0])
    assert ours is not None
    wanted = [*project["dependencies"], *extras["gpu-test"][1:]]
    wanted += [name for extra in ours[1].split(",") for name in extras[extra]]
    return list(dict.fromkeys(re.split(r"[^\w.-]", name, maxsplit=1)[0] for name in wanted))


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
