"""Compile libdarnet_attention.so into a per-user cache.

The name of a library's folder has its target and processor, a hash of the sources, and a hash of
the compiler's version and the options. Another toolchain or source gets another folder, so that no
outdated library is loaded. A library is compiled in a temporary folder and then renamed, so it is
whole or absent, and two processes that build at once both succeed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from darnet_trt.errors import BuildError, OutputError, UsageError
from darnet_trt.kernels.library import Library, covers
from darnet_trt.kernels.toolchain import Target, find_cmake, find_toolchain
from darnet_trt.machine.cache import cache_folder
from darnet_trt.machine.processes import run_child

LIBRARY: Final = "libdarnet_attention.so"
COMPILER_LOG: Final = "compiler.log"
"""File beside the library: the compilers' output, with each kernel's registers and spills."""
SOURCES: Final = Path(__file__).parent / "cuda"
_FLAGS: Final = (
    "CXXFLAGS",
    "LDFLAGS",
    "CUDAFLAGS",
    "CUDAHOSTCXX",
    "NVCC_PREPEND_FLAGS",
    "NVCC_APPEND_FLAGS",
)
"""Variables of the environment that compilers and CMake read."""
_ELSEWHERE: Final = "check free space and permissions, or set XDG_CACHE_HOME to another folder"


def cached_library(target: Target, capabilities: Collection[tuple[int, int]] = ()) -> Path | None:
    """Return a library in the cache that was compiled from these sources; None if there is none.

    Args:
        target: What it was compiled for.
        capabilities: For "cuda", compute capabilities of the GPUs to run on. A library that runs on
            all of them is preferred to one that does not.

    Returns:
        If several fit, the one that was used last.
    """
    found = cache_folder("kernels").glob(f"{_prefix(target)}-*/{LIBRARY}")
    library = max(
        found,
        key=lambda path: (_runs_on(path, capabilities), path.stat().st_mtime),
        default=None,
    )
    if library is not None:
        _mark_used(library)
    return library


def _runs_on(library: Path, capabilities: Collection[tuple[int, int]]) -> bool:
    if not capabilities:
        return True
    try:
        target = Library(library).target
    except UsageError:  # the file is broken
        return False
    return all(covers(target, capability) for capability in capabilities)


def build_library(
    target: Target,
    architectures: Sequence[str] | None = None,
    *,
    sanitize: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Compile the library, or return the one that this toolchain compiled before.

    Args:
        target: "cuda" needs cmake and nvcc, "cpu" needs cmake and g++ (or $CXX).
        architectures: For "cuda", such as sm_89; None: `ARCHITECTURES`.
        sanitize: For "cpu", compile with AddressSanitizer and UBSan, for tests.
        log: Called with a line before the compilation.

    Raises:
        UsageError: An architecture is unknown.
        BuildError: There is no compiler, it is too old, or it failed; has its first error.
        OutputError: The cache cannot be written.
    """
    tools = find_toolchain(target, architectures)
    options = (*tools.options, *_headers(), *(["-DDARNET_SANITIZE=ON"] if sanitize else []))
    flags = (f"{name}={os.environ.get(name, '')}" for name in _FLAGS)
    toolchain = _hash(*(part.encode() for part in (tools.version, *options, *flags)))
    variant = f"sanitized-{_prefix(target)}" if sanitize else _prefix(target)
    home = cache_folder("kernels") / f"{variant}-{toolchain}"
    library = home / LIBRARY
    if library.exists():
        _mark_used(library)
        return library
    log(f"compiling the kernels with {tools.version}, which can take minutes")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=home.parent, prefix=".building-", ignore_cleanup_errors=True
        ) as work:
            whole = Path(work) / "whole"
            whole.mkdir()
            cmake = find_cmake()
            _run(cmake, "-S", str(SOURCES), "-B", work, *options)
            said = _run(cmake, "--build", work, "--parallel")
            (whole / COMPILER_LOG).write_text(said, encoding="utf-8")
            (Path(work) / LIBRARY).rename(whole / LIBRARY)
            try:
                whole.rename(home)
            except OSError:
                if not library.exists():  # unless another process was faster
                    raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot be written ({reason})", where=home.parent, do=_ELSEWHERE
        ) from error
    return library


def _mark_used(library: Path) -> None:
    now = time.time_ns()  # a file system's own clock moves in steps of milliseconds
    with suppress(OSError):  # another user's cache
        os.utime(library, ns=(now, now))


def source_key() -> str:
    """Return a hash of the library's sources, which identifies the plugin."""
    files = sorted(path for path in SOURCES.rglob("*") if path.is_file())
    return _hash(*(part for f in files for part in (f.name.encode(), f.read_bytes())))


def _prefix(target: Target) -> str:
    return f"{target}-{platform.machine()}-{source_key()}"


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:12]


def _headers() -> list[str]:
    folder = os.environ.get("TENSORRT_INCLUDE_DIR")
    if not folder:
        return []
    if not (Path(folder) / "NvInferRuntime.h").exists():
        raise UsageError(
            "TENSORRT_INCLUDE_DIR names a folder without NvInferRuntime.h",
            where=folder,
            do="set it to TensorRT's include folder, or unset it",
        )
    return [f"-DTENSORRT_INCLUDE_DIR={folder}"]


def _run(*words: str) -> str:
    """Run a compiler and return what it printed."""
    ended = run_child(words)
    said = ended.stdout + ended.stderr
    if ended.code == 0:
        return said
    if "No space left on device" in said:
        raise OutputError("the disk is full", where=cache_folder("kernels"), do=_ELSEWHERE)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = next((n for n, line in enumerate(lines) if re.search(r"\berror\b", line, re.I)), -1)
    reason = lines[first] if lines else f"it {ended.how}"
    if reason.startswith("CMake Error") and first + 1 < len(lines):  # then the reason
        reason = f"{reason} {lines[first + 1]}"
    raise BuildError(f"the compiler failed: {reason}")
