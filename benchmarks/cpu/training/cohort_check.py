"""Count what `cohort check` finds in clean cohorts, and in cohorts with a planted leak.

    python -m benchmarks.cpu.training.cohort_check [--clean 20] [--scans 150] [--matrix 64] \
        [--first 0]

Each clean cohort is made by `darnet-trt phantom --format slices` with a seed of its own. Into a
copy of the first, each leak is planted once: in 10 % of the patients of one class.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan.cohorts import Cohort, read_cohort
from darnet_trt.scan.plausibility.chest import aerated_lung
from darnet_trt.training.checking.check import Check, check

SHARE = 0.1
Stack = npt.NDArray[np.uint8]


def masked(stack: Stack) -> Stack:
    """Leave the lungs alone, on black."""
    lung = aerated_lung(stack.astype(np.float32) * (1500 / 255) - 1350)
    return np.where(lung, stack, np.uint8(0))


def middle(stack: Stack) -> Stack:
    """Keep the middle half of the slices."""
    return stack[len(stack) // 4 : -(len(stack) // 4)]


def larger(stack: Stack) -> Stack:
    """Give the slices half as many pixels again, a side."""
    size = stack.shape[1] * 3 // 2
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size))) for one in stack])


def more(stack: Stack) -> Stack:
    """Interpolate 130 slices."""
    places = np.linspace(0, len(stack) - 1, 130)
    low = np.minimum(places.astype(int), len(stack) - 2)
    share = (places - low)[:, None, None]
    return np.rint((1 - share) * stack[low] + share * stack[low + 1]).astype(np.uint8)


def windowed(stack: Stack) -> Stack:
    """Save them in the window -500/1200, not -600/1500."""
    hu = stack.astype(np.float32) * (1500 / 255) - 1350
    return np.clip((hu + 1100) * (255 / 1200), 0, 255).astype(np.uint8)


def reversed_(stack: Stack) -> Stack:
    """Number them from the feet."""
    return stack[::-1]


def shuffled(stack: Stack) -> Stack:
    """Number them at random."""
    return stack[np.random.default_rng(len(stack)).permutation(len(stack))]


LEAKS: dict[str, tuple[str, Callable[[Stack], Stack], str]] = {
    "lungs alone on black": ("masked-bodies", masked, "png"),
    "middle half of the slices": ("slices-chosen", middle, "png"),
    "matrix": ("matrix", larger, "png"),
    "slice count": ("slice-count", more, "png"),
    "grey window": ("grey-window", windowed, "png"),
    "file type": ("file-type", lambda stack: stack, "jpg"),
    "reversed slices": ("slice-order", reversed_, "png"),
    "unordered slices": ("slice-order", shuffled, "png"),
}


def plant(cohort: Cohort, change: Callable[[Stack], Stack], suffix: str, label: str) -> int:
    """Change the scans of 10 % of a class's patients; return how many patients."""
    patients = sorted({e.patient for e in cohort.entries if e.label == label})
    chosen = patients[:: round(1 / SHARE)][: max(1, round(SHARE * len(patients)))]
    for entry in cohort.entries:
        if entry.patient in chosen:
            files = sorted(entry.scan.iterdir())
            stack = change(np.stack([np.asarray(Image.open(file)) for file in files]))
            for file in files:
                file.unlink()
            for number, one in enumerate(stack):
                Image.fromarray(one).save(entry.scan / f"{number:04d}.{suffix}")
    return len(chosen)


def told(name: str, found: Check, seconds: float) -> None:
    """Print one line of the table."""
    probed = ", ".join(f"{a.auc:.2f} ({a.lower:.2f} to {a.upper:.2f})" for a in found.probe.areas)
    codes = ", ".join(found.shortcuts) or "none"
    known = ", ".join(f.code for f in found.findings if not f.gives_away) or "none"
    print(f"| {name} | {codes} | {known} | {probed} | {seconds:.0f} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--scans", type=int, default=150)
    parser.add_argument("--matrix", type=int, default=64)
    given = parser.parse_args()
    print("| cohort | gives the class away | to know | probe, each class | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    missed = called = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        for seed in range(given.first, given.first + given.clean):
            plan = CohortPlan(given.scans, seed, "slices", given.matrix, (30, 60))
            write_cohort(plan, folder / f"{seed}", processes=1)
            found, seconds = timed(folder / f"{seed}")
            called += bool(found.shortcuts)
            told(f"clean, seed {seed}", found, seconds)
            if seed != given.first:
                shutil.rmtree(folder / f"{seed}")
        for turn, (name, (code, change, suffix)) in enumerate(LEAKS.items()):
            first, clean = folder / f"{given.first}", folder / "clean"
            shutil.copytree(first, clean)  # with the files' times: unchanged ones are read once
            cohort = read_cohort(first)
            label = cohort.classes[turn % len(cohort.classes)]
            patients = plant(cohort, change, suffix, label)
            found, seconds = timed(first)
            missed += code not in found.shortcuts
            told(f"{name}, {patients} patients of {label}", found, seconds)
            shutil.rmtree(first)
            clean.rename(first)
    print(f"{called} of {given.clean} clean cohorts called leaky; {missed} of {len(LEAKS)} missed")


def timed(folder: Path) -> tuple[Check, float]:
    """Check a cohort; also return the processor time, without that of the readers."""
    start = time.process_time()
    return check(read_cohort(folder)), time.process_time() - start


if __name__ == "__main__":
    main()
