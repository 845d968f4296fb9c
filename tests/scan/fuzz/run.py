"""Read damaged scans, each watched; keep those that find a defect.

python -m tests.scan.fuzz.run --count 5000 --seed 0
python -m tests.scan.fuzz.run --case fuzz-findings/123
"""

from __future__ import annotations

import argparse
import collections
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.scan.fuzz.mutations import mutated
from tests.scan.fuzz.samples import Files, make_samples
from tests.scan.fuzz.watched import Child, End


def write(files: Files, folder: Path) -> None:
    """Write a scan's files."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def ends(seeds: range, folder: Path) -> Iterator[tuple[int, str, Path, End]]:
    """Read the damaged scan of each seed; give seed, damage, its folder and how it ended."""
    samples = make_samples(folder / "samples")
    with Child() as child:
        for seed in seeds:
            damage, files = mutated(samples, seed)
            place = folder / "case" / str(seed)
            write(files, place)
            yield seed, damage, place, child.read(place)
            shutil.rmtree(place)


def main() -> int:
    """Return 1 where a defect was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="how many damaged scans")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where to")
    parser.add_argument("--case", type=Path, help="read this kept scan instead")
    options = parser.parse_args()
    if options.case:
        with Child() as child:
            end = child.read(options.case)
        print(end.defect or end.codes)
        return int(bool(end.defect))
    found, codes, begun = 0, collections.Counter[str](), time.monotonic()
    seeds = range(options.seed, options.seed + options.count)
    with tempfile.TemporaryDirectory() as folder:
        for seed, damage, place, end in ends(seeds, Path(folder)):
            codes[end.codes.split(" ")[0] or "defect"] += 1
            if end.defect:
                found += 1
                kept = options.keep / str(seed)
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(place, kept)
                (kept.parent / f"{seed}.txt").write_text(f"{damage}\n{end.defect}\n")
                lines = end.defect.strip().splitlines()
                print(f"seed {seed} ({damage}): {lines[0]} … {lines[-1]}")
                print(f"  again: python -m tests.scan.fuzz.run --case {kept}", flush=True)
            done = seed - options.seed + 1
            if done % 100 == 0:
                taken = time.monotonic() - begun
                print(f"{done} of {options.count}, {found} defects, {taken:.0f} s", file=sys.stderr)
    print(f"{options.count} damaged scans, {found} defects")
    print(", ".join(f"{code} {count}" for code, count in codes.most_common()))
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
