"""Call libdarnet_attention.so from Python: its C interface is `cuda/attention.h`.

Addresses are plain integers: host memory for the CPU build, device memory for the CUDA build.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from darnet_trt.errors import UsageError

TensorType = Literal["float32", "float16", "bfloat16", "int8"]

_TYPES: Final[dict[str, int]] = {"float32": 0, "float16": 1, "int8": 2, "bfloat16": 7}
PHASES: Final = ("pool", "apply")
"""Names of the phases 0 and 1; each is one launch."""
COUNTER_BYTES: Final = 1024
"""Zeroed memory that a launch needs beside the workspace, and leaves zeroed."""
ALIGNMENT: Final = 16
"""Bytes to which every address is aligned; a bias only to the size of its element."""
_MESSAGE_BYTES: Final = 512
_TEGRA: Final = frozenset({(5, 3), (6, 2), (7, 2), (8, 7), (8, 8), (10, 1), (11, 0)})
"""Compute capabilities of systems on a chip, which do not run code for desktop GPUs."""

GateAddresses = tuple[int, int, int, int]
"""squeeze weight, squeeze bias, excite weight, excite bias."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Shapes and types of one computation; x, residual and y are (n, d, h, w, c).

    Attributes:
        channel_hidden: Outputs of the channel attention's first layer; 0: no channel attention.
        depth_hidden: Outputs of the depth attention's first layer; 0: no depth attention.
        weight_type: Type of all gate parameters; not int8.
        x_type: weight_type or int8.
        residual_type: weight_type or int8; None: y = x · gates, without residual and ReLU.
        y_type: weight_type or int8.
        x_scale: For an int8 x, value = scale · stored; the same for the other two.
    """

    n: int
    d: int
    h: int
    w: int
    c: int
    channel_hidden: int
    depth_hidden: int
    weight_type: TensorType
    x_type: TensorType
    residual_type: TensorType | None
    y_type: TensorType
    x_scale: float = 1.0
    residual_scale: float = 1.0
    y_scale: float = 1.0


@dataclass(frozen=True)
class Cost:
    """The launch of one phase, and the memory that it moves.

    Attributes:
        bytes_read: Bytes read over the memory bus, with gate parameters and workspace.
        bytes_written: Bytes written, in the same way.
        grid: Blocks, (x, y, z).
        block: Threads in a block, (x, y).
        shared_bytes: Shared memory of a block.
    """

    bytes_read: int
    bytes_written: int
    grid: tuple[int, int, int]
    block: tuple[int, int]
    shared_bytes: int


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("n", "d", "h", "w", "c")),
        *((f"{kind}_hidden", c_int32) for kind in ("channel", "depth")),
        *((f"{tensor}_type", c_int32) for tensor in ("weight", "x", "residual", "y")),
        *((f"{tensor}_scale", c_float) for tensor in ("x", "residual", "y")),
        ("has_residual", c_int32),
    )


class _Tensors(ctypes.Structure):
    _fields_ = (
        ("x", c_void_p),
        ("residual", c_void_p),
        ("channel", c_void_p * 4),
        ("depth", c_void_p * 4),
        ("y", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("counters", c_void_p),
    )


class _Cost(ctypes.Structure):
    _fields_ = (
        ("bytes_read", c_int64),
        ("bytes_written", c_int64),
        ("grid", c_int32 * 3),
        ("block", c_int32 * 2),
        ("shared_bytes", c_int32),
    )


def _attention(p: Problem) -> _Attention:
    types = (p.weight_type, p.x_type, p.residual_type or p.x_type, p.y_type)
    return _Attention(
        *(p.n, p.d, p.h, p.w, p.c, p.channel_hidden, p.depth_hidden),
        *(_TYPES[t] for t in types),
        *(p.x_scale, p.residual_scale, p.y_scale, p.residual_type is not None),
    )


class Library:
    """A loaded libdarnet_attention.so. It keeps no state, so any thread may call it.

    Args:
        path: The file, from `kernels.build`.

    Attributes:
        target: "cpu", or "cuda" and the architectures: "cuda sm_89 ptx_120".
        cuda: Version of the CUDA that compiled it, as CUDA numbers it: 13000 is 13.0. "cpu": 0.

    Raises:
        UsageError: The file cannot be loaded, or is another library.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._library = ctypes.CDLL(str(path))
            target = self._library.darnet_attention_target
            target.restype = c_char_p
            self.cuda = int(self._library.darnet_attention_toolkit())
            self._library.darnet_attention_workspace.restype = c_size_t
            self._library.darnet_attention_cost.restype = None
            self._library.darnet_attention_new_counters.restype = c_void_p
            for name in ("check", "launch", "launch_phase"):
                getattr(self._library, f"darnet_attention_{name}").restype = c_int
        except (OSError, AttributeError) as error:  # AttributeError: another library
            raise UsageError(
                f"not a library of the kernels ({error})",
                where=path,
                do="build it with: darnet-trt plugin build",
            ) from error
        self.target: str = target().decode()

    def _call(self, function: str, *arguments: Any) -> None:
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        call = getattr(self._library, f"darnet_attention_{function}")
        if call(*arguments, message, c_size_t(_MESSAGE_BYTES)) != 0:
            raise UsageError(message.value.decode(errors="replace"), where="fused attention")

    def check(self, problem: Problem) -> None:
        """Check that the library can compute a problem.

        Raises:
            UsageError: It cannot; names what is expected and what was found.
        """
        self._call("check", ctypes.byref(_attention(problem)))

    def workspace_bytes(self, problem: Problem) -> int:
        """Return the bytes of scratch memory for a launch of a problem that passed the check."""
        return int(self._library.darnet_attention_workspace(ctypes.byref(_attention(problem))))

    def new_counters(self) -> int:
        """Allocate `COUNTER_BYTES` of zeros on the current device until this process ends.

        Returns:
            Their address, ready on every stream.

        Raises:
            UsageError: CUDA has no memory for them, or the current stream is captured.
        """
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        counters = self._library.darnet_attention_new_counters(message, c_size_t(_MESSAGE_BYTES))
        if not counters:
            raise UsageError(message.value.decode(errors="replace"), where="fused attention")
        return int(counters)

    def cost(self, problem: Problem, phase: int) -> Cost:
        """Return what one phase (an index of `PHASES`) launches and moves, as the source says."""
        cost = _Cost()
        self._library.darnet_attention_cost(
            ctypes.byref(_attention(problem)), c_int(phase), ctypes.byref(cost)
        )
        return Cost(
            cost.bytes_read,
            cost.bytes_written,
            tuple(cost.grid),
            tuple(cost.block),
            cost.shared_bytes,
        )

    def launch(
        self,
        problem: Problem,
        *,
        x: int,
        residual: int | None,
        channel: GateAddresses | None,
        depth: GateAddresses | None,
        y: int,
        workspace: int,
        workspace_bytes: int,
        counters: int,
        stream: int = 0,
        phase: int | None = None,
    ) -> None:
        """Compute y, which may be x or residual. With CUDA, queue it on a stream and return.

        Args:
            problem: Shapes and types.
            x: Address of x, aligned to `ALIGNMENT`, as are all addresses below.
            residual: None if the problem has no residual.
            channel: None if channel_hidden is 0.
            depth: None if depth_hidden is 0.
            y: Address of the result.
            workspace: Address of scratch memory.
            workspace_bytes: Its size, at least `workspace_bytes(problem)`.
            counters: Address of `COUNTER_BYTES` that are zero, and zero again when the launch has
                run. Launches that may run at once need counters of their own.
            stream: A cudaStream_t; the CPU build ignores it.
            phase: Run only this phase, on the workspace that the phase before it wrote; None: all.

        Raises:
            UsageError: The problem or an address cannot be used, or CUDA failed.
        """
        absent = (None, None, None, None)
        tensors = _Tensors(
            x,
            residual,
            (c_void_p * 4)(*(channel or absent)),
            (c_void_p * 4)(*(depth or absent)),
            y,
            workspace,
            workspace_bytes,
            counters,
        )
        structures = (ctypes.byref(_attention(problem)), ctypes.byref(tensors))
        if phase is None:
            self._call("launch", *structures, c_void_p(stream))
        else:
            self._call("launch_phase", *structures, c_int(phase), c_void_p(stream))


