"""Refusals of the C interface: sizes, types, addresses, workspace."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.errors import UsageError
from darnet_trt.kernels.library import Library, Problem, covers
from darnet_trt.kernels.toolchain import ARCHITECTURES
from tests.kernels.attention_cases import Case, addresses, aligned, make_case


def problem(**changes: object) -> Problem:
    return replace(make_case((1, 4, 6, 5, 16)).problem, **changes)


REFUSED = [
    ({"n": 0}, "n must be at least 1; it is 0"),
    ({"c": -8}, "c must be at least 1; it is -8"),
    ({"channel_hidden": -1}, "channel_hidden must be 0 to 1073741824; it is -1"),
    (
        {"channel_hidden": 0, "depth_hidden": 0},
        "neither the channel nor the depth attention has hidden units",
    ),
    (
        {"weight_type": "int8"},
        "gate parameters must be float32, float16 or bfloat16, not int8",
    ),
    (
        {"x_type": "float16"},
        "x must be float32, as the gate parameters, or int8; it is float16",
    ),
    (
        {"residual_type": "bfloat16"},
        "residual must be float32, as the gate parameters, or int8; it is bfloat16",
    ),
    (
        {"y_type": "float16"},
        "y must be float32, as the gate parameters, or int8; it is float16",
    ),
    (
        {"x_type": "int8", "x_scale": 0.0},
        "x is int8 and needs a scale above 0 and not subnormal; it is 0",
    ),
    (
        {"y_type": "int8", "y_scale": float("nan")},
        "y is int8 and needs a scale above 0 and not subnormal; it is nan",
    ),
    (
        {"y_type": "int8", "y_scale": 1e-39},
        "y is int8 and needs a scale above 0 and not subnormal; it is 1e-39",
    ),
    (
        {"n": 2**30},
        "1073741824×4×6×5×16 (n d h w c) is larger than a launch can be",
    ),
    (
        {"h": 50000, "w": 50000},
        "1×4×50000×50000×16 (n d h w c) is larger than a launch can be",
    ),
    (
        {"c": 8000},
        "8000 channels with 1 and 4 hidden units need 68116 bytes of shared memory; "
        "there are 49152",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_problem_that_cannot_be_is_refused(
    on_cpu: Library, changes: dict[str, object], message: str
) -> None:
    on_cpu.check(problem())
    nowhere = dict.fromkeys(("x", "residual", "y", "workspace", "workspace_bytes", "counters"), 0)
    launch = partial(on_cpu.launch, channel=None, depth=None, **nowhere)
    for call in (on_cpu.check, launch):
        with pytest.raises(UsageError) as refusal:
            call(problem(**changes))
        assert str(refusal.value) == f"fused attention: {message}"


def shifted(array: np.ndarray | None) -> int:
    assert array is not None
    return array.ctypes.data + 4


def test_addresses_are_checked_before_memory_is_touched(on_cpu: Library) -> None:
    case: Case = make_case((1, 4, 6, 5, 16))
    before = [case.x.copy(), case.residual.copy()]
    channel, depth = addresses(case.channel), addresses(case.depth)
    size = on_cpu.workspace_bytes(case.problem)
    y = np.zeros(case.x.size + 8, np.float32)
    memory = np.zeros(size + 32, np.uint8)
    off = memory.ctypes.data + -memory.ctypes.data % 16 + 8
    refusals = {
        "x is a null pointer": {"x": 0},
        "y is a null pointer": {"y": 0},
        "residual is a null pointer": {"residual": None},
        "the workspace is a null pointer": {"workspace": 0},
        "channel_squeeze_weight is a null pointer": {"channel": None},
        "depth_excite_bias is a null pointer": {"depth": (*depth[:3], 0)},
        f"the workspace must have {size} bytes; it has {size - 1}": {"workspace_bytes": size - 1},
        f"x must be aligned to 16 bytes; it is at {shifted(case.x):#x}": {"x": shifted(case.x)},
        f"residual must be aligned to 16 bytes; it is at {shifted(case.residual):#x}": {
            "residual": shifted(case.residual)
        },
        f"y must be aligned to 16 bytes; it is at {shifted(case.x):#x}": {"y": shifted(case.x)},
        f"the workspace must be aligned to 16 bytes; it is at {off:#x}": {"workspace": off},
        f"depth_excite_weight must be aligned to 16 bytes; it is at {depth[2] + 4:#x}": {
            "depth": (*depth[:2], depth[2] + 4, depth[3])
        },
        f"channel_squeeze_bias must be aligned to 4 bytes; it is at {channel[1] + 2:#x}": {
            "channel": (channel[0], channel[1] + 2, *channel[2:])
        },
        "the memory of the counters is a null pointer": {"counters": 0},
        f"the memory of the counters must be aligned to 4 bytes; it is at {off + 2:#x}": {
            "counters": off + 2
        },
        "phase must be 0 or 1; it is 2": {"phase": 2},
    }
    for message, changes in refusals.items():
        with pytest.raises(UsageError) as refusal:
            case.run(on_cpu, **changes)
        assert str(refusal.value) == f"fused attention: {message}"
    narrow = make_case((1, 4, 6, 5, 16), y="int8")
    for into in ("x", "residual"):
        with pytest.raises(UsageError, match="of its type; it is int8 over float32"):
            narrow.run(on_cpu, into)
    np.testing.assert_array_equal(before, [case.x, case.residual])
    assert not y.any()
    assert not memory.any()


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_biases_may_begin_at_any_element(on_cpu: Library, weights: str) -> None:
    case = make_case((1, 4, 6, 5, 16), weights=weights)
    expected = case.run(on_cpu)
    kept, moved = [], {}
    for kind in ("channel", "depth"):
        gate = list(addresses(getattr(case, kind)))
        for bias in (1, 3):
            values = getattr(case, kind)[bias]
            kept.append(aligned(np.concatenate((values[:1], values))))
            gate[bias] = kept[-1].ctypes.data + values.itemsize
        moved[kind] = tuple(gate)
    np.testing.assert_array_equal(case.run(on_cpu, **moved), expected)


def test_a_file_that_is_not_the_library_is_refused(on_cpu: Library, tmp_path: Path) -> None:
    text = tmp_path / "library.so"
    text.write_text("not a library")
    for path, found in ((text, "file too short"), (tmp_path / "absent.so", "cannot open")):
        with pytest.raises(UsageError, match=found) as refusal:
            Library(path)
        assert "darnet-trt plugin build" in str(refusal.value)
    with pytest.raises(UsageError, match="undefined symbol: darnet_attention_target"):
        Library(Path(np.linalg._umath_linalg.__file__))


# The targets of `darnet-trt plugin build`.
ALL = f"cuda {' '.join(ARCHITECTURES)} ptx_90"


@pytest.mark.parametrize(
    ("target", "capability", "runs"),
    [
        ("cpu", (8, 9), False),
        ("cuda sm_86", (8, 6), True),
        ("cuda sm_86", (8, 9), True),
        ("cuda sm_89", (8, 6), False),
        ("cuda sm_86", (12, 0), False),
        ("cuda sm_75 sm_86 ptx_86", (12, 0), True),
        ("cuda ptx_120", (8, 9), False),
        ("cuda sm_87", (8, 7), True),
        ("cuda sm_87", (8, 9), False),
        ("cuda sm_86", (8, 7), False),
        ("cuda ptx_86", (8, 7), True),
        ("cuda ptx_87", (8, 9), True),
        ("cuda sm_90 ptx_90", (10, 0), True),
        ("cuda sm_100", (10, 3), True),
        ("cuda sm_103", (10, 0), False),
        ("cuda sm_110", (11, 0), True),
        (ALL, (10, 0), True),
        (ALL, (11, 0), True),
        (ALL, (12, 1), True),
        (ALL, (8, 8), False),
        (ALL, (7, 2), False),
        ("cuda sm_90a", (9, 0), True),
        ("cuda sm_120a ptx_120a", (12, 1), False),
    ],
)
def test_which_gpu_runs_which_code(target, capability, runs):
    assert covers(target, capability) is runs
