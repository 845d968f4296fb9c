"""The torch operator: the paper's layers and their gradients, in every type and layout."""

import numpy as np
import pytest
import torch

from darnet_trt.errors import UsageError
from darnet_trt.kernels import torch_operator
from darnet_trt.kernels.reference import Gate
from darnet_trt.kernels.reference import fused_attention as in_float64
from darnet_trt.kernels.torch_operator import fused_attention
from darnet_trt.training.model import ChannelAttention, DepthAttention
from tests.kernels.attention_cases import ATTENTIONS

LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)
SHAPE = (2, 6, 3, 4, 5)


def layers(attention, shape=SHAPE, dtype=torch.float64):
    """The paper's layers of one attention and their parameters as the operator takes them."""
    torch.manual_seed(3)
    _, c, d, _, _ = shape
    channel = [ChannelAttention(c).to(dtype)] if attention != "depth" else []
    depth = [DepthAttention(c, d).to(dtype)] if attention != "channel" else []
    gates = [[p for module in modules for p in module.parameters()] for modules in (channel, depth)]
    return torch.nn.Sequential(*channel, *depth), gates


def inputs(shape=SHAPE, dtype=torch.float64, layout=torch.channels_last_3d, seed=5):
    generator = torch.Generator().manual_seed(seed)
    x, residual = (
        torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2)
    )
    return tuple(t.to(memory_format=layout).requires_grad_() for t in (x, residual))


def reference(x, residual, gates):
    """`kernels.reference` for torch tensors."""
    x, residual = (None if t is None else t.detach().double().numpy() for t in (x, residual))
    arrays = [[p.detach().double().numpy() for p in gate] for gate in gates]
    return in_float64(x, residual, *(Gate(*a) if a else None for a in arrays))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("with_residual", [True, False])
@pytest.mark.parametrize("shape", [SHAPE, (1, 33, 1, 7, 2)])
def test_values_and_gradients_are_those_of_the_papers_layers(
    attention, layout, with_residual, shape
):
    module, gates = layers(attention, shape)
    x, residual = inputs(shape, layout=layout)
    leaves = [x, *module.parameters()]
    weight = torch.randn(shape, dtype=torch.float64)
    expected = module(x)
    if with_residual:
        leaves.append(residual)
        expected = (expected + residual).relu()
    else:
        residual = None
    found = fused_attention(x, residual, *gates)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert found.stride() == x.stride()
    np.testing.assert_allclose(
        found.detach().numpy(), reference(x, residual, gates), rtol=0, atol=1e-14
    )
    gradients = [torch.autograd.grad((y * weight).sum(), leaves) for y in (found, expected)]
    for ours, papers in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, papers, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 4e-2)]
)
def test_narrow_types_keep_their_type_and_sum_in_float32(dtype, limit):
    shape = (
        2,
        8,
        3,
        40,
        40,
    )  # at a mean of 60 the sum over h and w is 96 000: float16 ends at 65 504
    _, gates = layers("both", shape, torch.float32)
    x, residual = inputs(shape, dtype)
    x = (x.detach() + 60).requires_grad_()
    y = fused_attention(x, residual, *gates)
    assert y.dtype == dtype
    expected = reference(x, residual, gates)
    np.testing.assert_allclose(y.detach().double(), expected, rtol=limit, atol=limit)
    y.sum().backward()
    assert x.grad.dtype == residual.grad.dtype == dtype
    assert {p.grad.dtype for gate in gates for p in gate} == {torch.float32}


def test_autocast_changes_nothing_inside():
    _, gates = layers("both", SHAPE, torch.float32)
    x, residual = inputs(dtype=torch.bfloat16)
    leaves = (x, residual, *gates[0], *gates[1])
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = fused_attention(x, residual, *gates)
            results.append((y, torch.autograd.grad(y.float().square().sum(), leaves)))
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_torchs_check_of_the_operator(attention):
    _, gates = layers(attention)
    for layout in LAYOUTS:
        torch.library.opcheck(fused_attention, (*inputs(layout=layout), *gates))
    torch.library.opcheck(fused_attention, (inputs()[0], None, *gates))


