"""Names that OpenVINO 2026.4, ONNX Runtime 1.32 and TensorRT-RTX 1.7 gave for the network."""

import pytest

from darnet_trt.runtime.bench.layers.places import Executed, places

CONV = "Convolution"
NAMED = [
    ("stem.0/WithoutBiases", CONV, "stem", "convolutions"),
    ("stages.0.0.conv1/WithoutBiases", CONV, "stages.0.0", "convolutions"),
    ("stages.1.0.conv2_token_60", "QLinearConv", "stages.1.0", "convolutions"),
    ("stages.2.1.conv2_myl0_49", "correlation", "stages.2.1", "convolutions"),
    ("z_channel_fp32__6", "ReduceMean", "stages.2.1", "attention means"),
    ("z_ndc__2", "ReduceMean", "stages.0.1", "attention means"),
    ("fused channel_hidden__3", "FusedGemm", "stages.1.0", "channel attention"),
    ("channel_logits__6", "FullyConnected", "stages.2.1", "channel attention"),
    ("z_gated__8", "Subgraph", "stages.3.1", "depth attention"),
    ("fused depth_logits__1", "FusedGemm", "stages.0.0", "depth attention"),
    ("both_gates__4", "Mul", "stages.1.1", "shortcut"),
    ("x_gated__5", "Subgraph", "stages.2.0", "shortcut"),
    ("stages.0.0.out.dequantized/DequantizationMultiply", "Subgraph", "stages.0.0", "shortcut"),
    ("stages.1.0.shortcut.0/WithoutBiases", CONV, "stages.1.0", "shortcut"),
    ("stages.3.0.attention_myl0_30", "custom_layer", "stages.3.0", "fused attention"),
    ("cam", CONV, "head", "head"),
    ("classifier", "Conv", "head", "head"),
    ("classifier_myl0_45", "correlation", "head", "head"),
    ("features", "ReduceMean", "head", "head"),
    ("gates_ncdhw__6_abcde_acdeb_stages.2.1.out", "Reorder", "format", "format"),
    ("Transpose_token_121", "Transpose", "format", "format"),
    ("stages.0.1.bn2.out.dequantized/duplicated", "DequantizeLinear", "format", "format"),
    ("input.dequantized", "Subgraph", "format", "format"),
    ("stem.0.packed.squares.x", "Reshape", "format", "format"),
    ("stem.0.packed.moved", "Transpose", "format", "format"),
    ("stem.0.packed", "Reshape", "format", "format"),
    ("__myl_TranMove_myl0_3", "kgen", "format", "format"),
    ("Reformatting CopyNode for Input Tensor 0 to stem.0", "", "format", "format"),
    ("something else", "Add", "other", "other"),
]


@pytest.mark.parametrize(("name", "operation", "part", "kind"), NAMED)
def test_a_layer_is_placed_by_its_name(name, operation, part, kind):
    assert places([Executed(name, operation, "")]) == [(part, kind)]


@pytest.mark.parametrize(
    ("origins", "kind"),
    [
        (["x_fp32_ndhwc__2", "z_ndc__2"], "attention means"),
        (["depth_gates__2", "both_gates__2", "x_gated__2", "sum__2"], "shortcut"),
        (["node_of_z_ndc | stages.0.1.attention (FusedDualAttention)"], "attention means"),
        (["node_of_depth_logits | stages.0.1.attention (FusedDualAttention)"], "depth attention"),
        (["stages.0.1.conv2", "stages.0.1.bn2.relu"], "convolutions"),
    ],
)
def test_a_generated_kernel_is_placed_by_the_nodes_in_it(origins, kind):
    layer = Executed("__myl_ReshMulSumAdd_myl0_6", "kgen", "", tuple(origins))
    assert places([layer]) == [("stages.0.1", kind)]


def test_a_layer_without_a_name_belongs_between_its_neighbours():
    """OpenVINO merges the mean over h and w with a transpose, and numbers it."""
    of_a_tensor = "stages.0.0.bn2.out.dequantized/DequantizationMultiply"
    layers = [
        Executed("channel_logits__1", "FullyConnected", ""),
        Executed("ReduceMean_58", "ReduceMean", "", (of_a_tensor, "ReduceMean_58")),
        Executed("Multiply_7", "Multiply", ""),
        Executed("z_gated__1", "Subgraph", ""),
        Executed("Multiply_8", "Multiply", ""),
        Executed("stages.0.1.conv1", CONV, ""),
    ]
    found = places(layers)
    assert found[1] == ("stages.0.0", "attention means")
    assert found[2] == ("stages.0.0", "depth attention")
    assert found[4] == ("other", "other")  # of either block


def test_what_follows_the_head_belongs_to_it():
    layers = [
        Executed("classifier_myl0_45", "correlation", ""),
        Executed("__myl_ReshAdd_myl0_47", "kgen", ""),
    ]
    assert places(layers) == [("head", "head")] * 2
