"""Measure what this CPU can do at most, with `peak.c`: GMAC/s by type, and GB/s of its memory."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Final

from darnet_trt.errors import BuildError
from darnet_trt.machine.hardware import cpu
from darnet_trt.machine.processes import last_words, run_child

TRIAD: Final = "triad"
"""The key of the memory's GB/s among the peaks; the others are precisions."""

# `peak.c` has no loops for AMX, which engines use where the CPU has it.
_AMX: Final = {"bf16": "amx_bf16", "int8": "amx_int8"}
_SOURCE: Final = Path(__file__).with_name("peak.c")
_SECONDS: Final = 0.5
_TIMEOUT_S: Final = 60.0


def compile_peak(folder: Path) -> Path:
    """Compile `peak.c` with the system's C compiler, and return the program.

    Raises:
        BuildError: This is no x86-64 CPU, there is no compiler, or it fails.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        raise BuildError(f"the peak's loops are for x86-64, not {platform.machine()}")
    compiler = shutil.which("cc")
    if compiler is None:
        raise BuildError("no C compiler here", do="install one that is found as cc")
    has_avx_vnni = int("avx_vnni" in cpu().features)  # GCC before 14 cannot detect it
    program = folder / "peak"
    flags = ("-O3", "-pthread", f"-DHAS_AVXVNNI={has_avx_vnni}")
    env = {**os.environ, "TMPDIR": str(folder)}  # a compiler that is killed leaves files there
    ended = run_child([compiler, *flags, _SOURCE, "-o", program], env=env, timeout_s=_TIMEOUT_S)
    if ended.code != 0:
        raise BuildError(
            f"the C compiler {ended.how} ({last_words(ended.stderr.splitlines())})", where=_SOURCE
        )
    return program


def measure(program: Path, threads: int) -> dict[str, float]:
    """Return GMAC/s by precision, and GB/s as `TRIAD`, of all threads together.

    What the CPU lacks the instruction for is absent.

    Args:
        program: From `compile_peak`.
        threads: At most one for each core: each is measured on its own CPU time.

    Raises:
        BuildError: The program fails, as where it may not have 384 MiB of memory.
    """
    ended = run_child([program, str(threads), str(_SECONDS)], timeout_s=_TIMEOUT_S)
    if ended.code != 0:
        raise BuildError(f"the program that measures the peak {ended.how}", where=_SOURCE)
    rows = (line.split() for line in ended.stdout.splitlines())
    return {name: float(value) for name, value in rows if value != "unsupported"}


class Peaks:
    """The best of several readings: in the others, other processes took time from these cores.

    Args:
        folder: Where the program is compiled.
        threads: Of the engine; more than this machine's cores count as these.
        on_gpu: Whether the engine runs on a GPU, whose peak nothing here measures.

    Attributes:
        best: As `measure` returns, without the precisions for which the CPU has AMX; empty where
            there is no peak.
    """

    def __init__(self, folder: Path, threads: int, *, on_gpu: bool) -> None:
        self.best: dict[str, float] = {}
        self._cpu = cpu()
        self._threads = min(threads, self._cpu.cores)
        self._why_not: str | None = None
        self._program: Path | None = None
        if on_gpu:
            self._why_not = "the peak of a GPU is not measured"
            return
        try:
            self._program = compile_peak(folder)
        except BuildError as error:
            self._why_not = error.what

    def read(self) -> None:
        """Measure once; it takes two seconds."""
        if self._program is None:
            return
        try:
            found = measure(self._program, self._threads)
        except BuildError as error:
            self._program, self._why_not = None, error.what
            return
        self.best = {
            name: max(value, self.best.get(name, 0.0))
            for name, value in found.items()
            if not self._has_amx(name)
        }

    def missing(self, precision: str) -> str | None:
        """Return why there is no peak in this precision; None where there is one."""
        if self._why_not is not None or precision in self.best:
            return self._why_not
        if self._has_amx(precision):
            return f"this CPU computes {precision} with AMX, whose peak is not measured"
        return f"this CPU has no instruction whose peak in {precision} is measured"

    def _has_amx(self, precision: str) -> bool:
        return _AMX.get(precision) in self._cpu.features