def test_compile_keeps_it_whole():
    _, gates = layers("both")
    seen = []

    def keep(graph, _):
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    x, residual = inputs()
    compiled = torch.compile(fused_attention, fullgraph=True, backend=keep)
    y = compiled(x, residual, *gates)
    assert seen == [torch.ops.darnet.fused_attention.default]
    torch.testing.assert_close(y, fused_attention(x, residual, *gates))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, r, c, d: (x[0], r, c, d), r"x must be 5 axes .* found \(6, 3, 4, 5\)"),
        (lambda x, r, c, d: (x.long(), r, c, d), "floating type; found .* torch.int64"),
        (lambda x, r, c, d: (x, r[:1], c, d), r"residual must be \(2, 6, 3, 4, 5\).* found \(1, 6"),
        (lambda x, r, c, d: (x, r.half(), c, d), "float64, as x; found .* torch.float16"),
        (lambda x, r, c, d: (x, r.to("meta"), c, d), "residual must be cpu, as x; found .* meta"),
        (lambda x, r, c, d: (x, r, [], []), "neither a channel nor a depth gate"),
        (lambda x, r, c, d: (x, r, c[:3], d), "a channel gate has 4 parameters; found 3"),
        (lambda x, r, c, d: (x[:, :4], r[:, :4], c, d), r"channel gate must be \(1, 4\)"),
        (lambda x, r, c, d: (x[:, :, :2], r[:, :, :2], c, d), r"depth gate must be \(3, 12\)"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    _, gates = layers("both")
    with torch.no_grad(), pytest.raises(UsageError, match=message):
        fused_attention(*change(*inputs(), *gates))


def test_an_empty_batch_gives_an_empty_result():
    _, gates = layers("both")
    x, residual = (t[:0] for t in inputs())
    assert fused_attention(x, residual, *gates).shape == (0, *SHAPE[1:])


def test_without_kernels_a_cuda_device_warns_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    torch_operator.kernels_for.cache_clear()
    for _ in range(2):
        assert torch_operator.kernels_for(torch.device("cuda", 0)) is None
    torch_operator.kernels_for.cache_clear()
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith(
        "the fused attention runs as plain torch on cuda:0: its kernels are not compiled; "
    )
    assert "CUDACXX is not a program: /nowhere/nvcc" in said


def test_on_the_cpu_there_is_no_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fused_attention(*inputs(), *layers("both")[1])
    assert not caplog.records


# The operator on CUDA, with the kernels' CPU build instead of the CUDA build.


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 2e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_the_kernels_on_torchs_memory(on_cpu, attention, dtype, limit):
    shape = (2, 16, 3, 6, 5)
    _, gates = layers(attention, shape, torch.float32)
    x, residual = inputs(shape, dtype)
    with torch.no_grad():
        y = torch_operator._launch(on_cpu, 0, x, residual, *gates)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    np.testing.assert_allclose(y.double(), reference(x, residual, gates), rtol=limit, atol=limit)


def test_the_kernels_take_views_that_are_misaligned_strided_or_in_another_order(on_cpu):
    _, gates = layers("both", SHAPE, torch.float32)
    n, c, d, h, w = SHAPE
    flat = torch.randn(2 * n * c * d * h * w + 1)
    misaligned = flat[1 : 1 + n * c * d * h * w].view(n, d, h, w, c).permute(0, 4, 1, 2, 3)
    strided = torch.randn(n, 2 * c, d, h, w)[:, ::2]
    for x in (misaligned, strided, strided.transpose(3, 4).contiguous().transpose(3, 4)):
        with torch.no_grad():
            y = torch_operator._launch(on_cpu, 0, x, -x, *gates)
        np.testing.assert_allclose(y, reference(x, -x, gates), rtol=2e-6, atol=2e-6)
