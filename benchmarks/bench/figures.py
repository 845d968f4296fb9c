"""Print every figure of `bench`, each beside its target, as Markdown.

    python -m benchmarks.bench.figures --bundle BUNDLE [--only PART …] [--scans SCAN …]
        [--full-size FOLDER] [--short]

Each part prints the command that runs it alone. One that fails says so, and the others go on. The
exit code is 1 where a target is missed or a part failed.

BUNDLE is a small one, such as `make demo` builds. FOLDER holds the bundles of
`benchmarks.cpu.network.full_size`, and gets them where it does not. `--short` shows within two
minutes that everything works, with BUNDLE as the full size; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.bench.targets import Target, judged
from benchmarks.cpu.network.engines import SPEED_UPS
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.hardware import cpu
from darnet_trt.runtime.bench.signs.doubts import doubts
from darnet_trt.runtime.bench.signs.watch import Watch

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("DARNET_TEST_DATA", ROOT.parent / "shared" / "data"))
SCANS = ("chest-8mm", "chest-4mm-64px")
FULL_SIZE = {
    "bundle": ("The paper's network", "", "openvino-fp32"),
    "int8": ("The paper's network in int8", "openvino-int8", "onnxruntime-int8", "openvino-fp32"),
}
"""Bundle, which names the part → its heading, the engine with targets (the default where it is
empty), and others to measure."""


class Part(NamedTuple):
    """One section.

    Attributes:
        name: For `--only`.
        heading: Of the section.
        module: Its `main` takes the words, prints tables and returns targets.
        words: Of the command that runs it alone.
        full_size: Whether it needs the bundles of the paper's network.
    """

    name: str
    heading: str
    module: str
    words: list[str]
    full_size: bool = False

    def run(self) -> list[Target]:
        """Run it, and say what else took the CPUs."""
        main: Callable[[list[str]], list[Target]] = importlib.import_module(self.module).main
        with Watch(gpu=False) as watch:
            targets = main(self.words)
        for doubt in doubts(watch.conditions):
            print(f"\n? {doubt}")
        return targets


def parts(bundle: str, scans: list[str], full_size: Path, *, short: bool) -> list[Part]:
    """Return all parts, in their order."""
    bench, network = "benchmarks.bench", "benchmarks.cpu.network.engines"
    quick = ["--short"] * short
    of = ["--bundle", bundle] * (not short)
    runs = ["--runs", "10"] if short else ["--runs", "2000"]
    pairs = ["--runs", "1", "--seconds", "1"] if short else []
    rounds = ["--rounds", "3"] * short
    found = [
        Part("loadgen", "MLPerf's load generator", f"{bench}.loadgen", quick),
        Part("benchmark-app", "OpenVINO's benchmark_app", f"{bench}.benchmark_app", quick + of),
        Part("intervals", "Intervals of simulated runners", f"{bench}.intervals", runs),
        Part("finds", "A runner that is slower by 5 %", f"{bench}.finds_5_percent", pairs),
        Part("stages", "File to result", f"{bench}.stages", [bundle, *scans, *rounds]),
    ]
    for folder, (heading, first, *others) in FULL_SIZE.items():
        path = full_size / folder
        peers = ",".join([*SPEED_UPS, *(f"{path}:{other}" for other in others)])
        words = [str(path), *(["--artifact", first] if first else [])]
        words += ["--scan", scans[0], "--against", peers]
        if short:
            words = [bundle, "--scan", scans[0], "--against", "onnxruntime", *rounds]
        found.append(Part(folder, heading, network, words, not short))
    words = [str(full_size / "int8"), *scans, "--artifact", "openvino-int8", "--rounds", "30"]
    words = [bundle, scans[0], *rounds] if short else words
    heading = "File to result of the paper's network"
    found.append(Part("stages-int8", heading, f"{bench}.stages", words, not short))
    words = quick or ["--bundle", str(full_size / "bundle"), "--rounds", "6", "--seconds", "15"]
    heading = "OpenVINO's benchmark_app on the paper's network"
    found.append(Part("benchmark-app-bundle", heading, f"{bench}.benchmark_app", words, not short))
    size = ["--slices", "100", "--rounds", "1"] if short else []
    reading = "benchmarks.cpu.reading.preprocess"
    found.append(Part("reading", "From a series on disk to the network's input", reading, size))
    return found


def main(words: list[str] | None = None) -> int:
    """Run the parts; return 1 where a target is missed or a part failed."""
    names = [part.name for part in parts("", [""], Path(), short=False)]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--only", nargs="+", choices=names, metavar="PART", default=names,
                        help=f"of {', '.join(names)}")  # fmt: skip
    parser.add_argument("--scans", nargs="+", default=[str(DATA / scan) for scan in SCANS])
    parser.add_argument("--full-size", type=Path, default=Path("/tmp/full-size"))
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args(words)
    print(machine())
    reached = True
    for part in parts(given.bundle, given.scans, given.full_size, short=given.short):
        if part.name not in given.only:
            continue
        command = shlex.join(["python", "-m", part.module, *part.words])
        print(f"\n## {part.heading}\n\n    {command}", flush=True)
        started = time.monotonic()
        try:
            if part.full_size:
                make_full_size(given.full_size)
            reached &= judged(part.run())
        except (Exception, SystemExit) as error:  # the others go on
            traceback.print_exc()
            print(f"\n**failed**: {type(error).__name__}: {error}")
            reached = False
        print(f"\n{(time.monotonic() - started) / 60:.1f} min", flush=True)
    return 0 if reached else 1


def make_full_size(folder: Path) -> None:
    """Make the bundles of the paper's network, unless they are there."""
    if all((folder / name).is_dir() for name in FULL_SIZE):
        return
    module = "benchmarks.cpu.network.full_size"
    command = [sys.executable, "-m", module, "--calibrated", "--out", folder]
    subprocess.run(command, check=True, stdout=sys.stderr)


def machine() -> str:
    """Return a line about this machine."""
    about = cpu()
    packages = ", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "torch"))
    return (
        f"{about.name}, {usable_cpus()} CPUs, {about.memory_gib} GiB, {packages}, "
        f"{time.strftime('%B %Y')}; load {os.getloadavg()[0]:.1f} before the start"
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    sys.exit(main())
