"""The plugin object through its whole life, driven by plugin_host.cpp as TensorRT drives it.

On the host's memory, with and without sanitizers, and on a GPU where there is one.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from darnet_trt.kernels.build import SOURCES, build_library
from darnet_trt.kernels.library import architecture
from tests.kernels.plugin_cases import Life, Lives

HOST = Path(__file__).with_name("plugin_host.cpp")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1")
FLOATS = ("float32", "float16", "bfloat16")
INT8 = {"x": "int8", "residual": "int8", "y": "int8"}
BASE = Life("base")

SERVED = [
    *(Life(f"{w}-{name}", shape, {"weights": w}) for w in FLOATS for name, shape in {
        "one-slice": (1, 1, 5, 7, 8),
        "odd-channels": (2, 3, 6, 9, 33),
        "volume": (1, 4, 14, 11, 64),
    }.items()),
    *(Life(f"{w}-int8", of={"weights": w, **INT8}) for w in FLOATS),
    Life("512-channels", (2, 2, 3, 5, 512), {"weights": "float16"}),
    Life("513-channels", (1, 2, 1, 1, 513), {"weights": "bfloat16", **INT8}),
    Life("1024-channels", (1, 16, 1, 2, 1024), {"weights": "float16", "x": "int8"}),
    Life("one-element", (1, 1, 1, 1, 1)),
    Life("one-pack", (2, 1, 3, 5, 8), {"weights": "float16", "residual": "int8", "y": "int8"}),
    Life("some-rows", (1, 3, 13, 11, 24), {"attention": "channel", "has_residual": False}),
    Life("int8-odd-channels", (3, 2, 5, 4, 9), INT8),
    Life("int8-x", of={"weights": "float16", "x": "int8"}),
    Life("int8-residual", of={"weights": "bfloat16", "residual": "int8"}),
    Life("int8-y", of={"weights": "float16", "y": "int8"}),
    Life("channel", (2, 3, 4, 5, 32), {"attention": "channel", "weights": "float16"}),
    Life("depth", (2, 3, 4, 5, 32), {"attention": "depth", "weights": "float16"}),
    Life("no-residual", of={"weights": "float16", "has_residual": False}),
    Life("no-residual-int8", of={"x": "int8", "y": "int8", "has_residual": False}),
    Life("channel-no-residual", of={"attention": "channel", "has_residual": False}),
    *(Life(f"{w}-channels-first", (2, 3, 4, 5, 24), {"weights": w}, channels_first=f)
      for w, f in zip(FLOATS, ("DHWC", "DHWC8", "DHWC8"), strict=True)),
    Life("channels-first-odd", (2, 3, 4, 5, 9), channels_first="DHWC"),
    Life("channels-first-one-gate", (1, 4, 3, 5, 8),
         {"weights": "float16", "attention": "channel", "has_residual": False},
         channels_first="DHWC8"),
    Life("channels-first-range", (5, 3, 4, 5, 16), {"weights": "float16"}, ("batch 1 5",),
         channels_first="DHWC8"),
    Life("shapes-not-told", lines=("shapes no",)),
    Life("shapes-not-told-no-residual", of={"has_residual": False}, lines=("shapes no",)),
    Life("least-of-a-range", lines=("batch 1 5",)),
    Life("most-of-a-range", (5, 3, 4, 5, 16), lines=("batch 1 5",)),
    # It is cut into 16 parts a slice, the largest shape into 11.
    Life("more-parts-than-the-most-of-a-range", (1, 1, 32, 32, 33), lines=("most_rows 33",)),
]  # fmt: skip

# Stage that refuses it: what is wrong, its message
_MISTAKES = {
    "createPlugin": [
        (BASE.but("unknown-field", "field z_scale 1"), "found 'z_scale'"),
        (BASE.but("scale-0", "field x_scale 0"), "x_scale must be above 0; it is 0"),
        (BASE.but("scale-nan", "field y_scale nan"), "y_scale must be above 0"),
        (
            BASE.but("field-of-another-type", "raw_field x_scale 5 1"),
            "x_scale must be one float32; it has type 5 and length 1",
        ),
        (BASE.but("unknown-axis", "int_field channel_axis 2"), "channel_axis must be 4"),
        (BASE.but("axis-of-another-type", "field channel_axis 1"), "must be one int32"),
        (
            BASE.but("int8-channels-first", "int_field channel_axis 1", of={"x": "int8"}),
            "x_scale needs channel_axis 4",
        ),
        (
            BASE.but("another-count", "int_field input_count 3", "build_phase no"),
            "9 or 10 inputs; there are 3",
        ),
        (BASE.but("two-scales-in-one", "raw_field x_scale 1 2"), "it has type 1 and length 2"),
    ],
    "getOutputDataTypes": [
        (BASE.but("an-input-less", missing=2), "9 or 10 inputs; there are 8"),
        (
            BASE.but("int8-without-scale", replaced={"x": ("int8", BASE.shape)}),
            "x is int8 and needs the field x_scale",
        ),
        (
            BASE.but("scale-without-int8", "field residual_scale 0.5"),
            "residual must be int8, as residual_scale says; it is float32",
        ),
        (
            BASE.but("x-of-another-type", replaced={"x": ("float16", BASE.shape)}),
            "x must be float32, as the gate parameters are, or int8 with x_scale; it is float16",
        ),
        (
            BASE.but("int8-parameters", replaced={"channel_squeeze_bias": ("int8", (1,))}),
            "must be float32, float16 or bfloat16; channel squeeze.bias is int8",
        ),
        (
            BASE.but("two-parameter-types", replaced={"depth_excite_bias": ("float16", (48,))}),
            "channel squeeze.weight is float32 and depth excite.bias is float16",
        ),
    ],
    "getOutputShapes": [
        (
            BASE.but("rank-4", replaced={"x": ("float32", (3, 4, 5, 16))}),
            "x must have 5 dimensions, n d h w c; it has 4",
        ),
        (
            BASE.but("flat-weights", replaced={"depth_squeeze_weight": ("float32", (144,))}),
            "depth squeeze.weight must have 2 dimensions; it has 1",
        ),
    ],
    "supportsFormatCombination": [
        (
            BASE.but(
                "padded-channels",
                shape=(1, 3, 4, 5, 12),
                of={"weights": "float16"},
                channels_first="DHWC8",
            ),
            "with the format DHWC8 the channels must be a multiple of 8; there are 12",
        ),
    ],
    "configurePlugin": [
        (
            BASE.but(
                "another-channel-count", replaced={"channel_squeeze_weight": ("float32", (1, 8))}
            ),
            "must be (1, 16) for x of depth 3 with 16 channels and 1 hidden units; it is (1, 8)",
        ),
        (
            BASE.but("another-depth", replaced={"depth_squeeze_weight": ("float32", (3, 64))}),
            "must be (3, 48) for x of depth 3 with 16 channels and 3 hidden units; it is (3, 64)",
        ),
        (
            BASE.but("another-hidden", replaced={"depth_excite_weight": ("float32", (48, 4))}),
            "depth excite.weight must be (48, 3)",
        ),
        (
            BASE.but("no-hidden", replaced={"depth_squeeze_weight": ("float32", (0, 48))}),
            "depth squeeze.weight has 0 hidden units",
        ),
        (
            BASE.but(
                "residual-of-another-shape", replaced={"residual": ("float32", (1, 3, 5, 4, 16))}
            ),
            "residual must be (1, 3, 4, 5, 16), as x is; it is (1, 3, 5, 4, 16)",
        ),
        (BASE.but("empty-batch", shape=(0, 3, 4, 5, 16)), "n must be at least 1; it is 0"),
        (BASE.but("range-from-0", "batch 0 4"), "n must be at least 1; it is 0"),
    ],
    "onShapeChange": [
        (
            BASE.but("empty-batch-at-run-time", "build_phase no", shape=(0, 3, 4, 5, 16)),
            "n must be at least 1; it is 0",
        ),
        (
            BASE.but(
                "padded-channels-at-run-time",
                "build_phase no",
                shape=(1, 3, 4, 5, 12),
                of={"weights": "float16"},
                channels_first="DHWC8",
            ),
            "channels must be a multiple of 8; there are 12",
        ),
        (
            BASE.but("another-format", "build_phase no", "channels_first DHWC"),
            "x must have format 0; it has format 12",
        ),
        (
            BASE.but(
                "another-depth-at-run-time",
                "build_phase no",
                replaced={"depth_squeeze_weight": ("float32", (3, 64))},
            ),
            "depth squeeze.weight must be (3, 48)",
        ),
    ],
    "enqueue": [
        (
            BASE.but("nothing-told", "shapes no", "build_phase no"),
            "needs the number of inputs, from the plan or onShapeChange",
        ),
        (
            BASE.but("another-shape-than-announced", "at_enqueue x 1 3 4 6 16"),
            "residual must be (1, 3, 4, 6, 16), as x is; it is (1, 3, 4, 5, 16)",
        ),
        (
            BASE.but("y-of-another-shape", "at_enqueue y 1 3 4 4 16"),
            "y must be (1, 3, 4, 5, 16), as x is; it is (1, 3, 4, 4, 16)",
        ),
        (BASE.but("misaligned-x", "shift x 4"), "x must be aligned to 16 bytes"),
        (
            BASE.but("misaligned-parameter", "shift depth_squeeze_weight 8"),
            "depth_squeeze_weight must be aligned to 16 bytes",
        ),
        (BASE.but("no-workspace", "no workspace"), "the workspace is a null pointer"),
        (BASE.but("no-y", "no y"), "y is a null pointer"),
    ],
}
REFUSED = {
    life.name: (life, stage, words) for stage, cases in _MISTAKES.items() for life, words in cases
}
ON_THE_HOST_ALONE = {
    "device-pointers": (
        BASE.but("device-pointers", "host_pointers no"),
        "enqueue",
        "built for the CPU, which serves to build plans",
    )
}


def compile_host(compiler, folder, *options):
    host = folder / "plugin_host"
    subprocess.run(
        [*compiler, "-std=c++17", f"-I{SOURCES}", *options, HOST, "-o", host, "-ldl", "-lpthread"],
        check=True,
    )
    return host


@pytest.fixture(scope="module")
def lives(on_cpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lives")
    all_lives = [*SERVED, *(life for life, _, _ in (REFUSED | ON_THE_HOST_ALONE).values())]
    return Lives(compile_host(["g++"], folder), on_cpu.path, folder, all_lives)


@pytest.mark.parametrize("name", [life.name for life in SERVED])
def test_a_life_ends_with_the_references_numbers(lives, name):
    lives.check(name)


@pytest.mark.parametrize("name", REFUSED | ON_THE_HOST_ALONE)
def test_a_mistake_is_refused_at_the_first_stage_that_can_see_it(lives, name):
    _, stage, words = (REFUSED | ON_THE_HOST_ALONE)[name]
    answer = lives.answers[name]
    assert answer.startswith(f"refused at {stage}: Fused")
    assert words in answer
    message = answer.partition(": ")[2].partition("0x")[0]
    assert f"darnet-trt plugin: {message}" in lives.stderr


def test_the_workspace_is_for_the_largest_shape_of_the_range(lives):
    sizes = {name: lives.answers[name] for name in ("least-of-a-range", "most-of-a-range")}
    assert len(set(sizes.values())) == 1
    of_one = int(lives.answers["no-residual"].split()[1])
    assert int(sizes["least-of-a-range"].split()[1]) == 5 * of_one


@pytest.mark.slow
def test_nothing_reads_or_writes_out_of_bounds(on_cpu, tmp_path):
    library = build_library("cpu", sanitize=True)
    host = compile_host(["g++"], tmp_path, *SANITIZERS)
    slow = ("bfloat16-volume", "float16-volume", "512-channels")  # and they add nothing
    served = [life for life in SERVED if life.name not in slow]
    lives = Lives(host, library, tmp_path, [*served, *(life for life, _, _ in REFUSED.values())])
    for life in served:
        lives.check(life.name)
    for name, (_, stage, _) in REFUSED.items():
        assert lives.answers[name].startswith(f"refused at {stage}: Fused")


@pytest.fixture(scope="module")
def nvcc():
    found = shutil.which("nvcc")
    if found is None:
        pytest.skip("no nvcc on the PATH")
    return found


def test_the_host_compiles_for_the_gpu(nvcc, tmp_path):
    compile_host([nvcc, "-x", "cu"], tmp_path, "-DDARNET_CUDA")


@pytest.mark.gpu
def test_a_life_on_device_pointers_and_in_a_cuda_graph(nvcc, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU")
    library = build_library("cuda", [architecture(torch.cuda.get_device_capability())])
    host = compile_host([nvcc, "-x", "cu"], tmp_path, "-DDARNET_CUDA")
    lives = Lives(host, library, tmp_path, [*SERVED, *(life for life, _, _ in REFUSED.values())])
    for life in SERVED:
        lives.check(life.name)
    for name, (_, stage, words) in REFUSED.items():
        assert lives.answers[name].startswith(f"refused at {stage}: Fused")
        assert words in lives.answers[name]
