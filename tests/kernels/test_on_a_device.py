"""The kernels and the torch operator in a device's memory, on a GPU and on the host.

Everything here that a GPU runs, the CPU build runs as well, so that a test which fails on a GPU
fails for the GPU's reasons. `python -m benchmarks.gpu.run` runs it where only torch is installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import COUNTER_BYTES, PHASES, Library, Problem, architecture
from darnet_trt.kernels.torch_operator import fused_attention, kernels_for
from tests.kernels.attention_cases import (
    ATTENTIONS,
    DTYPES,
    LARGE,
    SHAPES,
    WEIGHTS,
    Case,
    make_case,
)

GUARD = 256  # bytes before and after every buffer
# Set under compute-sanitizer, to which a guard is valid memory.
NO_GUARDS = "DARNET_NO_GUARDS"
STAGES = [(1, 64, 112, 112, 64), (1, 32, 56, 56, 128), (1, 16, 28, 28, 256), (1, 8, 14, 14, 512)]


class Buffer:
    """Bytes on a device between two guards."""

    def __init__(self, size: int, device: torch.device, fill: int) -> None:
        guard = 0 if NO_GUARDS in os.environ else GUARD
        self.memory = torch.full((size + 2 * guard,), 0xA5, dtype=torch.uint8, device=device)
        self.before, self.inside, self.behind = self.memory.split((guard, size, guard))
        self.inside.fill_(fill)
        self.address = self.memory.data_ptr() + guard

    def put(self, array: np.ndarray) -> Buffer:
        self.inside.copy_(torch.from_numpy(array.reshape(-1).view(np.uint8)))
        return self

    def untouched(self) -> bool:
        return bool((torch.cat((self.before, self.behind)) == 0xA5).all())


@dataclass
class Device:
    """A device and its library."""

    device: torch.device
    library: Library

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def load(self, case: Case) -> Loaded:
        return Loaded(self, case)


class Loaded:
    """A case on the device.

    Before a launch y and the workspace are full of 0xFF, which is NaN, and the counters are 0.
    """

    def __init__(self, on: Device, case: Case) -> None:
        self.on, self.case = on, case
        self.inputs = {"x": case.x}
        if case.residual is not None:
            self.inputs["residual"] = case.residual
        for kind in ("channel", "depth"):
            for number, array in enumerate(getattr(case, kind) or ()):
                self.inputs[f"{kind}{number}"] = array
        self.buffers = {
            name: Buffer(array.nbytes, on.device, 0).put(array)
            for name, array in self.inputs.items()
        }
        p = case.problem
        self.dtype = DTYPES[p.y_type]
        self.y = Buffer(case.x.size * self.dtype.itemsize, on.device, 0xFF)
        self.workspace = Buffer(on.library.workspace_bytes(p), on.device, 0xFF)
        self.counters = Buffer(COUNTER_BYTES, on.device, 0)

    def launch(self, stream: int = 0, problem: Problem | None = None, **changes: int) -> None:
        at = {name: buffer.address for name, buffer in self.buffers.items()}
        gates = {
            kind: tuple(at[f"{kind}{n}"] for n in range(4)) if f"{kind}0" in at else None
            for kind in ("channel", "depth")
        }
        arguments = {
            "x": at["x"],
            "residual": at.get("residual"),
            **gates,
            "y": self.y.address,
            "workspace": self.workspace.address,
            "workspace_bytes": len(self.workspace.inside),
            "counters": self.counters.address,
            "stream": stream,
        }
        self.on.library.launch(problem or self.case.problem, **{**arguments, **changes})

    def result(self, of: Buffer | None = None) -> np.ndarray:
        """Return y, and check that no byte beside it and no input was written."""
        if self.on.is_gpu:
            torch.cuda.synchronize()
        of = of or self.y
        assert not self.counters.inside.any(), "the launch left counters that are not zero"
        beside = {"y": self.y, "workspace": self.workspace, "counters": self.counters}
        for name, buffer in {**self.buffers, **beside}.items():
            assert buffer.untouched(), f"written beside {name}"
            if name in self.inputs and buffer is not of:
                stored = self.inputs[name].reshape(-1).view(np.uint8)
                assert (buffer.inside.cpu().numpy() == stored).all(), f"written into {name}"
        return of.inside.cpu().numpy().view(self.dtype).reshape(self.case.x.shape)

    def run(self) -> np.ndarray:
        self.launch()
        return self.result()


CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
ON_A_GPU = pytest.mark.parametrize("on", [CUDA], indirect=True)


@pytest.fixture(scope="module", params=["cpu", CUDA])
def on(request: pytest.FixtureRequest) -> Device:
    architectures = None
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("torch sees no NVIDIA GPU")
        architectures = [architecture(torch.cuda.get_device_capability())]
    try:
        return Device(
            torch.device(request.param, 0 if request.param == "cuda" else None),
            Library(build_library(request.param, architectures)),
        )
    except BuildError as error:
        if error.what.startswith("no "):
            pytest.skip(str(error))
        raise


@pytest.fixture(autouse=True)
def end_at_a_lost_gpu() -> Iterator[None]:
    """End the process where a kernel failed on the GPU: every later test would fail for it."""
    yield
    if torch.cuda.is_initialized():
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            pytest.exit(f"CUDA no longer works: {str(error).splitlines()[0]}", returncode=1)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("residual", ["", "int8", "none"])
def test_every_combination_of_types(on: Device, weights: str, residual: str) -> None:
    # 16 bytes at a time, 8 of int8 alone, one element at a time
    for channels, x, y in product((16, 8, 5), (None, "int8"), (None, "int8")):
        case = make_case(
            (2, 3, 5, 7, channels),
            weights=weights,
            x=x,
            residual=residual if residual == "int8" else None,
            y=y,
            has_residual=residual != "none",
        )
        case.check(on.load(case).run())


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    "shape",
    [*SHAPES, pytest.param(LARGE, marks=pytest.mark.slow)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_shapes(on: Device, attention: str, shape: tuple[int, int, int, int, int]) -> None:
    for weights in WEIGHTS:
        case = make_case(shape, attention=attention, weights=weights)
        loaded = on.load(case)
        case.check(loaded.run())
        # The workspace's end is written, so it could not be smaller.
        assert (loaded.workspace.inside[-4:] != 0xFF).any()


@pytest.mark.parametrize("stage", STAGES, ids=["stage1", "stage2", "stage3", "stage4"])
@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_the_papers_stages(on: Device, stage: tuple[int, int, int, int, int], kind: str) -> None:
    n, d, h, w, c = stage
    if not on.is_gpu:  # some of the slices, a quarter of the rows
        d, h = d // 8, h // 4
    narrow = dict.fromkeys(("x", "residual", "y"), "int8") if kind == "int8" else {}
    case = make_case((n, d, h, w, c), weights="float16", **narrow)
    y = on.load(case).run()
    check_on(on.device, case, y)
    if not on.is_gpu:
        case.check(y)


def check_on(device: torch.device, case: Case, y: np.ndarray) -> None:
    """Do `Case.check` in torch's float64 on the device: on the host it takes half a minute."""
    p = case.problem

    def values(stored: np.ndarray, scale: float) -> torch.Tensor:
        precise = torch.from_numpy(stored).to(device).double().permute(0, 4, 1, 2, 3)
        return precise * float(np.float32(scale)) if stored.dtype == np.int8 else precise

    maps = values(case.x, p.x_scale), values(case.residual, p.residual_scale)
    gates = [[torch.from_numpy(a).to(device) for a in g] for g in (case.channel, case.depth)]
    expected, allowed = case.stored(fused_attention(*maps, *gates))
    beyond = (values(y, p.y_scale) - expected).abs_() - allowed
    assert float(beyond.max()) < 0


