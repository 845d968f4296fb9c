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
from darnet_trt.export.tensorrt.options import PlanOptions
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="module")
def graphs(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for precision in ("fp32", "bf16", "fp16"):
        export_onnx(source, folder / f"{precision}.onnx", precision)
    return folder


@pytest.fixture(autouse=True)
def _needs_rtx(request):
    if "anywhere" not in request.node.name:
        pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")


@pytest.fixture
def build(graphs, tmp_path):
    """Build a plan, tmp_path/x.plan, from a graph: its precision or its file."""

    def build(graph, target="sm89", backend="tensorrt-rtx", **options):
        file = graphs / f"{graph}.onnx" if isinstance(graph, str) else graph
        return build_tensorrt(job(tmp_path, backend=backend, onnx=file, target=target, **options))

    return build


def job(folder, **changes):
    fields = {"backend": "tensorrt-rtx", "onnx": folder / "m.onnx", "target": "sm89"}
    return Job(plan=folder / "x.plan", **fields | changes)


def numbers(kernels):
    """Number of kernels by kind."""
    return {kind: sum(types.values()) for kind, types in kernels.items()}


@pytest.mark.parametrize(
    ("precision", "target"),
    [
        *(("fp16", "portable"), ("fp16", "sm75"), ("fp16", "sm120")),
        *(("bf16", "portable"), ("fp32", "sm89")),
    ],
)
def test_a_plan_for_a_gpu_that_is_not_here(build, tmp_path, precision, target):
    result = build(precision, target)
    assert (tmp_path / "x.plan").stat().st_size > 10_000
    assert result.version.startswith("1.")


@pytest.mark.parametrize(
    ("precision", "target", "reformats"),
    [("fp16", "sm89", 0), ("bf16", "sm80", 0), ("fp32", "portable", 1)],
)
def test_the_table_with_the_plugin(build, cpu_library, precision, target, reformats):
    kernels = build(precision, target, plugin=cpu_library).kernels
    assert kernels["convolution"] == {precision: 21}
    assert kernels["plugin"] == {precision: 8}
    found = numbers(kernels)
    # A float32 input is first laid out as the stem reads it, a float16 one while it is converted.
    assert found.get("reformat", 0) == reformats
    assert found["generated"] <= 3 - reformats


def test_the_table_without_the_plugin(build):
    found = numbers(build("fp16").kernels)
    assert "plugin" not in found
    assert found.get("reformat", 0) == 0
    assert found["convolution"] == 21
    assert found["generated"] <= 57
    assert numbers(build("fp32").kernels).get("reformat", 0) <= 1  # the input's; none of F


@pytest.mark.parametrize("attention", ["channel", "depth", "none"])
def test_the_ablations_networks_take_the_plugin_too(build, tmp_path, cpu_library, attention):
    checkpoint = trained_like(TINY.model_copy(update={"attention": attention}))
    export_onnx(Source(checkpoint, "0" * 64), tmp_path / "x.onnx", "fp16")
    kernels = build(tmp_path / "x.onnx", "sm86", plugin=cpu_library).kernels
    assert numbers(kernels).get("plugin", 0) == (0 if attention == "none" else 8)


@pytest.mark.parametrize("form", ["s8", "plugin"])
def test_small_scales_add_no_kernels(graphs, build, tmp_path, cpu_library, form):
    model = onnx.load(graphs / "fp16.onnx")
    layers = convolutions(model, form)
    found = []
    for largest in (1.0, 1e-6):  # whose scale is float32, between casts
        ranges = {t: Range(largest, signed=True) for t in quantized_tensors(model, layers, form)}
        onnx.save(quantize(model, ranges, layers, form), tmp_path / "int8.onnx")
        plugin = cpu_library if form == "plugin" else None
        kernels = build(tmp_path / "int8.onnx", plugin=plugin).kernels
        found.append(numbers(kernels))
        assert kernels["convolution"] == {"int8": 19, "fp16": 2}
    assert found[0] == found[1]


def test_a_range_of_batches_has_two_profiles(build, cpu_library):
    found = numbers(build("fp16", plugin=cpu_library, options=PlanOptions(batch=(1, 4))).kernels)
    assert found["convolution"] == 2 * 21
    assert found["plugin"] == 2 * 8
    assert found.get("reformat", 0) == 0


def test_a_plan_can_carry_the_library(build, tmp_path, cpu_library):
    sizes = []
    for embed in (False, True):
        build("fp16", plugin=cpu_library, embed=embed)
        sizes.append((tmp_path / "x.plan").stat().st_size)
    assert sizes[1] - sizes[0] >= cpu_library.stat().st_size


def test_too_little_workspace_is_the_builders_error(build, tmp_path):
    with pytest.raises(BuildError, match="workspace"):
        build("fp16", options=PlanOptions(workspace_mib=1))
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_is_no_plugin(build, tmp_path):
    other = tmp_path / "libdarnet_attention.so"
    other.write_text("not a library")
    with pytest.raises(BuildError, match=r"does not load the plugin .*libdarnet_attention\.so"):
        build("fp16", plugin=other)


def test_tensorrts_options_exist_in_the_api_that_both_share(tmp_path, cpu_library):
    import tensorrt_rtx as trt

    config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
    options = PlanOptions(
        workspace_mib=512, version_compatible=True, hardware_compatible=True, optimization_level=5
    )
    wanted = {"backend": "tensorrt", "options": options, "plugin": cpu_library, "embed": True}
    configure(trt, config, job(tmp_path, **wanted))
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 512 << 20
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.builder_optimization_level == 5
    assert config.plugins_to_serialize == [str(cpu_library)]
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert not config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def test_work_of_an_rtx_plan_can_be_captured(tmp_path):
    import tensorrt_rtx as trt

    config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
    configure(trt, config, job(tmp_path))
    assert config.get_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)


