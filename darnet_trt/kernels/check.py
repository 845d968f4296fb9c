"""Check which installed TensorRTs accept the plugin library.

Each is checked in a process of its own, because a library that does not fit can crash it, and two
TensorRTs in one process share symbols. `python -m darnet_trt.kernels.check PACKAGE LIBRARY` is that
process; it prints an `Answer` as JSON.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from darnet_trt.errors import UsageError
from darnet_trt.kernels.driver import driver_cuda_version, driver_refusal
from darnet_trt.kernels.library import Library
from darnet_trt.machine.processes import last_words, run_child

PACKAGES: Final = ("tensorrt", "tensorrt_rtx", "tensorrt_lean")
"""Import names of the packages that can load a plugin library."""
PLUGINS: Final = ("FusedChannelAttention", "FusedDepthAttention", "FusedDualAttention")
NAMESPACE: Final = "darnet"
VERSION: Final = "1"
_ENTRY_POINTS: Final = ("getCreators", "setLoggerFinder")  # TensorRT's registry needs both


@dataclass(frozen=True)
class Answer:
    """The answer of one TensorRT to the library.

    Attributes:
        package: One of `PACKAGES`.
        version: Version of the package; None if it did not load.
        accepted: It loaded the library and created each of `PLUGINS`.
        reason: Why it did not accept it; else None.
    """

    package: str
    version: str | None
    accepted: bool
    reason: str | None


def check_library(library: Path) -> list[Answer]:
    """Check the library with every installed TensorRT.

    Raises:
        UsageError: The library does not exist.
    """
    if not library.is_file():
        raise UsageError(
            "no such plugin library",
            where=library,
            do="build one with: darnet-trt plugin build",
        )
    return [_ask(package, library) for package in PACKAGES if importlib.util.find_spec(package)]


def check_driver(library: Path) -> str | None:
    """Return why this machine's driver cannot run a library; None if it can, or there is none."""
    try:
        return driver_refusal(Library(library).cuda, driver_cuda_version())
    except UsageError:  # another library; each TensorRT says so
        return None


def _ask(package: str, library: Path) -> Answer:
    ended = run_child([sys.executable, "-m", __name__, package, library.resolve()])
    said = last_words(ended.stderr.splitlines())
    try:
        answer = Answer(**json.loads(ended.stdout))
    except (ValueError, TypeError):
        return Answer(package, None, False, f"it {ended.how}; its last words: {said or 'nothing'}")
    if answer.reason is None or not said:
        return answer
    return Answer(package, answer.version, False, f"{answer.reason}: {said}")


def _answer(package: str, library: str) -> Answer:
    import numpy as np

    try:
        trt = importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:
        return Answer(package, None, False, f"the package does not load: {error}")
    registry = trt.get_plugin_registry()
    if registry is None or registry.load_library(library) is None:  # None: refused
        return Answer(package, trt.__version__, False, _why_refused(library))
    for name in PLUGINS:
        creator = registry.get_creator(name, VERSION, NAMESPACE)
        if creator is None:
            return Answer(
                package,
                trt.__version__,
                False,
                f"the library has no plugin {NAMESPACE}::{name}, version {VERSION}",
            )
        scale = np.ones(1, np.float32)
        field = trt.PluginField("y_scale", scale, trt.PluginFieldType.FLOAT32)
        fields = trt.PluginFieldCollection([field])
        if creator.create_plugin(name, fields, trt.TensorRTPhase.RUNTIME) is None:
            return Answer(package, trt.__version__, False, f"{name} could not be created")
    return Answer(package, trt.__version__, True, None)


def _why_refused(library: str) -> str:
    """Return why TensorRT refused a library, from the system's loader: TensorRT does not say."""
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        return f"the library cannot be loaded: {error}"
    absent = [name for name in _ENTRY_POINTS if not hasattr(loaded, name)]
    if absent:
        return f"the library does not export {' and '.join(absent)}"
    return "it refused the library without a reason"


def _main() -> None:
    # TensorRT also prints to stdout: send that to stderr, so that stdout has only the answer.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    package, library = sys.argv[1:]
    json.dump(asdict(_answer(package, library)), out)
    out.close()


if __name__ == "__main__":
    _main()
