"""Everything that needs a GPU, in one command and one report.

    python benchmarks/gpu.py [--only STEP…] [--limit SECONDS] [-o FOLDER]

Runs from a bare copy of the tree; nothing has to be installed but what a step needs:

    all steps                 Python ≥ 3.11, numpy, torch with CUDA, an NVIDIA GPU
    build                     nvcc ≥ 12, cmake, g++; the other steps use what it makes
    kernels, operator         pytest, ml_dtypes
    plugin                    the same, onnx, psutil
    sanitizers                compute-sanitizer beside nvcc or on the PATH
    network, training         pydantic
    onnxruntime               onnxruntime-gpu, onnx, pydantic
    tensorrt                  tensorrt_rtx, and darnet-trt itself installed

A step is a process of its own with a time budget: one that fails, crashes or hangs is reported and
the others go on. A step that lacks a package is reported as skipped, with its name. Everything is
within `--limit` (570 s); what finds no time left is skipped: name it with `--only` in another call.
`FOLDER/report.md` and `report.json` hold it all (default: gpu-report).

Exit code 0: all that ran passed; 1: a step failed, or the benchmark missed a target; 2: no GPU.
`--twins` runs what every step has for a machine without a GPU, on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SKIPPED = 75  # exit code of a step that lacks something
MISSED = 76  # … that ran, and did not reach a target
LAST_LINES = 60


# --- the steps; each in a process of its own ------------------------------------------------------


def skip(reason: str) -> NoReturn:
    """End the step: it cannot run here."""
    print(f"SKIPPED: {reason}")
    sys.exit(SKIPPED)


def need(*packages: str) -> None:
    """Skip the step where a package is missing."""
    from importlib.util import find_spec

    if missing := [name for name in packages if find_spec(name) is None]:
        skip(f"not installed: {', '.join(missing)}")


def run(*words: str | Path, **environment: str) -> None:
    """Run a program; its failure is the step's."""
    print("$", *words, flush=True)
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **environment}, check=False)
    if done.returncode != 0:
        sys.exit(f"ended with {done.returncode}")


