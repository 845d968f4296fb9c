"""Run everything that needs a GPU, in one command, and write one report.

    python -m benchmarks.gpu.run [--only PART…] [--limit SECONDS] [-o FOLDER]

Runs from a bare copy of the tree with Python ≥ 3.11, numpy, torch with CUDA, pytest, nvcc ≥ 12,
cmake and g++. A part that lacks another package is skipped, and the report names the package; its
head names all that darnet-trt[gpu-test] would install.

Each part (parts.py) is a process with a time limit, its share of what is left of `--limit`. A part
that fails, crashes or hangs is reported; the others still run. `FOLDER/report.md` and
`report.json` are rewritten after each part (default folder: gpu-report).

Exit code 0: every part that ran passed; 1: a part failed; 3: none failed, but the benchmark missed
a target or something could not be measured or tested; 2: nothing ran (no GPU, no folder for the
report, all skipped); 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from benchmarks.gpu.measuring import SKIPPED
from benchmarks.gpu.parts import MEASURED, NOT_BY_DEFAULT, PARTS, ROOT, TESTS, Part
from benchmarks.gpu.report import PartResult, machine, write_report
from darnet_trt.errors import BuildError
from darnet_trt.kernels.toolchain import find_nvcc

GRACE_S = 5  # from SIGTERM to SIGKILL
LAST_STEP_S = 30  # between the time that a part is given and its end by force
MARK = "DARNET_GPU_PART"  # in the environment of a part and of all that it starts
OURS = ("benchmarks", "darnet_trt", "tests")
Stopped = subprocess.TimeoutExpired | KeyboardInterrupt
NOTHING_RAN = 2
NOT_EVERYTHING = 3
INTERRUPTED = 130


def main() -> int:
    """Run the parts and write the report."""
    names = list(dict.fromkeys(part.name for part in PARTS))
    default = [name for name in names if name not in NOT_BY_DEFAULT]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", default=default,
                        help=f"of {', '.join(names)}")  # fmt: skip
    parser.add_argument("--limit", type=float, default=570, help="seconds for all parts")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu-report"), help="folder")
    parser.add_argument("--without-gpu", action="store_true",
                        help="try the script without a GPU: most parts are skipped")  # fmt: skip
    arguments = parser.parse_args()
    end = time.monotonic() + arguments.limit
    about = machine()
    if "GPU" not in about and not arguments.without_gpu:
        print(f"gpu: {why_no_gpu(about)}", file=sys.stderr)
        return NOTHING_RAN
    if "not installed" in about:
        print(f"not installed: {about['not installed']}")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"gpu: cannot make the folder for the report: {error}", file=sys.stderr)
        return NOTHING_RAN
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops the part, as Ctrl-C does
    parts = [part for part in PARTS if part.name in arguments.only]
    results = run_all(parts, about, arguments.out, end - time.monotonic())
    print(f"report: {arguments.out / 'report.md'}")
    return exit_code({result.status for result in results})


def why_no_gpu(about: Mapping[str, str]) -> str:
    """Return why torch sees no GPU."""
    if "torch" not in about:
        return f"torch is not installed for {sys.executable}; pip install '.[gpu-test]'"
    if about["torch"].endswith("+cpu"):
        return f"torch {about['torch']} is built without CUDA; install the build for CUDA"
    return "torch finds no NVIDIA GPU on this machine"


def run_all(
    parts: Sequence[Part], about: Mapping[str, str], out: Path, limit_s: float
) -> list[PartResult]:
    """Run each part in turn and rewrite the report after it; stop when interrupted."""
    results: list[PartResult] = []
    end = time.monotonic() + limit_s
    for done, part in enumerate(parts):
        result = perform(part, share(parts[done:], end - time.monotonic()))
        results.append(result)
        print(f"{result.part:32} {result.status:11} {result.seconds:6.1f} s  {result.reason:.120}",
              flush=True)  # fmt: skip
        write_report(out, about, results, [later.title for later in parts[done + 1 :]])
        if result.status == "interrupted":
            break
    return results


def share(parts: Sequence[Part], left_s: float) -> float:
    """Divide the seconds left among the parts by weight; return the first part's."""
    return left_s * parts[0].weight / sum(part.weight for part in parts)


