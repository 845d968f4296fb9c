"""The kernels' source, compiled with g++, against the reference in float64."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession

from darnet_trt.kernels.library import COUNTER_BYTES, PHASES, Library
from darnet_trt.kernels.reference import quantize
from tests.kernels.attention_cases import ATTENTIONS, WEIGHTS, Case, aligned, make_case

CHANNELS = [1, 2, 3, 4, 7, 8, 12, 16, 24, 33, 64, 72, 128, 130, 256, 512, 513]


@given(
    shape=st.tuples(
        st.integers(1, 3),
        st.integers(1, 9),
        st.integers(1, 12),
        st.integers(1, 12),
        st.sampled_from(CHANNELS),
    ).filter(lambda s: np.prod(s) < 40_000),
    attention=st.sampled_from(ATTENTIONS),
    weights=st.sampled_from(WEIGHTS),
    narrow=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    has_residual=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_any_shape_and_type(
    on_cpu: Library,
    shape: tuple[int, int, int, int, int],
    attention: str,
    weights: str,
    narrow: tuple[bool, bool, bool],
    has_residual: bool,
    seed: int,
) -> None:
    x, residual, y = ("int8" if is_int8 else None for is_int8 in narrow)
    case = make_case(
        shape,
        attention=attention,
        weights=weights,
        x=x,
        residual=residual,
        y=y,
        has_residual=has_residual,
        seed=seed,
    )
    case.check(case.run(on_cpu))


def test_a_volume_is_the_same_bits_alone_and_in_a_batch(on_cpu: Library) -> None:
    for weights, x in itertools.product(WEIGHTS, (None, "int8")):
        batch = make_case((3, 4, 17, 11, 24), weights=weights, x=x)
        together = batch.run(on_cpu)
        for n in range(3):
            one = slice(n, n + 1)
            alone = replace(
                batch,
                problem=replace(batch.problem, n=1),
                x=aligned(batch.x[one]),
                residual=aligned(batch.residual[one]),
            ).run(on_cpu)
            assert alone.tobytes() == together[one].tobytes()


# n d h w c: groups of channels and parts of slices, slices in tiles, single elements, and volumes
# that share counters.
ORDERED_SHAPES = [(2, 2, 40, 30, 40), (1, 70, 3, 2, 24), (1, 5, 3, 3, 65)]
SHARED_COUNTERS = (140, 1, 1, 1, 33)
ORDERED = f"""
import hashlib, sys
from pathlib import Path
from tests.kernels.attention_cases import make_case
from darnet_trt.kernels.library import Library
library = Library(Path(sys.argv[1]))
digest = hashlib.sha256()
for shape in {ORDERED_SHAPES}:
    for x in (None, "int8"):
        digest.update(make_case(shape, weights="float16", x=x).run(library))
