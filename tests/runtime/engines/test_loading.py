import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BundleError, DeviceError
from darnet_trt.machine.hardware import gpus
from darnet_trt.runtime.engines import loading as engines
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.tensorrt import gpu
from darnet_trt.runtime.engines.tensorrt import plan as tensorrt_plan
from darnet_trt.runtime.engines.tensorrt.plan import LoadedPlan
from tests.runtime.engines.host_gpu import HostDevice, tensorrt
from tests.runtime.engines.plan_bundle import FILE, gated, plan_card, put_plan
from tests.runtime.engines.plan_bundle import NAME as PLAN
from tests.tiny_bundle import SIZE, change_manifest, write_onnx


def test_both_engines_of_a_bundle_agree(tiny):
    bundle = open_bundle(tiny)
    volumes = np.random.default_rng(0).random((3, 1, *SIZE), np.float32)
    outputs = {}
    for name in ("openvino-fp32", "onnxruntime-fp32"):
        runner = load_engine(bundle, name, threads=1).runner
        assert runner.precision == "fp32"
        assert runner.batch[0] == 1
        assert runner.batch[1] >= 3
        outputs[name] = runner.infer(volumes)
        runner.close()
    first, second = outputs.values()
    assert first.logits.shape == (3, 3)
    assert first.cam.shape == (3, 3, 2, 2, 2)
    np.testing.assert_allclose(first.logits, second.logits, atol=1e-5)
    np.testing.assert_allclose(first.cam, second.cam, atol=1e-5)
    np.testing.assert_allclose(first.probabilities.sum(1), 1)


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnxruntime-fp32"])
def test_a_file_that_is_not_an_engine(tiny, engine):
    (tiny / "model.onnx").write_bytes(b"this is no network")
    rehash(tiny)
    with pytest.raises(BundleError, match="cannot load it") as caught:
        load_engine(open_bundle(tiny), engine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnxruntime-fp32"])
def test_an_engine_of_another_size_than_the_preprocessing(tiny, engine):
    write_onnx(tiny / "model.onnx", size=(16, 48, 32))
    rehash(tiny)
    with pytest.raises(BundleError, match=r"16×48×32 voxels.*16×32×32"):
        load_engine(open_bundle(tiny), engine)


@pytest.mark.parametrize("engine", ["openvino-fp32", "onnxruntime-fp32"])
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_an_engine_of_another_number_of_classes_than_the_manifest(tiny, engine, classes):
    change_manifest(tiny, classes=classes)
    with pytest.raises(BundleError, match=f"3 logits.* {len(classes)} classes"):
        load_engine(open_bundle(tiny), engine)


def test_a_default_in_a_precision_that_this_cpu_lacks_is_replaced_with_a_warning(tiny):
    checked_in_bf16(tiny)
    engine = load_engine(open_bundle(tiny))
    assert (engine.artifact.name, engine.runner.precision) == ("onnxruntime-fp32", "fp32")
    (warning,) = engine.warnings
    assert warning.startswith("engine onnxruntime-fp32 instead of the default openvino-fp32: ")
    assert "fp32, which was not checked" in warning


def test_an_engine_named_by_the_user_is_not_replaced(tiny):
    checked_in_bf16(tiny)
    with pytest.raises(BundleError, match=r"bf16 .* fp32") as it:
        load_engine(open_bundle(tiny), "openvino-fp32")
    assert "--artifact: onnxruntime-fp32" in it.value.do


def test_an_engine_that_did_not_pass_the_gate_replaces_none(tiny):
    artifacts = checked_in_bf16(tiny)
    artifacts[1] |= {"executed": False, "effective_precision": None, "parity": None}
    change_manifest(tiny, artifacts=artifacts)
    with pytest.raises(BundleError, match=r"bf16 .* fp32"):
        load_engine(open_bundle(tiny))


def test_int8_whose_sums_overflow_is_replaced_by_float32(tiny, monkeypatch):
    int8_by_default(tiny)
    engine = load_engine(open_bundle(tiny))
    assert (engine.artifact.name, engine.runner.precision) == ("onnxruntime-int8", "int8")
    assert engine.warnings == ()
    monkeypatch.setattr(engines, "sums_of_int8_overflow", lambda: True)
    engine = load_engine(open_bundle(tiny))
    assert engine.artifact.name == "openvino-fp32"
    (warning,) = engine.warnings
    assert warning.startswith("engine openvino-fp32 instead of the default onnxruntime-int8: ")
    assert "VNNI" in warning


@pytest.mark.parametrize("why", ["accepted", "random", "few"])
def test_an_engine_without_approval_runs_by_name_with_a_warning(tiny, why):
    doubtful_int8(tiny, why)
    (warning,) = load_engine(open_bundle(tiny), "onnxruntime-int8").warnings
    assert warning == f"engine onnxruntime-int8: {DOUBTS[why]}"
    assert load_engine(open_bundle(tiny)).warnings == ()


@pytest.mark.usefixtures("host_gpu")
@pytest.mark.parametrize("why", ["accepted", "random", "few"])
def test_an_engine_without_approval_replaces_none(tiny, why):
    model = (tiny / "model.onnx").read_bytes()
    doubtful_int8(tiny, why)
    put_plan(tiny, model, "1.7.1")
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    doubtful = artifacts[1]
    ran = {
        **{n: artifacts[0][n] for n in ("parity", "latency_ms")},
        **{n: doubtful[n] for n in ("quantization", "decisions", "accepted")},
        "executed": True,
        "effective_precision": "int8",
        "precision": "int8",
    }
    artifacts[2] |= ran  # the plan for this GPU is doubtful, too
    artifacts.append(artifacts[2] | {"name": "for-sm86", "target": "sm86"})
    change_manifest(tiny, artifacts=artifacts, default="for-sm86")
    assert load_engine(open_bundle(tiny)).artifact.name == "openvino-fp32"


DOUBTS = {
    "accepted": "2 of 6 scans changed class; accepted by A. Person: a trial",
    "random": "calibrated with random numbers: only for its speed",
    "few": "6 scans cannot show it",
}


def doubtful_int8(tiny: Path, why: str) -> None:
    """Add an int8 engine without approval beside the default in float32."""
    int8_by_default(tiny)
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    failed = why == "accepted"
    artifacts[1] |= {
        "quantization": {
            "scans": 3, "source": "", "digest": "", "random": why == "random", "method": "mse",
            "errors": {}, "layers": [],
        },
        "decisions": {
            "scans": 6, "source": "", "labelled": None, "class_flips": 0, "sure_flips": 0,
            "agreement": 1, "flips_at_most": 0.4, "mean_probability_drift": 0,
            "max_probability_drift": 0, "auc": None, "accuracy": None, "limits": {},
            "failures": ["2 of 6 scans changed class"] * failed,
            "reserves": ["6 scans cannot show it"] * (why == "few"), "notes": [],
            "passed": not failed,
        },
        "accepted": "A. Person: a trial" if failed else None,
    }  # fmt: skip
    change_manifest(tiny, artifacts=artifacts, default="openvino-fp32")


def int8_by_default(tiny: Path) -> None:
    """Give ONNX Runtime's engine its own file, marked as quantized."""
    model = onnx.load(tiny / "model.onnx")
    model.metadata_props.add(key="precision", value="int8")
    onnx.save(model, tiny / "model-int8.onnx")
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    digest = hashlib.sha256((tiny / "model-int8.onnx").read_bytes()).hexdigest()
    artifacts[1] |= {
        "name": "onnxruntime-int8",
        "files": {"model-int8.onnx": digest},
        "precision": "int8",
        "effective_precision": "int8",
    }
    change_manifest(tiny, artifacts=artifacts, default="onnxruntime-int8")


def checked_in_bf16(tiny: Path) -> list[dict[str, object]]:
    """Mark the default as checked in bfloat16; here it runs in float32."""
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts[0]["effective_precision"] = "bf16"
    change_manifest(tiny, artifacts=artifacts)
    return artifacts


def rehash(tiny: Path) -> None:
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    digest = hashlib.sha256((tiny / "model.onnx").read_bytes()).hexdigest()
    for artifact in artifacts[:2]:
        artifact["files"] = {"model.onnx": digest}
    change_manifest(tiny, artifacts=artifacts)


# Plans for GPUs


@pytest.fixture(scope="module")
def real_plan(tmp_path_factory) -> tuple[bytes, str]:
    """The tiny network for SM89, built here, and the version of TensorRT-RTX that built it."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    from darnet_trt.export.tensorrt.builder import build_tensorrt
    from darnet_trt.export.tensorrt.child import Job

    folder = tmp_path_factory.mktemp("plan")
    write_onnx(folder / "model.onnx")
    plan = folder / "x.plan"
    result = build_tensorrt(
        Job(backend="tensorrt-rtx", onnx=folder / "model.onnx", plan=plan, target="sm89")
    )
    return plan.read_bytes(), result.version


@pytest.fixture
def no_gpu():
    if gpus():
        pytest.skip("there is a GPU")
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")


@pytest.fixture
def host_gpu(tmp_path, monkeypatch):
    """An SM89 GPU and TensorRT-RTX that the host simulates: plans are ONNX files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # of what it compiles
    monkeypatch.setattr(tensorrt_plan, "import_tensorrt", lambda backend: tensorrt("1.7.1"))
    monkeypatch.setattr(gpu, "CudaPythonDevice", HostDevice)


def test_a_real_plan_of_another_version(tiny, real_plan):
    put_plan(tiny, real_plan[0], "1.5.0.1")
    with pytest.raises(BundleError, match=rf"'{PLAN}' .*tensorrt_rtx 1\.5\.0\.1.* 1\.7") as caught:
        load_engine(open_bundle(tiny), PLAN)
    assert "tensorrt_rtx==1.5.0.1" in caught.value.do
    assert "darnet-trt build" in caught.value.do


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("command_name", ["predict", "bench"])
def test_without_a_gpu_commands_end_with_one_line(tiny, real_plan, command, tmp_path, command_name):
    put_plan(tiny, *real_plan)
    (tmp_path / "scan").mkdir()
    words = [tmp_path / "scan"] if command_name == "predict" else []
    result = command(command_name, tiny, *words, "--artifact", PLAN)
    assert result.returncode == 2
    assert result.stdout == ""
    for fact in (str(tiny), "no NVIDIA driver", "--artifact: openvino-fp32, onnxruntime-fp32"):
        assert fact in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("no_gpu")
def test_tensorrts_reason_for_a_plan_that_it_cannot_load(real_plan):
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BundleError, match=r"tensorrt-rtx 1\.7.* cannot load the plan \(.*CUDA"):
        LoadedPlan(trt, "tensorrt-rtx", real_plan[0])


