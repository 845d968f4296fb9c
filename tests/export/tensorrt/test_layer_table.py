"""Reading the table that TensorRT-RTX 1.7.1 printed, shortened."""

from darnet_trt.bundle.plan import Plan, Work
from darnet_trt.export.tensorrt.layer_table import (
    PLUGIN_LAUNCHES,
    described,
    kernels_of,
    read_layers,
    work_of,
)

NDHWC = "Format: (NDHWC) Channel major format with 3 spatial dimensions"
LINEAR = "Format: (Linear) Row major linear format"


def tensor(name, dims, type_="Half", layout=NDHWC):
    return (
        f"{{ Name: {name}, Dimensions: [{dims}], Strides: [{dims}], StrideOrder: [4,0,3,2,1], "
        f"Datatype: {type_}, {layout} }}"
    )


def line(name, kind, inputs, outputs):
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {inputs}], Constants: [ "
        f"{tensor('weights', '64,64,3,3,3')}, {tensor('bias', '64')}], Outputs: [ {outputs}], "
        f"TacticName: , StreamId: 0, Metadata: "
    )


TABLE = "\n".join(
    [
        "Layers:",
        line(
            "stages.0.0.conv1_myl0_2",
            "correlation",
            tensor("a", "1,64,64,112,112"),
            tensor("b", "1,64,64,112,112"),
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


def plan(layers, **changes):
    return Plan(kernels=kernels_of(layers), work=work_of(layers), **changes)


def test_counts_and_their_line():
    layers = read_layers(TABLE)
    kernels = kernels_of(layers)
    assert kernels == {
        "convolution": {"fp16": 1},
        "reformat": {"fp32": 1},
        "generated": {"fp32": 1},
        "plugin": {"fp16": 1},
        "a_new_word": {"FP8": 1},
    }
    assert described(plan(layers))[0].startswith("5 kernels: 1 convolution fp16, 1 reformat fp32, ")
    both = plan(layers, profiles=((1, 1, 1), (1, 4, 4)))
    assert described(both)[0].startswith("5 kernels in 2 profiles: 1 convolution fp16, ")


def test_the_work_is_of_the_profile_with_a_fixed_batch():
    a, c, gates = 2 * 64 * 64 * 112 * 112, 4 * 64 * 64, 2 * 4
    convolution, reformat, generated = 2 * a, 2 * c, c + a + gates
    words = TABLE.replace("FP8", "Float")
    assert work_of(read_layers(words)) == Work(
        launches=4,  # not the plugin's of the other profile
        activations=convolution + reformat + generated + 2 * 4,
        weights=4 * 2 * (64 * 64 * 27 + 64),
        read_again=0,
    )


def test_a_plugin_layer_is_several_launches_and_reads_x_again():
    x, residual = tensor("x", "1,2,3,4,5"), tensor("residual", "1,2,3,4,5", "Int8")
    workspace = tensor("workspace", "100", "UInt8")
    table = "Layers:\n" + line(
        "stages.0.0.attention", "custom_layer", f"{x}, {residual}", f"{x}, {workspace}"
    )
    layers = read_layers(table)
    work = work_of(layers)
    assert (work.activations, work.read_again) == (240 + 120 + 240 + 100, 240)
    assert work.launches == PLUGIN_LAUNCHES > 1
    assert f"{work.launches} launches" in described(plan(layers))[1]


def test_without_a_table_or_with_a_type_of_unknown_size_nothing_is_claimed():
    assert work_of(()) is None
    assert work_of(read_layers(TABLE.replace("FP8", "FP3"))) is None
    assert len(described(plan(read_layers(TABLE.replace("FP8", "FP3"))))) == 1


def test_the_table_in_a_log_of_tensorrt_10():
    tensors = "[ {{ Name: {}, Location: Device, Dimensions: [1,3,8,8], Format/Datatype: {} }}]"
    half, single = tensors.format("a", "Half"), tensors.format("b", "Float")
    rest = 'Weights: {"Type": "Half", "Count": 23232}, TacticValue: 0x3e8, StreamId: 0, Metadata: '
    layers = read_layers(
        "Layers:\n"
        f"Name: copy to conv, LayerType: Reformat, Inputs: {single}, Outputs: {half}, {rest}\n"
        f"Name: conv + relu, LayerType: CaskConvolution, Inputs: {half}, Outputs: {half}, {rest}\n"
        f"Name: gemm_myl9_4, LayerType: gemm, Inputs: {half}, Outputs: {half}, StreamId: 0"
    )
    kernels = kernels_of(layers)
    assert kernels == {
        "reformat": {"fp32": 1},
        "convolution": {"fp16": 1},
        "matrix product": {"fp16": 1},
    }


def test_other_messages_are_no_table():
    for message in ("", "Layers:", "After dead-layer removal: 12 layers", TABLE[8:]):
        assert read_layers(message) == ()
    (line,) = described(plan(()))
    assert "no table" in line
