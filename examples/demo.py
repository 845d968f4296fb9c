"""The whole way on synthetic scans: cohort, training, engine, prediction, report.

Every step is a `darnet-trt` command and is printed before it runs, so that each can be typed
by hand. `make demo` runs this; `make demo SCANS="path …"` also predicts scans of yours.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

_COMMAND = Path(sys.executable).with_name("darnet-trt")
_SCANS_TO_TRAIN = 480
_SCANS_HELD_BACK = 24
_LEAST_SHARE_RIGHT = 0.6  # 19 of 24 were seen; guessing gives a third
_MADE = ("cohort", "held-back", "run", "bundle", "predictions", "yours", "report.html")
_MARKER = ".made-by-demo"


def main() -> int:
    """Run every step; return the first failing step's exit code, or 1 if too few are right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything")
    parser.add_argument("scans", nargs="*", type=Path, help="CT scans of yours to predict as well")
    arguments = parser.parse_args()
    out: Path = arguments.out
    for scan in arguments.scans:
        if not scan.exists():
            print(f"demo: {scan}: no such file or folder", file=sys.stderr)
            return 2
    if not cleared(out):
        print(
            f"demo: {out}: it is not empty and this demo did not make it; "
            "choose another folder with --out, or empty it",
            file=sys.stderr,
        )
        return 2

    started = time.monotonic()
    training = out / "cohort"
    held_back = out / "held-back"
    size = ("--matrix", 96, "--slices", "30:60")
    run("phantom", training, "--scans", _SCANS_TO_TRAIN, *size, "--seed", 1)
    run("phantom", held_back, "--scans", _SCANS_HELD_BACK, *size, "--seed", 2)
    run("train", training, "-o", out / "run", "--preset", "small")
    # Scans that trained the network calibrate int8, and those that training held out judge it. They
    # are too few for an int8 engine to become the default, and the report says so.
    run("build", out / "run", "-o", out / "bundle", "--calibration", training)
    run("predict", out / "bundle", held_back, "-o", out / "predictions", "--cam")
    if arguments.scans:
        # Exit code 1 says that some scans were refused: the report shows which and why.
        run(
            "predict", out / "bundle", *arguments.scans, "-o", out / "yours", "--cam", refusals=True
        )
        run("report", out / "yours")
    page = out / "report.html"
    of_these = ("--labels", held_back, "--bundle", out / "bundle")
    run("report", out / "predictions", "-o", page, *of_these)
    print(f"\nSynthetic cohort to report in {(time.monotonic() - started) / 60:.1f} minutes.")
    print(f"Report: {page}")
    if arguments.scans:
        print(f"Your scans: {out / 'yours' / 'report.html'}")
    if share_right(held_back, out / "predictions") < _LEAST_SHARE_RIGHT:
        print("demo: the network did not learn the phantoms", file=sys.stderr)
        return 1
    return 0


def share_right(cohort: Path, predictions: Path) -> float:
    """Return the share of a cohort's scans that have their label's class."""
    labels = {row["scan"]: row["label"] for row in rows(cohort / "cohort.csv")}
    found = [labels[row["scan"]] == row["class"] for row in rows(predictions / "results.csv")]
    return sum(found) / len(labels)


def rows(table: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names of its columns."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cleared(out: Path) -> bool:
    """Make the folder, or remove what an earlier demo made in it and nothing else.

    Returns:
        Whether the demo may write into it: it was absent, empty, or an earlier demo's.
    """
    marker = out / _MARKER
    if marker.is_file():
        for path in (out / name for name in _MADE):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return True
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        return False
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text("examples/demo.py made this folder, and clears it when it runs again.\n")
    return True


def run(*arguments: object, refusals: bool = False) -> None:
    """Print and run one `darnet-trt` command; stop the demo where it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ darnet-trt {' '.join(words)}", file=sys.stderr, flush=True)
    code = subprocess.run([_COMMAND, *words], check=False).returncode
    if code and not (refusals and code == 1):
        sys.exit(code)


if __name__ == "__main__":
    sys.exit(main())