def test_the_real_registry_loads_the_plugin_for_each_plan(cpu_library):
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    for _ in range(2):  # the process's own registry refuses the second
        with pytest.raises(BundleError, match="cannot load the plan"):
            LoadedPlan(trt, "tensorrt-rtx", b"not a plan", library=cpu_library)
    with pytest.raises(BundleError, match="refuses the plugin"):
        LoadedPlan(
            trt, "tensorrt-rtx", b"not a plan", library=cpu_library.with_name("compiler.log")
        )


@pytest.mark.usefixtures("no_gpu")
def test_a_default_for_a_gpu_is_replaced_on_a_cpu(tiny, real_plan):
    gated(put_plan(tiny, *real_plan))
    engine = load_engine(open_bundle(tiny))
    assert engine.artifact.name == "openvino-fp32"
    (warning,) = engine.warnings
    for fact in ("openvino-fp32", PLAN, "no NVIDIA driver"):
        assert fact in warning
    engine.runner.close()


@pytest.mark.usefixtures("no_gpu")
def test_a_default_for_a_gpu_without_a_replacement(tiny, real_plan):
    gated(put_plan(tiny, *real_plan))
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    for artifact in artifacts[:2]:
        artifact |= {"executed": False, "effective_precision": None, "parity": None}
    change_manifest(tiny, artifacts=artifacts)
    with pytest.raises(DeviceError, match="no NVIDIA driver here"):
        load_engine(open_bundle(tiny))


