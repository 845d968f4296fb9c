"""Find the compilers of the kernels: g++, nvcc and cmake. Old ones are refused."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from darnet_trt.errors import BuildError, UsageError
from darnet_trt.machine.processes import last_words, run_child

Target = Literal["cpu", "cuda"]

ARCHITECTURES: Final = (
    *("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90"),
    *("sm_100", "sm_103", "sm_110", "sm_120"),
)
"""Default architectures; those that nvcc does not know are left out (sm_110 is new in 13.0)."""
_PTX: Final = "90"
"""PTX in the default build, for data-centre Blackwell and Thor where nvcc does not know them, and
for all GPUs after 12."""
_LEAST_NVCC: Final = (12, 0)
"""Has C++17 in device code and full support of sm_89 and sm_90. JetPack 6 has 12.2."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler's version, as it prints it, and CMake's options for it."""

    version: str
    options: tuple[str, ...]


def find_toolchain(target: Target, architectures: Sequence[str] | None = None) -> Toolchain:
    """Find the compilers for a target.

    Args:
        target: "cpu" or "cuda".
        architectures: As in `build_library`.

    Raises:
        UsageError: nvcc does not know an architecture.
        BuildError: A compiler is missing, does not run or is too old.
    """
    wanted = os.environ.get("CXX") or "g++"
    compiler = shutil.which(wanted)
    if compiler is None:
        raise BuildError("no C++ compiler", where=wanted, do="install g++, or set CXX to one")
    version = _output(compiler, "--version").partition("\n")[0]
    host = (f"-DCMAKE_CXX_COMPILER={compiler}",)
    if target == "cpu":
        if architectures:
            raise UsageError("needs --target cuda, found cpu", where="--arch")
        return Toolchain(version, (*host, "-DDARNET_CPU=ON"))
    nvcc = find_nvcc()
    release = re.search(r"release (\d+)\.(\d+), V(\S+)", _output(nvcc, "--version"))
    if release is None or (int(release[1]), int(release[2])) < _LEAST_NVCC:
        found = f"{release[1]}.{release[2]}" if release else "an unknown version"
        least = ".".join(map(str, _LEAST_NVCC))
        raise BuildError(f"expected nvcc {least} or newer, found {found}", where=nvcc)
    return Toolchain(
        f"nvcc {release[3]} and {version}",
        (
            *host,
            f"-DCMAKE_CUDA_COMPILER={nvcc}",
            f"-DCMAKE_CUDA_ARCHITECTURES={_codes(nvcc, architectures)}",
        ),
    )


def how_to_get_the_cuda_build() -> str:
    """Return the command that compiles it here, or what is missing for that."""
    try:
        find_toolchain("cuda")
        find_cmake()
    except BuildError as error:
        return f"darnet-trt plugin build cannot compile it here: {error}"
    return "run: darnet-trt plugin build"


def _codes(nvcc: str, architectures: Sequence[str] | None) -> str:
    """Return CMake's list: code for each architecture, and PTX of `_PTX` or the newest given."""
    known = _output(nvcc, "--list-gpu-code").split()
    wanted = architectures or [a for a in ARCHITECTURES if a in known]
    for architecture in wanted:
        # Not sm_90a and the like: these kernels use none of their special instructions.
        if architecture not in known or not architecture[-1].isdigit():
            raise UsageError(
                "unknown architecture",
                where=architecture,
                do=f"choose from those of {nvcc}: {', '.join(known)}",
            )
    numbers = sorted({a.removeprefix("sm_") for a in wanted}, key=int)
    return ";".join(
        [*(f"{n}-real" for n in numbers), f"{numbers[-1] if architectures else _PTX}-virtual"]
    )


def find_nvcc() -> str:
    """Find nvcc: in CUDACXX, CUDA_HOME, the PATH or /usr/local/cuda.

    Raises:
        BuildError: It is in none of them.
    """
    named = os.environ.get("CUDACXX")
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    candidates = [named] if named else [*([f"{home}/bin/nvcc"] if home else []), "nvcc"]
    for candidate in [*candidates, *([] if named else ["/usr/local/cuda/bin/nvcc"])]:
        if found := shutil.which(candidate):
            return found
    raise BuildError(
        "no nvcc: not in CUDA_HOME, on the PATH or in /usr/local/cuda"
        if not named
        else f"CUDACXX is not a program: {named}",
        do="install the CUDA toolkit, or build with --target cpu",
    )


def find_cmake() -> str:
    """Find cmake on the PATH or beside this Python.

    Raises:
        BuildError: It is in neither.
    """
    beside = Path(sys.executable).with_name("cmake")  # as pip installs it
    found = shutil.which("cmake") or shutil.which(beside)
    if found is None:
        raise BuildError(
            "no cmake", do="install it with the system's package manager or: pip install cmake"
        )
    return found


def _output(*words: str) -> str:
    try:
        ended = run_child(words)
    except OSError as error:
        raise BuildError(f"cannot be run ({error.strerror})", where=words[0]) from error
    if ended.code != 0:
        reason = last_words(ended.stderr.splitlines()) or f"it {ended.how}"
        raise BuildError(f"cannot be run ({reason})", where=words[0])
    return ended.stdout
