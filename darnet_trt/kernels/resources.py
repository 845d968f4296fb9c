"""Read from the compiler's log what each kernel uses of a GPU.

The number of registers decides how many blocks an SM holds at once. No kernel may spill registers,
because the benchmark does not count the memory that spilling moves.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import COMPILER_LOG
from darnet_trt.machine.processes import run_child


@dataclass(frozen=True)
class Resources:
    """One kernel on one architecture.

    Attributes:
        architecture: "sm_89".
        kernel: Name and template arguments: "pool<half, 8>".
        registers: Registers of a thread.
        stack_bytes: Local memory of a thread.
        spilled_bytes: Bytes of registers stored to local memory and loaded from it.
    """

    architecture: str
    kernel: str
    registers: int
    stack_bytes: int
    spilled_bytes: int


_ENTRY: Final = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)' for '(?P<architecture>\w+)'"
    r".*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads"
    r".*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)
_SHORT: Final = {"__nv_bfloat16": "bfloat16", "__half": "half", "signed char": "int8"}


def resources(library: Path) -> list[Resources]:
    """Return the kernels of a CUDA library of `build_library`, architectures ascending.

    Raises:
        BuildError: The compiler's log is missing or has no kernels.
    """
    log = library.with_name(COMPILER_LOG)
    found = list(_ENTRY.finditer(log.read_text(encoding="utf-8") if log.exists() else ""))
    if not found:
        raise BuildError("no kernels in the compiler's log", where=log)
    names = _plain([entry["kernel"] for entry in found])
    return sorted(
        (
            Resources(
                entry["architecture"],
                name,
                int(entry["registers"]),
                int(entry["stack"]),
                int(entry["stores"]) + int(entry["loads"]),
            )
            for entry, name in zip(found, names, strict=True)
        ),
        key=lambda r: (int(re.sub(r"\D", "", r.architecture)), r.kernel),
    )


def markdown(found: Sequence[Resources]) -> str:
    """Return a table of registers per thread, one row per kernel."""
    architectures = list(dict.fromkeys(r.architecture for r in found))
    cells = {
        (r.kernel, r.architecture): f"{r.registers}"
        + (f" (spills {r.spilled_bytes} bytes)" if r.spilled_bytes else "")
        for r in found
    }
    lines = [
        "| kernel | " + " | ".join(architectures) + " |",
        "| --- |" + " ---: |" * len(architectures),
    ]
    for kernel in dict.fromkeys(r.kernel for r in found):
        row = (cells[kernel, architecture] for architecture in architectures)
        lines.append(f"| `{kernel}` | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _plain(mangled: list[str]) -> list[str]:
    """Return readable kernel names; without c++filt the mangled ones."""
    program = shutil.which("c++filt") or shutil.which("cu++filt")
    if program is None:
        return mangled
    ended = run_child([program], stdin="\n".join(mangled))
    if ended.code != 0:
        raise BuildError(f"it {ended.how}", where=program)
    names = []
    for line in ended.stdout.splitlines():
        name = re.sub(r"^void |darnet::|\(.*\)$|\(int\)", "", line)
        for long, short in _SHORT.items():
            name = name.replace(long, short)
        names.append(name)
    return names