def test_a_batch_beyond_2_to_the_31_elements(on: Device) -> None:
    n, shape = (42, STAGES[0]) if on.is_gpu else (3, (1, 2, 6, 7, 64))
    case = make_case(shape, weights="float16", x="int8", residual="int8", y="int8")
    if on.is_gpu:
        assert n * case.x.size > 2**31
        needed, (free, _) = 4 * n * case.x.size, torch.cuda.mem_get_info()
        if free < needed:
            pytest.skip(
                f"needs {needed / 2**30:.0f} GiB of GPU memory, {free / 2**30:.1f} are free"
            )
    loaded = on.load(case)
    size, bytes_of = (n, case.x.size), {"dtype": torch.int8, "device": on.device}
    x, residual = (torch.randint(-128, 128, size, **bytes_of) for _ in range(2))
    y, alone = torch.zeros(size, **bytes_of), torch.zeros(size[1:], **bytes_of)
    whole = replace(case.problem, n=n)
    workspace = Buffer(on.library.workspace_bytes(whole), on.device, 0xFF)
    space = {"workspace": workspace.address, "workspace_bytes": len(workspace.inside)}
    at = {"x": x.data_ptr(), "residual": residual.data_ptr(), "y": y.data_ptr()}
    loaded.launch(problem=whole, **at, **space)
    for volume in (0, n // 2, n - 1):
        of_it = {"x": x[volume].data_ptr(), "residual": residual[volume].data_ptr()}
        loaded.launch(**of_it, y=alone.data_ptr(), **space)
        if on.is_gpu:
            torch.cuda.synchronize()
        assert alone.count_nonzero() > 0
        assert torch.equal(y[volume], alone), volume
    assert workspace.untouched()


def test_buffers_have_no_guards_under_compute_sanitizer(
    on: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NO_GUARDS, "1")
    loaded = on.load(make_case((1, 2, 3, 5, 16), weights="float16"))
    for buffer in (*loaded.buffers.values(), loaded.y, loaded.workspace, loaded.counters):
        assert buffer.address == buffer.memory.data_ptr()
        assert len(buffer.memory) == len(buffer.inside)
    loaded.case.check(loaded.run())


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_same_bits_every_time_on_every_stream(on: Device, weights: str) -> None:
    loaded = on.load(make_case((2, 8, 23, 19, 64), weights=weights))
    first = loaded.run().tobytes()
    streams = [torch.cuda.Stream().cuda_stream for _ in range(3)] if on.is_gpu else [0, 0, 0]
    for stream in streams * 3:
        loaded.y.inside.fill_(0xFF)
        loaded.workspace.inside.fill_(0xFF)
        if on.is_gpu:
            torch.cuda.synchronize()
        loaded.launch(stream)
        assert loaded.result().tobytes() == first


def test_the_launch_gives_the_bits_of_its_phases_apart(on: Device) -> None:
    loaded = on.load(make_case((2, 8, 23, 19, 64), weights="float16"))
    for phase in range(len(PHASES)):
        loaded.launch(phase=phase)
        if on.is_gpu:
            torch.cuda.synchronize()  # so that apply cannot begin before pool ends
    apart = loaded.result().tobytes()
    loaded.y.inside.fill_(0xFF)
    assert loaded.run().tobytes() == apart


def test_launches_one_behind_the_other_do_not_mix(on: Device) -> None:
    # Two inputs in turn through one workspace and its counters, never waited for: what a launch
    # reads too early or too late is the other's.
    shape, turns = ((1, 8, 14, 14, 512), 40) if on.is_gpu else ((1, 2, 3, 4, 64), 3)
    streams = [torch.cuda.Stream() for _ in range(3)] if on.is_gpu else [None]
    pairs, expected, found = [], [], []
    for number, _ in enumerate(streams):
        pair = [on.load(make_case(shape, weights="float16", seed=2 * number + i)) for i in (0, 1)]
        pair[1].workspace, pair[1].counters = pair[0].workspace, pair[0].counters
        for one in pair:
            one.run()
        expected.append(torch.stack([one.y.inside for one in pair]))
        found.append(torch.zeros((turns, *expected[-1].shape), dtype=torch.uint8, device=on.device))
        pairs.append(pair)

    def queue(number: int, turn: int) -> None:
        stream = streams[number].cuda_stream if on.is_gpu else 0
        for one, y in zip(pairs[number], found[number][turn], strict=True):
            one.launch(stream, y=y.data_ptr())

    def check() -> None:
        for number, pair in enumerate(pairs):
            pair[0].result()  # and the counters
            same = (found[number] == expected[number]).all(2)
            assert same.all(), f"launches that differ: {(~same).nonzero().tolist()}"
            found[number].zero_()
        if on.is_gpu:
            torch.cuda.synchronize()

    if on.is_gpu:
        torch.cuda.synchronize()
    for turn, number in product(range(turns), range(len(streams))):
        queue(number, turn)
    check()
    if on.is_gpu:
        graphs = [torch.cuda.CUDAGraph() for _ in streams]
        for number, graph in enumerate(graphs):
            with torch.cuda.graph(graph, stream=streams[number]):
                for turn in range(turns):
                    queue(number, turn)
        for stream, graph in zip(streams, graphs, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
        check()


def test_several_threads_launch_at_once(on: Device) -> None:
    cases = [make_case((1, 3, 9, 8, 32), weights="float16", seed=seed) for seed in range(4)]
    loaded = [on.load(case) for case in cases]
    if on.is_gpu:
        torch.cuda.synchronize()
    streams = [torch.cuda.Stream().cuda_stream if on.is_gpu else 0 for _ in loaded]
    with ThreadPoolExecutor(len(loaded)) as pool:
        list(pool.map(Loaded.launch, loaded, streams))
    for one, case in zip(loaded, cases, strict=True):
        case.check(one.result())


@pytest.mark.parametrize("into", ["x", "residual"])
@pytest.mark.parametrize("types", [{}, {"x": "int8", "residual": "int8", "y": "int8"}], ids=str)
@pytest.mark.parametrize("channels", [64, 5])
def test_y_may_be_an_input(on: Device, into: str, types: dict[str, str], channels: int) -> None:
    case = make_case((2, 3, 20, 9, channels), weights="float16", **types)
    expected = on.load(case).run()
    loaded = on.load(case)
    target = loaded.buffers[into]
    loaded.launch(y=target.address)
    np.testing.assert_array_equal(loaded.result(target), expected)


@ON_A_GPU
def test_a_cuda_graph_of_the_launch_can_be_replayed(on: Device) -> None:
    case, other = (make_case((1, 8, 20, 9, 64), weights="float16", seed=s) for s in (1, 2))
    other.channel, other.depth = case.channel, case.depth
    loaded = on.load(case)
    loaded.run()  # CUDA loads a kernel at its first launch, which cannot be captured
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loaded.launch(torch.cuda.current_stream().cuda_stream)
    for current in (case, other, case):
        loaded.inputs.update(x=current.x, residual=current.residual)
        loaded.buffers["x"].put(current.x)
        loaded.buffers["residual"].put(current.residual)
        loaded.y.inside.fill_(0xFF)
        graph.replay()
        current.check(loaded.result())


# --- the torch operator ---------------------------------------------------------------------------

TYPES = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}


def tensors(on: Device, dtype: torch.dtype, attention: str = "both") -> list[torch.Tensor | list]:
    """Make x, residual, channel, depth as leaves; in float64 on the CPU the same numbers."""
    case = make_case((2, 3, 7, 6, 32), attention=attention, seed=4)

    def leaf(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.copy()).to(on.device, dtype)

    maps = [leaf(a).permute(0, 4, 1, 2, 3).requires_grad_() for a in (case.x, case.residual)]
    gates = [
        [leaf(a).float().requires_grad_() for a in gate or ()]
        for gate in (case.channel, case.depth)
    ]
    return [*maps, *gates]


def gradients(operator, arguments: list, of: torch.Tensor) -> list[torch.Tensor]:
    """Return y, and the gradients of the sum of y where `of` is true."""
    x, residual, channel, depth = arguments
    y = operator(*arguments)
    leaves = (x, residual, *channel, *depth)
    return [y, *torch.autograd.grad((y * of.to(y)).sum(), leaves)]


def in_float64(arguments: list) -> list:
    x, residual, *gates = arguments
    precise = [[p.detach().cpu().double().requires_grad_() for p in g] for g in gates]
    return [*(t.detach().cpu().double().requires_grad_() for t in (x, residual)), *precise]


def assert_near(found: list[torch.Tensor], expected: list[torch.Tensor], limit: float) -> None:
    for ours, precise in zip(found, expected, strict=True):
        largest = float(precise.detach().abs().max())
        difference = float((ours.detach().cpu().double() - precise.detach()).abs().max())
        assert difference <= limit * max(largest, 1), (difference, largest)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_operator_forward_and_backward(on: Device, dtype: torch.dtype, attention: str) -> None:
    if on.is_gpu:
        kernels_for.cache_clear()
        assert kernels_for(on.device) is not None, "the operator does not find the kernels"
    arguments = tensors(on, dtype, attention)
    precise = in_float64(arguments)
    # Leave out values so small that rounding decides whether they pass the ReLU.
    of = fused_attention(*precise).detach() > 0.1
    expected = gradients(fused_attention, precise, of)
    assert_near(gradients(fused_attention, arguments, of), expected, 4 * TYPES[dtype])


@pytest.mark.parametrize("layout", ["contiguous", "misaligned", "every second"])
def test_operator_takes_any_view(on: Device, layout: str) -> None:
    x, residual, *gates = tensors(on, torch.float16)
    with torch.no_grad():
        expected = fused_attention(x, residual, *gates)
        if layout == "contiguous":
            view = x.contiguous()
        elif layout == "misaligned":
            memory = torch.empty(x.numel() + 1, dtype=x.dtype, device=x.device)
            view = memory[1:].view(x.permute(0, 2, 3, 4, 1).shape).permute(0, 4, 1, 2, 3)
            view.copy_(x)
        else:
            view = torch.empty((*x.shape[:4], 2 * x.shape[4]), dtype=x.dtype, device=x.device)
            view = view[..., ::2].copy_(x)
        found = fused_attention(view, residual, *gates)
    torch.testing.assert_close(found, expected, rtol=4e-3, atol=4e-3)


def test_operator_under_autocast(on: Device) -> None:
    x, residual, *gates = tensors(on, torch.float32)
    with torch.no_grad(), torch.autocast(on.device.type, torch.bfloat16):
        y = fused_attention(x.bfloat16(), residual.bfloat16(), *gates)
    assert y.dtype == torch.bfloat16
    precise = fused_attention(*in_float64([x, residual, *gates]))
    assert_near([y], [precise], 4e-2)


def test_operator_compiled(on: Device) -> None:
    arguments = tensors(on, torch.float32)
    backend = "inductor" if on.is_gpu else "aot_eager"
    compiled = torch.compile(fused_attention, fullgraph=True, backend=backend)
    of = fused_attention(*arguments).detach() > 0.1
    torch.testing.assert_close(
        gradients(compiled, arguments, of),
        gradients(fused_attention, arguments, of),
        rtol=1e-4,
        atol=1e-4,
    )


@ON_A_GPU
def test_operator_in_a_cuda_graph_and_on_another_stream(on: Device) -> None:
    x, residual, *gates = tensors(on, torch.float16)
    with torch.no_grad():
        expected = fused_attention(x, residual, *gates)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            elsewhere = fused_attention(x, residual, *gates)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = fused_attention(x, residual, *gates)
        graph.replay()
        torch.cuda.synchronize()
    assert torch.equal(expected, elsewhere)
    assert torch.equal(expected, captured)