def run_tests(on: str, words: Sequence[str], **environment: str) -> None:
    """Run tests; on a GPU one that is skipped has not shown anything."""
    print("$", *words, flush=True)
    summary, reasons = "", []
    with subprocess.Popen(
        words, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            summary = line if line.strip() else summary
            if line.startswith("SKIPPED"):
                reasons.append(line.strip())
    if process.returncode != 0:
        sys.exit(f"pytest ended with {process.returncode}: {summary.strip()}")
    if on == "cuda" and reasons:
        if " passed" in summary:
            sys.exit(f"tests were skipped: {reasons[0]}")
        skip(reasons[0].partition("] ")[2])


def pytest_words(file: str, *options: str) -> list[str]:
    """The project's tests without the project's settings, which want more packages."""
    return [
        sys.executable, "-m", "pytest", "-q", "-rs", "-c", os.devnull, "--rootdir", str(ROOT),
        "--noconftest", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestUnknownMarkWarning",
        f"tests/kernels/{file}", *options,
    ]  # fmt: skip


def build(on: str) -> None:
    """The library, for this GPU alone."""
    from darnet_trt.kernels.build import build_library
    from darnet_trt.kernels.library import Library, architecture

    architectures = None
    if on == "cuda":
        import torch

        architectures = [architecture(torch.cuda.get_device_capability())]
    path = build_library(on, architectures, log=print)  # type: ignore[arg-type]
    print(f"{path}: {Library(path).target}, {path.stat().st_size:,} bytes")
    if on == "cuda":
        from darnet_trt.kernels.resources import resources

        found = resources(path)
        spilling = [r.kernel for r in found if r.stack_bytes]
        registers = max(r.registers for r in found)
        print(
            f"{len(found)} kernels, at most {registers} registers, spilling: {spilling or 'none'}"
        )
        if spilling:
            sys.exit("registers are spilled")


def kernels(on: str) -> None:
    """The kernels against the reference: types, shapes, streams, threads, CUDA graphs."""
    need("pytest", "ml_dtypes", "torch")
    run_tests(on, pytest_words("test_on_a_device.py", "-k", f"{on} and not operator"))


def operator(on: str) -> None:
    """The torch operator: forward, backward, torch.compile, autocast, CUDA graphs."""
    need("pytest", "ml_dtypes", "torch")
    run_tests(on, pytest_words("test_on_a_device.py", "-k", f"{on} and operator"))


def plugin(on: str) -> None:
    """The plugin's whole life on device pointers, with no TensorRT."""
    need("pytest", "ml_dtypes", "onnx", "psutil")
    if on == "cpu":
        run(sys.executable, "-m", "pytest", "-q", "tests/kernels/test_plugin_host.py", "-k", "life")
        return
    from darnet_trt.kernels.build import find_nvcc

    path = os.pathsep.join((str(Path(find_nvcc()).parent), os.environ["PATH"]))
    run_tests(on, pytest_words("test_plugin_host.py", "-m", "gpu"), PATH=path)


def sanitizers(on: str) -> None:
    """compute-sanitizer's four tools over the kernels of odd shapes and all types."""
    need("pytest", "ml_dtypes", "torch")
    if on == "cpu":
        run_tests(on, pytest_words("test_sanitizers.py", "-k", "odd"))
        return
    from darnet_trt.kernels.build import find_nvcc

    beside = Path(find_nvcc()).with_name("compute-sanitizer")
    tool = shutil.which("compute-sanitizer") or shutil.which(beside)
    if tool is None:
        skip("no compute-sanitizer beside nvcc or on the PATH")
    tests = pytest_words("test_on_a_device.py", "-k", "cuda and (combination or test_shapes)")
    failed = []
    for check in ("memcheck", "racecheck", "initcheck", "synccheck"):
        print(f"--- {check}", flush=True)
        words = [tool, "--tool", check, "--error-exitcode", "9", "--print-limit", "5", *tests]
        try:
            # Else torch takes one large block, in which nothing is out of bounds.
            run_tests(on, words, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
        except SystemExit as ended:  # go on with the next tool
            failed.append(f"{check}: {ended.code}")
        else:
            print(f"{check}: clean")
    if failed:
        sys.exit(f"not clean: {'; '.join(failed)}")


def benchmark(on: str) -> None:
    """benchmarks/attention.py: bandwidth, rivals, targets."""
    need("torch")
    found = _folder() / "attention.json"
    found.unlink(missing_ok=True)  # of an earlier run
    words = [sys.executable, "benchmarks/attention.py", "-o", str(found)]
    if on == "cpu":
        words += ["--batch", "1"]
    done = subprocess.run(words, cwd=ROOT, check=False)
    if done.returncode in (3, 4):
        print("a target was not reached, or not measured")
        sys.exit(MISSED)
    sys.exit(done.returncode)


def network(on: str) -> None:
    """The paper's network in torch: the layers as written and fused, eager and compiled."""
    need("pydantic", "torch")
    import torch

    from darnet_trt.training.model import DARNet

    shape, dtype = _network(on), torch.float16 if on == "cuda" else torch.float32
    order = {"memory_format": torch.channels_last_3d}
    x = torch.rand(1, 1, *shape.input_size, device=on, dtype=dtype).to(**order)
    runs: dict[str, Callable[[Any], Any]] = {}
    for name, fused in (("paper's layers", False), ("fused", True)):
        torch.manual_seed(0)
        model = DARNet(shape, fused=fused).to(on, dtype).to(**order).eval()
        runs[f"{name}, eager"] = model
        if on == "cuda":
            runs[f"{name}, compiled"] = torch.compile(model)
    reference = None
    turns: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for name, model in runs.items():
            logits, _ = model(x)
            reference = logits if reference is None else reference
            difference = float((logits - reference).abs().max() / reference.abs().max())
            print(f"{name}: logits differ from the paper's layers by {difference:.1e}, relative")
            if not difference < 0.02:
                sys.exit("the logits differ too much")
        for _ in range(20 if on == "cuda" else 2):
            for name, model in runs.items():
                turns[name].append(_seconds(on, lambda m=model: m(x)))  # type: ignore[misc]
    for name, seconds in turns.items():
        print(f"{name}: {sorted(seconds)[len(seconds) // 2] * 1e3:.2f} ms a volume (median)")


def training(on: str) -> None:
    """A training step of the paper's network: batch 4, automatic mixed precision."""
    need("pydantic", "torch")
    import torch
    from torch.nn.functional import cross_entropy

    from darnet_trt.training.model import DARNet

    shape, order = _network(on), {"memory_format": torch.channels_last_3d}
    x = torch.rand(4, 1, *shape.input_size, device=on).to(**order)
    y = torch.tensor([0, 1, 2, 0], device=on)
    for name, fused in (("paper's layers", False), ("fused", True)):
        torch.manual_seed(0)
        model = DARNet(shape, fused=fused).to(on).to(**order).train()
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        scaler = torch.amp.GradScaler(on, enabled=on == "cuda")

        def step(model: Any = model, optimizer: Any = optimizer, scaler: Any = scaler) -> None:
            with torch.autocast(on, torch.float16, enabled=on == "cuda"):
                loss = cross_entropy(model(x)[0], y)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if not loss.isfinite():
                sys.exit(f"the loss is {loss}")

        if on == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step()
        seconds = sorted(_seconds(on, step) for _ in range(7 if on == "cuda" else 2))
        peak = torch.cuda.max_memory_allocated() / 2**30 if on == "cuda" else float("nan")
        print(f"{name}: {seconds[len(seconds) // 2] * 1e3:.0f} ms a step, {peak:.2f} GiB at most")
        del model, optimizer, scaler, step


def onnxruntime(on: str) -> None:
    """The exported graph in ONNX Runtime on the GPU against its CPU provider."""
    need("onnxruntime", "onnx", "pydantic", "torch")
    import numpy as np
    import torch

    from darnet_trt.runtime.onnxruntime_import import import_onnxruntime

    ort = import_onnxruntime()

    provider = "CUDAExecutionProvider" if on == "cuda" else "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        skip(f"this onnxruntime has no {provider}: {ort.get_available_providers()}")
    if on == "cuda" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN as torch brought them
    from darnet_trt.export.graph import build_graph
    from darnet_trt.export.weights import folded
    from darnet_trt.training.model import DARNet

    torch.manual_seed(0)
    shape = _network(on)
    graph = build_graph(shape, folded(DARNet(shape).eval()), "fp32", {}).SerializeToString()
    x = np.random.default_rng(0).random((1, 1, *shape.input_size), np.float32)
    sessions = {
        name: ort.InferenceSession(graph, providers=[name])
        for name in dict.fromkeys((provider, "CPUExecutionProvider"))
    }
    used = sessions[provider].get_providers()
    if used[0] != provider:
        sys.exit(f"asked for {provider}, got {used}")
    feed = {sessions[provider].get_inputs()[0].name: x}
    results = {name: session.run(None, feed) for name, session in sessions.items()}
    expected = results["CPUExecutionProvider"][0]
    difference = float(np.abs(results[provider][0] - expected).max() / np.abs(expected).max())
    seconds = sorted(_seconds("cpu", lambda: sessions[provider].run(None, feed)) for _ in range(5))
    print(f"onnxruntime {ort.__version__} {provider}: {seconds[2] * 1e3:.1f} ms a volume")
    print(f"logits differ from the CPU's by {difference:.1e}, relative")
    if not difference < 5e-3:  # convolutions in TF32
        sys.exit("the logits differ too much")


def tensorrt(on: str) -> None:
    """A TensorRT-RTX plan with the plugin, built and run by the project's own commands."""
    need("tensorrt_rtx", "onnx", "pydantic", "typer", "torch")
    sys.path.insert(0, str(ROOT / "tests" / "export"))
    from networks import TINY, trained_like

    from darnet_trt.training.checkpoint import save_checkpoint

    folder = _folder() / "tensorrt"
    save_checkpoint(trained_like(TINY), folder / "run")
    command = "from darnet_trt.cli.main import main; main()"
    options = ("--force", "--target", "tensorrt-rtx:portable", "--plugin", "on")
    run(sys.executable, "-c", command, "build", folder / "run", "-o", folder / "bundle", *options)
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    plans = [a for a in manifest["artifacts"] if a["backend"] == "tensorrt-rtx"]
    for plan in plans:
        print(json.dumps({k: v for k, v in plan.items() if k != "sha256"}, indent=1))
    if not plans:
        sys.exit("no plan was built")
    if not all(plan["executed"] for plan in plans):
        skip("the plan was built with the plugin; the log above says why it did not run here")


def _folder() -> Path:
    return Path(os.environ["DARNET_GPU_REPORT"])


def _network(on: str) -> Any:
    from darnet_trt.training.model import Network

    return Network() if on == "cuda" else Network(width=4, input_size=(8, 32, 32))


def _seconds(on: str, call: Callable[[], Any]) -> float:
    import torch

    if on == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if on == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


STEPS: dict[str, tuple[Callable[[str], None], int]] = {
    # Name: what it does, and its seconds at most; in the order of what matters most.
    "build": (build, 150),
    "kernels": (kernels, 120),
    "operator": (operator, 120),
    "plugin": (plugin, 90),
    "benchmark": (benchmark, 240),
    "sanitizers": (sanitizers, 240),
    "network": (network, 150),
    "training": (training, 90),
    "onnxruntime": (onnxruntime, 60),
    "tensorrt": (tensorrt, 120),
}


# --- running and reporting them -------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What came of a step: passed, failed, missed, skipped; and the end of what it printed."""

    step: str
    status: str
    reason: str
    seconds: float
    output: str


def perform(step: str, on: str, out: Path, budget_s: float) -> Outcome:
    """Run one step in a process of its own; when its time is over, it and its children end."""
    if budget_s < 1:
        return Outcome(step, "skipped", "no time left within --limit", 0, "")
    log = out / f"{step}.log"
    started = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, __file__, "--step", step, "--on", on],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
            env={
                **os.environ,
                "DARNET_GPU_REPORT": str(out),
                "PYTHONPATH": os.pathsep.join(
                    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
                ),
                "PYTHONUNBUFFERED": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        try:
            code: int | None = process.wait(budget_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = log.read_text(errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    status, reason = {
        0: ("passed", ""),
        SKIPPED: ("skipped", last.removeprefix("SKIPPED: ")),
        MISSED: ("missed", last),
        None: ("failed", f"not done in {budget_s:.0f} s"),
    }.get(code, ("failed", last))
    if code is not None and code < 0:
        reason = f"ended by {signal.Signals(-code).name}; last said: {last}"
    seconds = round(time.monotonic() - started, 1)
    return Outcome(step, status, reason, seconds, "\n".join(lines[-LAST_LINES:]))


def machine() -> dict[str, str]:
    """What the numbers were made on."""
    found = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "GPU": _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total,compute_cap",
                     "--format=csv,noheader"),
        "nvcc": _said("nvcc", "--version"),
        "commit": _said("git", "-C", str(ROOT), "rev-parse", "HEAD"),
    }  # fmt: skip
    found["nvcc"] = next((s for s in found["nvcc"].splitlines() if "release" in s), "")
    from importlib.metadata import PackageNotFoundError, version

    for package in ("torch", "numpy", "triton", "onnxruntime-gpu", "tensorrt-rtx"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _said(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_report(out: Path, about: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    """report.md and report.json, rewritten after each step."""
    command = " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]])
    content = {"command": command, "machine": about, "steps": [asdict(o) for o in outcomes]}
    measured = out / "attention.json"
    if measured.exists():
        content["attention"] = json.loads(measured.read_text())
    (out / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    lines = ["# What needs a GPU", "", f"    {command}", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "| step | | seconds | |", "| --- | --- | ---: | --- |"]
    lines += [f"| {o.step} | {o.status} | {o.seconds} | {o.reason} |" for o in outcomes]
    for o in outcomes:
        if o.output:
            lines += ["", f"## {o.step}: {o.status}", ""]
            tables = o.step == "benchmark" and o.status in ("passed", "missed")
            lines += [o.output] if tables else ["```text", o.output, "```"]
    (out / "report.md").write_text("\n".join(lines) + "\n")


def has_gpu() -> bool:
    """Whether torch sees one; asked in another process, which then holds no GPU memory."""
    code = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def main() -> int:
    """Run the steps, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", default=list(STEPS),
                        help=f"of {', '.join(STEPS)}")  # fmt: skip
    parser.add_argument("--limit", type=float, default=570, help="seconds for all of it")
    parser.add_argument("-o", "--out", type=Path, default=Path("gpu-report"), help="folder")
    parser.add_argument("--twins", action="store_true", help="on the CPU, without a GPU")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--on", default="cuda", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        STEPS[arguments.step][0](arguments.on)
        return 0
    on = "cpu" if arguments.twins else "cuda"
    if on == "cuda" and not has_gpu():
        print("gpu: no NVIDIA GPU that torch can use on this machine", file=sys.stderr)
        return 2
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    about, outcomes = machine(), list[Outcome]()
    end = time.monotonic() + arguments.limit
    for step in STEPS:
        if step not in arguments.only:
            continue
        outcome = perform(step, on, out, min(STEPS[step][1], end - time.monotonic()))
        outcomes.append(outcome)
        print(f"{step:12} {outcome.status:8}{outcome.seconds:6.1f} s  {outcome.reason}", flush=True)
        write_report(out, about, outcomes)
    print(f"report: {out / 'report.md'}")
    return int(any(o.status in ("failed", "missed") for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
