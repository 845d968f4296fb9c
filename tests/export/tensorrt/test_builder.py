"""Real TensorRT-RTX builds, which need no GPU."""

import sys

import onnx
import pytest

from darnet_trt.calibration.qdq import Range, convolutions, quantize, quantized_tensors
from darnet_trt.errors import BuildError, MissingPackageError
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.export.tensorrt import builder as tensorrt_builder
from darnet_trt.export.tensorrt.builder import build_tensorrt
from darnet_trt.export.tensorrt.child import PROGRESS, Job, configure
from darnet_trt.export.tensorrt.layer_table import counted
from darnet_trt.export.tensorrt.options import PlanOptions
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="module")
def graphs(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for precision in ("fp32", "fp16"):
        export_onnx(source, folder / f"{precision}.onnx", precision)
    return folder


@pytest.fixture(autouse=True)
def _needs_rtx(request):
    if "anywhere" not in request.node.name:
        pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.mark.parametrize(
    ("precision", "target"),
    [("fp16", "portable"), ("fp16", "sm75"), ("fp16", "sm120"), ("fp32", "sm89")],
)
def test_a_plan_for_a_gpu_that_is_not_here(graphs, tmp_path, precision, target):
    plan = tmp_path / "x.plan"
    result = build_tensorrt("tensorrt-rtx", graphs / f"{precision}.onnx", plan, target)
    assert plan.stat().st_size > 10_000
    assert result.version.startswith("1.")


def numbers(layers):
    """Kernels by kind."""
    return {kind: sum(types.values()) for kind, types in counted(layers).items()}


def neighbours(layers):
    """Kinds of the kernels that write what a plugin reads or read what it writes."""
    plugins = [layer for layer in layers if layer.kind == "plugin"]
    tensors = {t.name for layer in plugins for t in (*layer.inputs, *layer.outputs)}
    return {
        layer.kind
        for layer in layers
        if layer not in plugins and tensors & {t.name for t in (*layer.inputs, *layer.outputs)}
    }


@pytest.mark.parametrize(
    ("precision", "target", "reformats"), [("fp16", "sm89", 0), ("fp32", "portable", 1)]
)
def test_the_table_with_the_plugin(graphs, tmp_path, cpu_library, precision, target, reformats):
    graph, plan = graphs / f"{precision}.onnx", tmp_path / "x.plan"
    layers = build_tensorrt("tensorrt-rtx", graph, plan, target, plugin=cpu_library).layers
    kernels = counted(layers)
    assert kernels["convolution"] == {precision: 21}
    assert kernels["plugin"] == {precision: 8}
    assert neighbours(layers) == {"convolution"}
    found = numbers(layers)
    # A float32 input is first laid out as the stem reads it, a float16 one while it is converted.
    assert found.get("reformat", 0) == reformats
    assert found["generated"] <= 3 - reformats
    attention = [layer for layer in layers if layer.kind == "plugin"]
    for index, layer in enumerate(attention):
        assert f"stages.{index // 2}.{index % 2}.attention" in layer.nodes
        assert layer.inputs[0].dims == layer.outputs[0].dims
        assert layer.inputs[0].dims[-1] == 4 * 2 ** (index // 2)  # channels-last


def test_the_table_without_the_plugin(graphs, tmp_path):
    plan = tmp_path / "x.plan"
    layers = build_tensorrt("tensorrt-rtx", graphs / "fp16.onnx", plan, "sm89").layers
    found = numbers(layers)
    assert "plugin" not in found
    assert found.get("reformat", 0) == 0
    assert found["convolution"] == 21
    assert found["generated"] <= 57
    float32 = build_tensorrt("tensorrt-rtx", graphs / "fp32.onnx", plan, "sm89").layers
    assert numbers(float32).get("reformat", 0) <= 1  # the input's; none of F


@pytest.mark.parametrize("attention", ["channel", "depth", "none"])
def test_the_ablations_networks_take_the_plugin_too(tmp_path, cpu_library, attention):
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}))
    export_onnx(Source(checkpoint, "0" * 64), tmp_path / "x.onnx", "fp16")
    layers = build_tensorrt(
        "tensorrt-rtx", tmp_path / "x.onnx", tmp_path / "x.plan", "sm86", plugin=cpu_library
    ).layers
    assert numbers(layers).get("plugin", 0) == (0 if attention == "none" else 8)