def architecture(capability: tuple[int, int]) -> str:
    """Return nvcc's name for a compute capability: (8, 9) → "sm_89"."""
    major, minor = capability
    return f"sm_{major}{minor}"


def covers(target: str, capability: tuple[int, int]) -> bool:
    """Return whether a library for `target` (see `Library`) runs on a compute capability.

    Code for sm_86 runs on 8.6 and 8.9. Code for a Tegra (sm_87, Orin) or for sm_90a runs on exactly
    that one. PTX of 8.6 runs on all later GPUs (CUDA C++ Programming Guide, 6.1.2 and 6.1.3).
    """
    return any(_runs_on(code, capability) for code in target.split()[1:])


def has_code(target: str, capability: tuple[int, int]) -> bool:
    """Return whether it runs there without its PTX."""
    codes = (code for code in target.split()[1:] if not code.startswith("ptx"))
    return any(_runs_on(code, capability) for code in codes)


def _runs_on(code: str, capability: tuple[int, int]) -> bool:
    kind, _, number = code.partition("_")
    have = divmod(int(number.removesuffix("a")), 10)
    if number.endswith("a"):
        return have == capability
    if kind == "ptx":
        return have <= capability
    if _TEGRA & {have, capability}:
        return have == capability
    return have <= capability and have[0] == capability[0]