def test_an_altered_plan_is_not_replaced(tiny, real_plan):
    gated(put_plan(tiny, *real_plan))
    (tiny / FILE).write_bytes(b"altered")
    with pytest.raises(BundleError, match="altered or damaged"):
        load_engine(open_bundle(tiny))


@pytest.mark.usefixtures("host_gpu")
def test_a_plan_that_passed_the_gate_runs_by_default(tiny):
    gated(put_plan(tiny, (tiny / "model.onnx").read_bytes(), "1.7.1"))
    engine = load_engine(open_bundle(tiny))
    assert (engine.artifact.name, engine.warnings) == (PLAN, ())
    assert engine.runner.provenance["compute_capability"] == "8.9"
    volumes = np.random.default_rng(0).random((3, 1, *SIZE), np.float32)
    reference = load_engine(open_bundle(tiny), "onnxruntime-fp32").runner
    np.testing.assert_allclose(
        engine.runner.infer(volumes).logits, reference.infer(volumes).logits, atol=1e-6
    )
    engine.runner.close()


@pytest.mark.usefixtures("host_gpu")
def test_a_plan_that_never_ran_runs_only_by_name_with_a_warning(tiny):
    put_plan(tiny, (tiny / "model.onnx").read_bytes(), "1.7.1")
    engine = load_engine(open_bundle(tiny))
    assert engine.artifact.name == "openvino-fp32"
    named = load_engine(open_bundle(tiny), PLAN)
    (warning,) = named.warnings
    for fact in (PLAN, "never compared with the reference", "darnet-trt build"):
        assert fact in warning
    named.runner.close()