@pytest.mark.parametrize("form", ["s8", "plugin"])
def test_small_scales_add_no_kernels(graphs, tmp_path, cpu_library, form):
    model = onnx.load(graphs / "fp16.onnx")
    layers = convolutions(model)
    kernels = []
    for largest in (1.0, 1e-6):  # whose scale is float32, between casts
        ranges = {t: Range(largest, signed=True) for t in quantized_tensors(model, layers)}
        ranges["input"] = ranges["input_fp16"]
        onnx.save(quantize(model, ranges, layers, form), tmp_path / "int8.onnx")
        plugin = cpu_library if form == "plugin" else None
        built = build_tensorrt(
            "tensorrt-rtx", tmp_path / "int8.onnx", tmp_path / "x.plan", "sm89", plugin=plugin
        )
        kernels.append(numbers(built.layers))
        assert counted(built.layers)["convolution"]["int8"] == 20
    assert kernels[0] == kernels[1]


def test_a_range_of_batches_has_two_profiles(graphs, tmp_path, cpu_library):
    layers = build_tensorrt(
        "tensorrt-rtx",
        graphs / "fp16.onnx",
        tmp_path / "x.plan",
        "sm89",
        plugin=cpu_library,
        options=PlanOptions(batch=(1, 4)),
    ).layers
    assert numbers(layers)["convolution"] == 2 * 21
    batches = [layer.inputs[0].dims[0] for layer in layers if layer.kind == "plugin"]
    assert batches == [1] * 8 + [-1] * 8
    assert neighbours(layers) == {"convolution"}


def test_a_plan_can_carry_the_library(graphs, tmp_path, cpu_library):
    sizes = []
    for embed in (False, True):
        plan = tmp_path / "x.plan"
        build_tensorrt(
            "tensorrt-rtx", graphs / "fp16.onnx", plan, "sm89", plugin=cpu_library, embed=embed
        )
        sizes.append(plan.stat().st_size)
    assert sizes[1] - sizes[0] >= cpu_library.stat().st_size


def test_too_little_workspace_is_the_builders_error(graphs, tmp_path):
    options = PlanOptions(workspace_mib=1)
    with pytest.raises(BuildError, match="workspace"):
        build_tensorrt(
            "tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "x.plan", "sm89", options=options
        )
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_no_plugin(graphs, tmp_path):
    other = tmp_path / "libdarnet_attention.so"
    other.write_text("not a library")
    with pytest.raises(BuildError, match=r"does not load the plugin .*libdarnet_attention\.so"):
        build_tensorrt(
            "tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "x.plan", "sm89", plugin=other
        )


def test_tensorrts_options_exist_in_the_api_that_both_share(tmp_path, cpu_library):
    import tensorrt_rtx as trt

    config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
    options = PlanOptions(
        workspace_mib=512, version_compatible=True, hardware_compatible=True, optimization_level=5
    )
    job = Job(
        backend="tensorrt",
        onnx=tmp_path,
        plan=tmp_path,
        target="sm90",
        options=options,
        plugin=cpu_library,
        embed=True,
    )
    configure(trt, config, job)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 512 << 20
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.builder_optimization_level == 5
    assert config.plugins_to_serialize == [str(cpu_library)]
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED


