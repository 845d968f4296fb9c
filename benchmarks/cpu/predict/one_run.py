"""One run for `benchmarks.cpu.predict.pipeline`, in its own process; prints JSON.

    python -m benchmarks.cpu.predict.one_run predict BUNDLE ARCHIVE  the pipeline, --times times
    python -m benchmarks.cpu.predict.one_run command BUNDLE ARCHIVE  the command line, into --out
    python -m benchmarks.cpu.predict.one_run engine BUNDLE           the engine alone
    python -m benchmarks.cpu.predict.one_run read BUNDLE ARCHIVE     the reading, in one thread

With --stub-ms the engine does nothing but wait.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.reading import Bundle, open_bundle, pick_artifact
from darnet_trt.runtime.engines import loading
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.engines.runner import Outputs


@dataclass(frozen=True)
class Moment:
    """Holds what was used up to now, in seconds.

    Attributes:
        time: Clock.
        busy: Processor time of this process and of all that it started.
        parent: Processor time of this process alone.
        engine: Time in the engine.
        idle: Time in which a core of this machine had nothing to do, all cores together.
    """

    time: float
    busy: float
    parent: float
    engine: float
    idle: float


class Stub:
    """A runner that waits instead of computing, as for a GPU, and gives equal logits."""

    backend, precision, batch, provenance = "openvino", "int8", (1, 1), {"device": "stub"}

    def __init__(self, wait_s: float, classes: int) -> None:
        self.wait_s = wait_s
        self.classes = classes

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Wait."""
        time.sleep(self.wait_s)
        n, (d, h, w) = len(batch), batch.shape[2:]
        logits = np.tile(np.arange(self.classes, dtype=np.float32), (n, 1))
        cam = np.zeros((n, self.classes, d // 8, h // 16, w // 16), np.float32)
        return Outputs(logits, cam)

    def close(self) -> None:
        """Do nothing."""


class Timed:
    """A runner that adds up the time in another one."""

    def __init__(self, runner: loading.Runner) -> None:
        self._runner = runner
        self.seconds = 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._runner, name)

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run, and add the time."""
        started = time.perf_counter()
        outputs = self._runner.infer(batch)
        self.seconds += time.perf_counter() - started
        return outputs


def moment(engine_s: float = 0.0) -> Moment:
    """Return what was used up to now."""
    own = psutil.Process()
    parent = _used(own)
    busy = parent + own.cpu_times().children_user + own.cpu_times().children_system
    for child in own.children(recursive=True):
        try:
            spent = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        busy += spent.user + spent.system + spent.children_user + spent.children_system
    idle = psutil.cpu_times()
    waiting = getattr(idle, "iowait", 0.0)
    return Moment(time.time(), busy, parent, engine_s, idle.idle + waiting)


def _used(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def open_engine(bundle: Bundle, arguments: argparse.Namespace) -> Engine:
    """Return the engine to run, whose time is added up."""
    if arguments.stub_ms is None:
        engine = loading.load_engine(bundle, arguments.artifact)
        return Engine(engine.artifact, Timed(engine.runner), engine.warnings)
    artifact: Artifact = pick_artifact(bundle, arguments.artifact)
    stub = Stub(arguments.stub_ms / 1000, len(bundle.manifest.classes))
    return Engine(artifact, Timed(stub))


def predict(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, object]:
    """Classify an archive through the Python API."""
    from darnet_trt.runtime.prediction.predict import predict as classify

    engine = open_engine(bundle, arguments)
    workers = {} if arguments.workers is None else {"workers": arguments.workers}
    expected = arguments.studies * arguments.times
    kept = {round(share * expected) or 1 for share in (0, 0.1, 0.9, 1)}
    moments: dict[int, Moment] = {}
    statuses: dict[str, int] = {}
    started = moment()
    places = [arguments.archive] * arguments.times
    results = classify(bundle, places, engine=engine, repeats=arguments.times > 1, **workers)
    for number, result in enumerate(results, 1):
        statuses[result.status] = statuses.get(result.status, 0) + 1
        if number in kept:
            moments[number] = moment(engine.runner.seconds)
        if number == arguments.stop_after:
            break
    results.close()
    ended = moment(engine.runner.seconds)
    return {
        "started": asdict(started),
        "moments": {number: asdict(kept) for number, kept in moments.items()},
        "ended": asdict(ended),
        "statuses": statuses,
    }


def command(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, object]:
    """Run `darnet-trt predict`; a stub takes the engine's place."""
    from darnet_trt.cli.main import main

    engine = open_engine(bundle, arguments)
    loading.load_engine = lambda *_, **__: engine
    sys.argv = ["darnet-trt", "predict", str(bundle.path), str(arguments.archive)]
    sys.argv += ["-o", str(arguments.out), "--resume"]
    started = moment()
    try:
        main()
    except SystemExit as end:
        code = end.code
    return {"started": asdict(started), "ended": asdict(moment()), "code": code}


def engine_alone(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, object]:
    """Run the engine on random input."""
    engine = open_engine(bundle, arguments)
    d, h, w = bundle.manifest.preprocessing.size
    scan = np.random.default_rng(0).random((1, 1, d, h, w), np.float32)
    started = moment()
    for _ in range(arguments.studies):
        engine.runner.infer(scan)
    return {"started": asdict(started), "ended": asdict(moment(engine.runner.seconds))}


def read_alone(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, object]:
    """Read and preprocess a share of the studies, one after the other in one thread."""
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.scan.discovery import search
    from darnet_trt.scan.loading.choice import rank
    from darnet_trt.scan.loading.load import load_best

    share_cpus()
    spec = bundle.manifest.preprocessing
    folders = sorted(folder for folder in arguments.archive.glob("*/*") if folder.is_dir())
    own = folders[arguments.share :: arguments.shares] * arguments.times
    started = moment()
    for folder in own:
        for study in search(folder).studies:
            load_best(study, rank(study), spec)
    return {"started": asdict(started), "ended": asdict(moment()), "studies": len(own)}


_MODES: dict[str, Callable[[Bundle, argparse.Namespace], dict[str, object]]] = {
    "predict": predict,
    "command": command,
    "engine": engine_alone,
    "read": read_alone,
}


def main() -> None:
    """Run what was asked for; the last line of stdout is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=_MODES)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("archive", type=Path, nargs="?")
    parser.add_argument("--artifact")
    parser.add_argument("--stub-ms", type=float)
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--share", type=int, default=0)
    parser.add_argument("--shares", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps(_MODES[arguments.mode](open_bundle(arguments.bundle), arguments)))


if __name__ == "__main__":
    main()
