"""Everything that needs a GPU, in one command and one report.

    python -m benchmarks.gpu.run [--only STEP…] [--limit SECONDS] [-o FOLDER]

Runs from a bare copy of the tree; nothing has to be installed but what a step needs:

    all steps                 Python ≥ 3.11, numpy, torch with CUDA, an NVIDIA GPU
    build                     nvcc ≥ 12, cmake, g++; the other steps use what it makes
    kernels, operator         pytest, ml_dtypes
    memory                    pytest, psutil, and cuda-python or pycuda
    plugin                    what kernels needs, and onnx
    network, training         pydantic
    tensorrt                  tensorrt_rtx, cuda-python, and darnet-trt itself installed
    plans                     the same, or tensorrt and pycuda in their place
    onnxruntime               onnxruntime-gpu, onnx, pydantic
    sanitizers                compute-sanitizer beside nvcc or on the PATH
    sanitizers-all            the same, with all four tools and all shapes: only where it is named

A step is a process of its own with a time budget, its share of what is left of `--limit` (570 s):
one that fails, crashes or hangs is reported and the others go on. A step that lacks a package is
reported as skipped, with its name. `FOLDER/report.md` and `report.json` hold it all (default:
gpu-report).

Exit code 0: all that ran passed; 1: a step failed; 3: none failed, but the benchmark missed a
target or could not measure all; 2: nothing ran (no GPU, no folder for the report, all skipped);
130: interrupted.
`--twins` runs what every step has for a machine without a GPU, on the CPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.gpu.report import MEASURED, Outcome, machine, write_report
from benchmarks.gpu.step_process import INCOMPLETE, MISSED, NOTE, ROOT, SKIPPED
from benchmarks.gpu.steps import STEPS

STEP_COMMAND = ("-m", "benchmarks.gpu.steps")
LAST_LINES = 60
GRACE_S = 5  # for a step that is asked to end
NOTHING_RAN = 2
NOT_ALL_TARGETS = 3
INTERRUPTED = 130


def perform(step: str, on: str, out: Path, budget_s: float) -> Outcome:
    """Run one step in a process of its own; when its time is over, it and its children end."""
    if budget_s < 1:
        return Outcome(step, "skipped", "no time left within --limit", 0, "")
    log = out / f"{step}.log"
    started = time.monotonic()
    code: int | None = None
    interrupted = False
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *STEP_COMMAND, step, on],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
            env=environment(out, budget_s),
        )
        try:
            code = process.wait(budget_s)
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            interrupted = True
        finally:
            if process.poll() is None:
                stop(process)
    lines = log.read_text(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    status, reason = ("interrupted", "") if interrupted else ending(code, last, budget_s)
    seconds = round(time.monotonic() - started, 1)
    return Outcome(step, status, reason, seconds, "\n".join(lines[-LAST_LINES:]))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the leader of a session and its children, which may have started others elsewhere.

    Asked first, they end those: a compiler is in a session of its own.
    """
    os.killpg(process.pid, signal.SIGINT)
    end = time.monotonic() + GRACE_S
    with suppress(ProcessLookupError):  # nobody is left
        while time.monotonic() < end:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(out: Path, budget_s: float) -> dict[str, str]:
    """A step's: the tree in place of an installation, its folder, its time."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "DARNET_GPU_REPORT": str(out),
        "DARNET_GPU_SECONDS": f"{budget_s:.1f}",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def ending(code: int | None, last: str, budget_s: float) -> tuple[str, str]:
    """Status and reason, from the exit code (None: its time was over) and the last line."""
    if code is None:
        return "failed", f"not done in {budget_s:.0f} s"
    if code < 0:
        return "failed", f"ended by {signal.Signals(-code).name}; last said: {last}"
    if code == 0:
        return "passed", last.removeprefix(NOTE) if last.startswith(NOTE) else ""
    status = {SKIPPED: "skipped", MISSED: "missed", INCOMPLETE: "incomplete"}.get(code, "failed")
    return status, last.removeprefix("SKIPPED: ")


def budget(steps: Sequence[str], left_s: float) -> float:
    """Seconds of the first of the steps, by its share among those that are still to run."""
    return left_s * STEPS[steps[0]].share / sum(STEPS[step].share for step in steps)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Of the whole command."""
    statuses = {outcome.status for outcome in outcomes}
    if "interrupted" in statuses:
        return INTERRUPTED
    if "failed" in statuses:
        return 1
    if statuses & {"missed", "incomplete"}:
        return NOT_ALL_TARGETS
    return 0 if "passed" in statuses else NOTHING_RAN


def has_gpu() -> bool:
    """Whether torch sees one; asked in another process, which then holds no GPU memory."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def main() -> int:
    """Run the steps, write the report."""
    default = [name for name, step in STEPS.items() if step.by_default]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", default=default,
                        help=f"of {', '.join(STEPS)}")  # fmt: skip
    parser.add_argument("--limit", type=float, default=570, help="seconds for all of it")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu-report"), help="folder")
    parser.add_argument("--twins", action="store_true", help="on the CPU, without a GPU")
    arguments = parser.parse_args()
    on = "cpu" if arguments.twins else "cuda"
    if on == "cuda" and not has_gpu():
        print("gpu: no NVIDIA GPU that torch can use on this machine", file=sys.stderr)
        return NOTHING_RAN
    out = arguments.out.resolve()
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MEASURED).unlink(missing_ok=True)  # of an earlier run
    except OSError as error:
        print(f"gpu: no folder for the report: {error}", file=sys.stderr)
        return NOTHING_RAN
    outcomes = perform_all([s for s in STEPS if s in arguments.only], on, out, arguments.limit)
    print(f"report: {out / 'report.md'}")
    return exit_code(outcomes)


def perform_all(steps: Sequence[str], on: str, out: Path, limit_s: float) -> list[Outcome]:
    """Each step in turn; one that is interrupted ends it, and those after it are skipped."""
    command = " ".join(["python", "-m", "benchmarks.gpu.run", *sys.argv[1:]])
    about, outcomes = machine(), list[Outcome]()
    end = time.monotonic() + limit_s
    for done, step in enumerate(steps):
        outcome = perform(step, on, out, budget(steps[done:], end - time.monotonic()))
        outcomes.append(outcome)
        if outcome.status == "interrupted":
            rest = steps[done + 1 :]
            outcomes += [Outcome(s, "skipped", "interrupted before it", 0, "") for s in rest]
        print(
            f"{step:14} {outcome.status:11}{outcome.seconds:6.1f} s  {outcome.reason}", flush=True
        )
        write_report(out, command, about, outcomes, [s for s in STEPS if s not in steps])
        if outcome.status == "interrupted":
            break
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
