"""Measure the CPU's arithmetic peak with `peak.c`: GMAC/s in fp32, bf16 and int8.

python -m benchmarks.cpu.network.peak [--threads N]
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from darnet_trt.machine.hardware import cpu

_SOURCE = Path(__file__).with_name("peak.c")
_SECONDS = 0.5


def compile_peak(folder: Path) -> Path:
    """Compile `peak.c` with the system's C compiler and return the program."""
    if platform.machine() not in ("x86_64", "AMD64"):
        sys.exit("peak: needs an x86-64 CPU")
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("peak: no C compiler found as cc; install one")
    has_avx_vnni = int("avx_vnni" in cpu().features)  # GCC before 14 cannot detect it
    program = folder / "peak"
    subprocess.run(
        [compiler, "-O2", "-pthread", f"-DHAS_AVXVNNI={has_avx_vnni}", _SOURCE, "-o", program],
        check=True,
    )
    return program


def measure(program: Path, threads: int) -> dict[str, float | None]:
    """Return GMAC/s of all threads together by type; None if the CPU lacks the instruction."""
    printed = subprocess.run(
        [program, str(threads), str(_SECONDS)], check=True, capture_output=True, text=True
    )
    rows = (line.split() for line in printed.stdout.splitlines())
    return {name: None if value == "unsupported" else float(value) for name, value in rows}


def main() -> None:
    """Print the peaks as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=cpu().cores)
    threads = parser.parse_args().threads
    with tempfile.TemporaryDirectory() as folder:
        peaks = measure(compile_peak(Path(folder)), threads)
    print(json.dumps({"cpu": cpu().name, "threads": threads, "gmac_per_s": peaks}))


if __name__ == "__main__":
    main()