@pytest.mark.usefixtures("host_gpu")
def test_a_default_for_another_gpu_is_replaced_by_a_plan_for_this_one(tiny):
    model = (tiny / "model.onnx").read_bytes()
    gated(put_plan(tiny, model, "1.7.1"))
    artifacts = json.loads((tiny / "manifest.json").read_text())["artifacts"]
    artifacts.append(artifacts[2] | {"name": "for-sm86", "target": "sm86", "latency_ms": 0.1})
    change_manifest(tiny, artifacts=artifacts, default="for-sm86")
    engine = load_engine(open_bundle(tiny))
    (warning,) = engine.warnings
    assert warning.startswith(f"engine {PLAN} instead of the default for-sm86: ")
    assert "sm89 (Host)" in warning
    engine.runner.close()


@pytest.mark.usefixtures("host_gpu")
def test_a_plan_of_another_size_than_the_preprocessing(tiny):
    write_onnx(tiny / "other.onnx", size=(16, 48, 32))
    put_plan(tiny, (tiny / "other.onnx").read_bytes(), "1.7.1")
    with pytest.raises(BundleError, match=r"16×48×32 voxels.*16×32×32"):
        load_engine(open_bundle(tiny), PLAN)


@pytest.mark.usefixtures("host_gpu")
@pytest.mark.parametrize(
    ("kernels", "precision"),
    [
        ({}, "fp16"),
        ({"generated": {"fp32": 30}, "convolution": {"fp16": 20, "fp32": 1}}, "fp16"),
        ({"convolution": {"fp16": 1, "int8": 20}}, "int8"),
        ({"convolution": {"fp16": 19, "int8": 1}}, "int8"),
    ],
)
def test_the_precision_is_of_the_plans_own_convolutions(tiny, kernels, precision):
    put_plan(tiny, (tiny / "model.onnx").read_bytes(), "1.7.1", plan=plan_card(kernels=kernels))
    runner = load_engine(open_bundle(tiny), PLAN).runner
    assert runner.precision == precision
    runner.close()
