"""Reading the table that TensorRT-RTX 1.7.1 printed, shortened, and the inspector's answer."""

import json

from darnet_trt.export.tensorrt.layer_table import counted, described, read_inspection, read_table

NDHWC = "Format: (NDHWC) Channel major format with 3 spatial dimensions"
LINEAR = "Format: (Linear) Row major linear format"


def tensor(name, dims, type_="Half", layout=NDHWC):
    return (
        f"{{ Name: {name}, Dimensions: [{dims}], Strides: [{dims}], StrideOrder: [4,0,3,2,1], "
        f"Datatype: {type_}, {layout} }}"
    )


def line(name, kind, inputs, outputs, metadata=""):
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {inputs}], Constants: [ "
        f"{tensor('weights', '64,64,3,3,3')}, {tensor('bias', '64')}], Outputs: [ {outputs}], "
        f"TacticName: , StreamId: 0, Metadata: {metadata}"
    )


TABLE = "\n".join(
    [
        "Layers:",
        line(
            "stages.0.0.conv1_myl0_2",
            "correlation",
            tensor("a", "1,64,64,112,112"),
            tensor("b", "1,64,64,112,112"),
            "[ONNX Layer: stages.0.0.conv1]\x1f[ONNX Layer: stages.0.0.bn1.relu]",
        ),
        "Name: __mye19192_myl0_18, LayerType: signal, Inputs: [], Constants: [], Outputs: [], "
        "TacticName: , StreamId: 0, EventId: 1, Metadata: ",
        line(
            "__myl_ReshMove_myl0_5",
            "kgen",
            tensor("b", "1,64,64", "Float", LINEAR),
            tensor("c", "1,64,64", "Float", LINEAR),
        ),
        line(
            "__myl_CastReshMulSumAddRelu_myl0_6",
            "kgen",
            f"{tensor('c', '1,64,64', 'Float', LINEAR)}, {tensor('a', '1,64,64,112,112')}",
            tensor("d", "1,4", "Half", LINEAR),
            "[ONNX Layer: node_of_z | stages.0.0.attention (FusedDualAttention)]\x1f"
            "[ONNX Layer: x]",
        ),
        line(
            "stages.0.0.attention [profile 1]_myl1_7",
            "custom_layer",
            tensor("b", "-1,64,112,112,64"),
            tensor("e", "-1,64,112,112,64"),
        ),
        line("x_myl0_8", "a_new_word", tensor("e", "1", "FP8"), tensor("f", "1", "FP8")),
        "",
        "I/O Tensors:",
        " Name: input, IOMode: Input, DataType: Float",
    ]
)


def test_kinds_types_shapes_and_nodes():
    convolution, move, generated, plugin, other = read_table(TABLE)
    assert [x.kind for x in (convolution, move, generated, plugin, other)] == [
        "convolution",
        "reformat",
        "generated",
        "plugin",
        "a_new_word",
    ]
    assert convolution.nodes == ("stages.0.0.conv1", "stages.0.0.bn1.relu")
    (read,) = convolution.inputs  # the constants are not among them
    assert (read.name, read.dims) == ("a", (1, 64, 64, 112, 112))
    assert (read.type, read.format) == ("fp16", "NDHWC")
    assert [t.type for t in generated.inputs] == ["fp32", "fp16"]
    assert generated.nodes == (
        "node_of_z | stages.0.0.attention (FusedDualAttention)",
        "x",
    )
    assert plugin.outputs[0].dims == (-1, 64, 112, 112, 64)


def test_counts_and_their_line():
    kernels = counted(read_table(TABLE))
    assert kernels == {
        "convolution": {"fp16": 1},
        "reformat": {"fp32": 1},
        "generated": {"fp32": 1},
        "plugin": {"fp16": 1},
        "a_new_word": {"FP8": 1},
    }
    assert described(kernels, 0).startswith("5 kernels: 1 convolution fp16, 1 reformat fp32, ")
    assert described(kernels, 2).startswith("5 kernels in 2 profiles: 1 convolution fp16, ")


def test_other_messages_are_no_table():
    for message in ("", "Layers:", "After dead-layer removal: 12 layers", TABLE[8:]):
        assert read_table(message) == ()
    assert described(counted(()), 1) == "the builder printed no table of layers"


# As in "Engine Inspector" of TensorRT's documentation (the convolution is its example) and in the
# words that NVIDIA's engine explorer knows.
INSPECTED = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to node_of_stem",
            "LayerType": "Reformat",
            "Inputs": [
                {"Name": "x", "Dimensions": [1, 3], "Format/Datatype": "Row major linear FP32"}
            ],
            "Outputs": [
                {
                    "Name": "y",
                    "Dimensions": [1, 3],
                    "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
                }
            ],
            "Metadata": "",
        },
        {
            "Name": "node_of_gpu_0/res4_0_branch2a_1 + node_of_gpu_0/res4_0_branch2a_bn_1",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {
                    "Name": "gpu_0/res3_3_branch2c_bn_3",
                    "Dimensions": [16, 512, 28, 28],
                    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format.",
                }
            ],
            "Outputs": [],
            "ParameterType": "Convolution",
            "Weights": {"Type": "Int8", "Count": 131072},
            "Metadata": "[ONNX Layer: conv]\x1e[ONNX Layer: relu]",
        },
        {
            "Name": "__myl_AddRelu_myl0_3",
            "LayerType": "kgen",
            "Inputs": [{"Name": "z", "Dimensions": [1, 3], "Format/Datatype": "Half"}],
            "Outputs": [],
        },
        {
            "Name": "attention",
            "LayerType": "PluginV3",
            "Inputs": [{"Name": "b", "Dimensions": [1, 8], "Datatype": "BFloat16", "Format": "L"}],
            "Outputs": [],
        },
    ],
    "Bindings": ["x", "y"],
}


def test_the_inspectors_answer():
    layers = read_inspection(json.dumps(INSPECTED))
    assert counted(layers) == {
        "reformat": {"fp32": 1},
        "convolution": {"int8": 1},
        "generated": {"fp16": 1},
        "plugin": {"bf16": 1},
    }
    reformat, convolution, _, plugin = layers
    assert reformat.outputs[0].type == "fp16"
    assert convolution.nodes == ("conv", "relu")
    assert convolution.inputs[0].dims == (16, 512, 28, 28)
    assert plugin.inputs[0].format == "L"


def test_an_answer_that_leaves_the_precision_open_is_none():
    assert read_inspection(json.dumps({"Layers": ["a convolution", "a reformat"]})) == ()
    assert read_inspection('{"Layers": [') == ()
    convolution = INSPECTED["Layers"][1]
    (tensor,) = convolution["Inputs"]
    open_ = {**tensor, "Format/Datatype": "N/A due to dynamic shapes"}
    answer = {"Layers": [INSPECTED["Layers"][0], {**convolution, "Inputs": [open_]}]}
    assert read_inspection(json.dumps(answer)) == ()