def test_tensorrts_own_path_with_profiles_and_timing_cache(build, tensorrt, no_libraries):
    options = PlanOptions(batch=(1, 4), workspace_mib=2048)
    for _ in range(2):  # the second reads the first one's cache
        result = build("fp16", "sm90", "tensorrt", options=options)
        assert result.note is None
        assert result.version == "10.13.2"
        assert numbers(result.kernels)["convolution"] == 2 * 21
        (cache,) = no_libraries.rglob("*.cache")
        assert cache.name == "tensorrt-10.13.2-sm90.cache"


@pytest.mark.parametrize("tensorrt", ["10.3.0"], indirect=True)
def test_an_old_tensorrt_is_refused(build, tensorrt):
    with pytest.raises(BuildError, match=r"expected TensorRT 10\.12 or later, found 10\.3\.0"):
        build("fp16", "sm90", "tensorrt")


def test_float32_for_sm75_names_the_remedy(build, tmp_path):
    with pytest.raises(BuildError, match="--precision fp16"):
        build("fp32", "sm75")
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_for_sm75_says_why_and_names_the_remedy(build, tmp_path):
    with pytest.raises(BuildError, match=r"sm75.*b16.*; .*no bfloat16; use --precision fp16"):
        build("bf16", "sm75")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_is_refused(build):
    with pytest.raises(BuildError, match="no target sm90"):
        build("fp16", "sm90")


def test_a_graph_with_an_unknown_operator_is_refused(graphs, build, tmp_path):
    model = onnx.load(graphs / "fp16.onnx")
    del model.functions[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(BuildError, match=r"rejects the graph.*FusedDualAttention"):
        build(tmp_path / "x.onnx", "portable")


def test_the_plugins_reason_is_in_the_error(graphs, build, tmp_path, cpu_library):
    model = onnx.load(graphs / "fp16.onnx")
    of_one = "stages.0.0.depth_attention.squeeze.weight"
    (weight,) = (t for t in model.graph.initializer if t.name == of_one)
    values = onnx.numpy_helper.to_array(weight)[:, 1:]  # of a volume that is not as deep
    weight.CopyFrom(onnx.numpy_helper.from_array(values, of_one))
    onnx.save(model, tmp_path / "x.onnx")
    reason = r"no plan: .*; the plugin says: FusedDualAttention: depth squeeze\.weight must be \("
    with pytest.raises(BuildError, match=reason) as refusal:
        build(tmp_path / "x.onnx", plugin=cpu_library)
    assert str(refusal.value).endswith(f"it is {values.shape}")


def test_an_unwritable_plan_is_an_os_error(build, tmp_path):
    (tmp_path / "x.plan").mkdir()
    with pytest.raises(IsADirectoryError):
        build("fp16")


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
        build_tensorrt(job(tmp_path), said.append)
    assert said == ["tensorrt-rtx:sm89: tactics, 3 of 5"]


def test_an_absent_package_names_its_extra_anywhere(tmp_path, monkeypatch):
    monkeypatch.setitem(tensorrt_builder.PACKAGES, "tensorrt", ("absent_tensorrt", "gpu"))
    with pytest.raises(MissingPackageError, match=r"darnet-trt\[gpu\]"):
        build_tensorrt(job(tmp_path, backend="tensorrt"))