digest.update(make_case({SHARED_COUNTERS}).run(library))
print(digest.hexdigest())
"""


def test_the_order_of_threads_and_blocks_changes_no_bit(on_cpu: Library) -> None:
    def bits(threads: str, blocks: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", ORDERED, str(on_cpu.path)],
            env={**os.environ, "DARNET_FIBER_ORDER": threads, "DARNET_BLOCK_ORDER": blocks},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    forward = bits("", "")
    assert len(forward.strip()) == 64
    for order in (("reverse", "reverse"), ("", "1")):
        assert bits(*order) == forward


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("shape", ORDERED_SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_groups_parts_and_tiles(
    on_cpu: Library, attention: str, shape: tuple[int, int, int, int, int]
) -> None:
    case = make_case(shape, attention=attention, weights="float16")
    case.check(case.run(on_cpu))


def test_more_groups_of_channels_than_counters(on_cpu: Library) -> None:
    n, *_, c = SHARED_COUNTERS
    assert n * -(-c // 32) > COUNTER_BYTES // 4
    case = make_case(SHARED_COUNTERS)
    case.check(case.run(on_cpu))


def test_no_part_of_a_slice_has_a_round_that_is_almost_empty(on_cpu: Library) -> None:
    for c, d, h, w in ((64, 64, 112, 112), (128, 32, 56, 56), (256, 16, 28, 28), (512, 8, 14, 14)):
        problem = replace(
            make_case((1, 1, 1, 1, 16), weights="float16").problem,
            **{"c": c, "d": d, "h": h, "w": w, "channel_hidden": c // 16, "depth_hidden": d},
        )
        for phase, channels in enumerate((32, c)):
            cost = on_cpu.cost(problem, phase)
            parts = cost.grid[0] // (d * (c // channels))
            a_round = 4 * cost.block[1]
            rounds = -(-h * w // (parts * a_round))
            assert h * w > 0.75 * parts * rounds * a_round


@pytest.mark.parametrize("x", ["float16", "int8"])
@pytest.mark.parametrize("channels", [24, 33, 64])
def test_the_workspace_grows_with_the_shape(on_cpu: Library, x: str, channels: int) -> None:
    problem = make_case((1, 2, 1, 1, channels), weights="float16", x=x).problem
    for longer in ("n", "d", "h", "w"):
        sizes = [
            on_cpu.workspace_bytes(replace(problem, **{"w": 64, longer: length}))
            for length in range(1, 700)
        ]
        assert sizes == sorted(sizes), longer


def test_phases_one_by_one_are_the_launch(on_cpu: Library) -> None:
    case = make_case((1, 4, 12, 10, 32))
    workspace = np.full(on_cpu.workspace_bytes(case.problem) + 16, 0xFF, np.uint8)
    at = workspace.ctypes.data + -workspace.ctypes.data % 16
    whole = case.run(on_cpu)
    for phase in range(len(PHASES)):
        y = case.run(on_cpu, workspace=at, phase=phase)
    assert y.tobytes() == whole.tobytes()


def half_gates(case: Case) -> Case:
    """Return gates of exactly ½, sigmoid(0)."""
    for parameters in (case.channel, case.depth):
        for array in parameters or ():
            array[...] = 0
    return case


def test_int8_rounds_ties_to_even_and_saturates(on_cpu: Library) -> None:
    case = make_case((1, 1, 8, 8, 16), attention="channel", y="int8", has_residual=False)
    half_gates(case)
    case.problem = replace(case.problem, y_scale=0.5)
    numbers = np.arange(-512, 512) / 2  # y / scale = x: every tie, and beyond both ends
    case.x[...] = numbers.reshape(case.x.shape)
    np.testing.assert_array_equal(case.run(on_cpu).ravel(), quantize(numbers / 2, 0.5))
    np.testing.assert_array_equal(
        quantize(np.array([-1e9, -0.5, 0.5, 1.5, 2.5, 126.5, 127.5, 1e9, np.nan]), 1),
        [-128, 0, 0, 2, 2, 126, 127, 127, 0],
    )


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.7, 1e-3, 123.0, 3e-30, 3e30])
def test_int8_beside_ties_equals_onnx_runtime(on_cpu: Library, scale: float) -> None:
    case = make_case((1, 1, 7, 7, 16), attention="channel", y="int8", has_residual=False)
    half_gates(case)
    case.problem = replace(case.problem, y_scale=scale)
    ties = ((np.arange(-131, 130) + 0.5) * scale).astype(np.float32)
    beside = [np.nextafter(ties, np.float32(side)) for side in (-np.inf, np.inf)]
    values = np.concatenate((ties, *beside, [0])).astype(np.float32)
    case.x[...] = 2 * values.reshape(case.x.shape)
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["": 21]>
        quantize (float[n] values, float scale) => (int8[n] stored) {
            stored = QuantizeLinear <output_dtype = 3> (values, scale)
        }""")
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"values": values, "scale": np.array(scale, np.float32)})
    np.testing.assert_array_equal(case.run(on_cpu).ravel(), expected)
    inverse = np.float32(1) / np.float32(scale)
    assert (np.clip(np.rint(values * inverse), -128, 127) != expected).any()  # multiplying differs


@pytest.mark.parametrize("weights", WEIGHTS)
def test_nan_and_infinity_come_out_as_in_the_reference(on_cpu: Library, weights: str) -> None:
    for broken in (np.nan, np.inf, -np.inf):
        case = make_case((2, 3, 5, 4, 16), weights=weights, seed=3)
        case.x[0, 1, 2, 3, 5] = broken
        case.residual[1, 2, 1, 0, 7] = broken
        y = case.run(on_cpu).astype(float)
        with np.errstate(invalid="ignore"):
            expected = case.expected()
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
        finite = np.isfinite(expected)
        np.testing.assert_allclose(y[finite], expected[finite], rtol=2e-2, atol=2e-2)
    assert np.isfinite(expected[1]).sum() == expected[1].size  # relu(-inf) is 0
    assert not np.isfinite(expected[0]).all()


def test_float16_sums_do_not_overflow(on_cpu: Library) -> None:
    case = make_case((1, 1, 40, 40, 8), weights="float16", attention="channel")
    case.x[...] = 60000
    half_gates(case)
    case.check(case.run(on_cpu))


def test_the_cost_follows_from_the_shapes(on_cpu: Library) -> None:
    case = make_case((2, 4, 10, 12, 32), weights="float16", y="int8")
    p = case.problem
    pool, apply = (on_cpu.cost(p, phase) for phase in range(len(PHASES)))
    elements = case.x.size
    means_and_u = 4 * (p.n * p.c + p.n * p.depth_hidden * p.c)
    partial = on_cpu.workspace_bytes(p) - means_and_u
    assert pool.bytes_read == 2 * elements + partial + case.depth[0].nbytes
    assert pool.bytes_written == on_cpu.workspace_bytes(p)
    parameters = sum(v.nbytes for v in (*case.channel, *case.depth[1:]))
    assert apply.bytes_read == 4 * elements + means_and_u + parameters
    assert apply.bytes_written == elements
    for cost in (pool, apply):
        assert np.prod(cost.block) == 256
        assert cost.shared_bytes <= 48 * 1024
