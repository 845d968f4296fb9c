"""What each kernel takes of a GPU, as ptxas told when the library was compiled.

Registers decide how many blocks an SM holds at once; a kernel that spills them moves memory that
the benchmark's accounting knows nothing of, so none may.
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

__all__ = ["Resources", "markdown", "resources"]


@dataclass(frozen=True)
class Resources:
    """One kernel on one architecture.

    Attributes:
        architecture: "sm_89".
        kernel: Name and template arguments: "pool<half, 8>".
        registers: Of a thread.
        stack_bytes: Of a thread, in local memory.
        spilled_bytes: Registers stored to it and loaded from it.
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
    """Every kernel of a CUDA library of `build_library`, architectures in ascending order.

    Raises:
        BuildError: The compiler's log is not there or tells nothing.
    """
    log = library.with_name(COMPILER_LOG)
    found = list(_ENTRY.finditer(log.read_text(encoding="utf-8") if log.exists() else ""))
    if not found:
        raise BuildError("expected what ptxas says of each kernel, found nothing", where=log)
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
    """A table of registers a thread, one kernel a row."""
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
    """Names for a person; as they are where there is no c++filt."""
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