@pytest.fixture
def tensorrt(tmp_path, monkeypatch, request):
    """A package `tensorrt` that is TensorRT-RTX, whose API it shares, under another version."""
    folder = tmp_path / "packages"
    folder.mkdir()
    version = getattr(request, "param", "10.13.2")
    (folder / "tensorrt.py").write_text(f"from tensorrt_rtx import *\n__version__ = {version!r}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(folder)  # so that it counts as installed


def test_tensorrts_own_path_with_profiles_and_timing_cache(
    graphs, tmp_path, tensorrt, no_libraries
):
    for _ in range(2):  # the second reads the first one's cache
        result = build_tensorrt(
            "tensorrt",
            graphs / "fp16.onnx",
            tmp_path / "x.plan",
            "sm90",
            options=PlanOptions(batch=(1, 4), workspace_mib=2048),
        )
        assert result.note is None
        assert result.version == "10.13.2"
        assert numbers(result.layers)["convolution"] == 2 * 21
        (cache,) = no_libraries.rglob("*.cache")
        assert cache.name == "tensorrt-10.13.2-sm90.cache"


@pytest.mark.parametrize("tensorrt", ["10.3.0"], indirect=True)
def test_an_old_tensorrt_is_refused(graphs, tmp_path, tensorrt):
    with pytest.raises(BuildError, match=r"expected TensorRT 10\.12 or later, found 10\.3\.0"):
        build_tensorrt("tensorrt", graphs / "fp16.onnx", tmp_path / "x.plan", "sm90")


def test_float32_for_sm75_names_the_remedy(graphs, tmp_path):
    with pytest.raises(BuildError, match="--precision fp16"):
        build_tensorrt("tensorrt-rtx", graphs / "fp32.onnx", tmp_path / "x.plan", "sm75")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_is_refused(graphs, tmp_path):
    with pytest.raises(BuildError, match="no target sm90"):
        build_tensorrt("tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "x.plan", "sm90")


def test_a_graph_with_an_unknown_operator_is_refused(graphs, tmp_path):
    model = onnx.load(graphs / "fp16.onnx")
    del model.functions[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(BuildError, match=r"rejects the graph.*FusedDualAttention"):
        build_tensorrt("tensorrt-rtx", tmp_path / "x.onnx", tmp_path / "x.plan", "portable")


def test_the_plugins_reason_is_in_the_error(graphs, tmp_path, cpu_library):
    model = onnx.load(graphs / "fp16.onnx")
    of_one = "stages.0.0.depth_attention.squeeze.weight"
    (weight,) = (t for t in model.graph.initializer if t.name == of_one)
    values = onnx.numpy_helper.to_array(weight)[:, 1:]  # of a volume that is not as deep
    weight.CopyFrom(onnx.numpy_helper.from_array(values, of_one))
    onnx.save(model, tmp_path / "x.onnx")
    reason = r"no plan: .*; the plugin says: FusedDualAttention: depth squeeze\.weight must be \("
    with pytest.raises(BuildError, match=reason) as refusal:
        build_tensorrt(
            "tensorrt-rtx", tmp_path / "x.onnx", tmp_path / "x.plan", "sm89", plugin=cpu_library
        )
    assert str(refusal.value).endswith(f"it is {values.shape}")


def test_an_unwritable_plan_is_an_os_error(graphs, tmp_path):
    with pytest.raises(FileNotFoundError):
        build_tensorrt("tensorrt-rtx", graphs / "fp16.onnx", tmp_path / "no" / "x.plan", "sm89")


def test_a_builder_that_aborts_is_an_error_anywhere(tmp_path, monkeypatch):
    package = tmp_path / "tensorrt_rtx.py"
    package.write_text(
        "import os, sys\n"
        f"print('{PROGRESS}tactics, 3 of 5', file=sys.stderr)\n"
        "print('an internal fault', file=sys.stderr, flush=True)\n"
        "os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)  # so that it counts as installed
    sys.modules.pop("tensorrt_rtx", None)
    said = []
    with pytest.raises(BuildError, match=r"ended by SIGABRT; its last words: an internal fault"):
        build_tensorrt(
            "tensorrt-rtx", tmp_path / "m.onnx", tmp_path / "x.plan", "sm89", log=said.append
        )
    assert said == ["tensorrt-rtx:sm89: tactics, 3 of 5"]


def test_an_absent_package_names_its_extra_anywhere(tmp_path, monkeypatch):
    monkeypatch.setitem(tensorrt_builder.PACKAGES, "tensorrt", ("absent_tensorrt", "gpu"))
    with pytest.raises(MissingPackageError, match=r"darnet-trt\[gpu\]"):
        build_tensorrt("tensorrt", tmp_path / "m.onnx", tmp_path / "x.plan", "sm90")