def exit_code(statuses: Collection[str]) -> int:
    """Return the code of the whole command."""
    if "interrupted" in statuses:
        return INTERRUPTED
    if "failed" in statuses:
        return 1
    if "missed" in statuses or "incomplete" in statuses:
        return NOT_EVERYTHING
    return 0 if "passed" in statuses else NOTHING_RAN


def perform(part: Part, limit_s: float) -> PartResult:
    """Run one part; when its time is over, end it and all that it started."""
    if limit_s < 1:
        return PartResult(part.title, "skipped", "no time left within --limit")
    with TemporaryDirectory(prefix="darnet-gpu-") as scratch:
        folder = Path(scratch)
        seconds = f"{max(limit_s - LAST_STEP_S, 1):.0f}"
        words = [word.format(folder=folder, seconds=seconds) for word in part.command]
        started = time.monotonic()
        try:
            ended = run(words, part.environment, folder / "log", limit_s)
        except FileNotFoundError:
            return PartResult(part.title, "skipped", f"not installed: {words[0]}")
        took = round(time.monotonic() - started, 1)
        output = (folder / "log").read_text(errors="replace")
        status, reason = judge(part, ended, output, folder / TESTS)
        measured = folder / MEASURED
        content = json.loads(measured.read_text()) if measured.exists() else None
    return PartResult(part.title, status, reason, took, output, content)


def run(
    words: Sequence[str], environment: Mapping[str, str], log: Path, limit_s: float
) -> int | Stopped:
    """Run a command in a session of its own; return its exit code, or what stopped it."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    path, python_path = os.environ.get("PATH", os.defpath), os.environ.get("PYTHONPATH", "")
    with suppress(BuildError):
        path += os.pathsep + str(Path(find_nvcc()).parent)  # compute-sanitizer is there, too
    variables = {
        **os.environ, **environment, MARK: mark, "PATH": path,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), python_path))),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the machine's plugins are not ours to test
    }  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            cwd=ROOT, env=variables, start_new_session=True,
        )  # fmt: skip
    try:
        return process.wait(limit_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as stopped:
        return stopped
    finally:
        stop(process, mark)


def stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """End a process and all that it started, also in other sessions: compilers, workers."""
    for ask in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, ask)
            with suppress(subprocess.TimeoutExpired):  # the driver may hold one for ever
                process.wait(GRACE_S)
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if f"{MARK}={mark}".encode() in environ.read_bytes().split(b"\0"):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def judge(part: Part, ended: int | Stopped, output: str, tests: Path) -> tuple[str, str]:
    """Return status and reason, from how a part ended and what it printed."""
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    if isinstance(ended, KeyboardInterrupt):
        return "interrupted", last
    if isinstance(ended, subprocess.TimeoutExpired):
        return "failed", f"not done in {ended.timeout:.0f} s; last line: {last}"
    if ended < 0:
        return "failed", f"ended by {signal.Signals(-ended).name}; last line: {last}"
    if ended == 0:
        return judge_tests(tests, last) if tests.exists() else ("passed", last)
    if ended == SKIPPED:
        return "skipped", last
    if part.unsupported and part.unsupported in output:
        return "skipped", part.unsupported
    # Pytest ends with 2 where it cannot import a file; a script's last line is the error.
    missing = re.search(r"No module named '?(\w+)", output if ended == 2 else last)
    if missing and missing[1] not in OURS:
        return "skipped", f"not installed: {missing[1]}"
    return part.codes.get(ended, "failed"), last


def judge_tests(report: Path, last: str) -> tuple[str, str]:
    """Judge tests of which none failed: one that was skipped has shown nothing."""
    found = [case.find("skipped") for case in ElementTree.parse(report).iter("testcase")]
    reasons = [skipped.get("message", "") for skipped in found if skipped is not None]
    if not reasons:
        return "passed", last
    if len(reasons) == len(found):
        return "skipped", reasons[0]
    return "incomplete", f"{len(reasons)} of {len(found)} tests skipped: {reasons[0]}"


if __name__ == "__main__":
    sys.exit(main())
