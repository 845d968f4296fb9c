"""A bundle's engine as a model of Triton, read by Triton's own protobuf."""

import importlib.util
import json
from pathlib import Path

import pytest
import tritonclient
from google.protobuf import text_format

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.bundle.triton import MODEL, config, remarks, write_repository
from darnet_trt.errors import BundleError, OutputError, UsageError
from darnet_trt.runtime.serving.http.tensors import NAME
from tests.tiny_bundle import FEATURES, PAPER_CLASSES, SIZE, change_manifest


@pytest.fixture(scope="module")
def proto():
    """The module alone: its package imports grpc, which is not installed here."""
    place = Path(tritonclient.__path__[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(proto, text):
    return text_format.Parse(text, proto.ModelConfig())


def artifact(bundle, name):
    return next(each for each in bundle.manifest.artifacts if each.name == name)


def on(bundle, name, **changes):
    return artifact(bundle, name).model_copy(update=changes)


@pytest.mark.parametrize("name", ["openvino-fp32", "onnxruntime-fp32"])
def test_a_model_with_its_configuration(proto, tiny, tmp_path, name):
    bundle = open_bundle(tiny)
    model = write_repository(bundle, artifact(bundle, name), tmp_path / "models")
    assert model == tmp_path / "models" / MODEL
    read_back = read(proto, (model / "config.pbtxt").read_text())
    assert read_back.name == MODEL == NAME
    assert read_back.backend == name.rsplit("-", 1)[0]
    assert read_back.max_batch_size == 1
    assert [tuple(each.dims) for each in read_back.input] == [(1, *SIZE)]
    d, h, w = SIZE
    outputs = {each.name: tuple(each.dims) for each in read_back.output}
    cam = (3, d // 8, h // 16, w // 16)
    assert outputs == {"logits": (3,), "cam": cam, "features": (FEATURES,)}
    assert all(each.data_type == proto.TYPE_FP32 for each in [*read_back.input, *read_back.output])
    file = model / "1" / read_back.default_model_filename
    assert file.read_bytes() == (tiny / "model.onnx").read_bytes()
    labels = model / read_back.output[0].label_filename
    assert tuple(labels.read_text().split()) == PAPER_CLASSES
    assert read_back.instance_group[0].kind == proto.ModelInstanceGroup.KIND_CPU
    assert not read_back.HasField("dynamic_batching")
    assert read_back.parameters["bundle_sha256"].string_value == bundle.sha256
    assert json.loads(read_back.parameters["preprocessing"].string_value)["size"] == list(SIZE)
    assert read_back.model_warmup[0].inputs["volume"].zero_data
    assert sorted(each.name for each in (tmp_path / "models").iterdir()) == [MODEL]


def test_a_plan_on_a_gpu_gets_batches(proto, tiny):
    bundle = open_bundle(tiny)
    plan = on(bundle, "tensorrt-rtx-fp16", backend="tensorrt", batch=(1, 8))
    read_back = read(proto, config(bundle, plan))
    assert read_back.max_batch_size == 8
    assert read_back.HasField("dynamic_batching")
    assert read_back.instance_group[0].kind == proto.ModelInstanceGroup.KIND_GPU
    assert read_back.default_model_filename == "sm89-fp16.plan"
    assert "sm89" in " ".join(remarks(plan))


def test_openvino_in_bfloat16_is_told_to_the_backend(proto, tiny):
    bundle = open_bundle(tiny)
    for precision, hint in (("bf16", "YES"), ("fp32", "")):
        engine = on(bundle, "openvino-fp32", precision=precision)
        parameters = read(proto, config(bundle, engine)).parameters
        assert parameters["HINT_BF16"].string_value == hint
        assert bool(remarks(engine)) == (precision == "fp32")


def test_any_text_of_the_manifest_is_a_text_of_the_configuration(proto, tiny):
    text = 'Ärzte "only" \\ 肺\n\t{ name: 1 }\x7f'
    change_manifest(tiny, intended_use=text)
    bundle = open_bundle(tiny)
    written = config(bundle, artifact(bundle, "openvino-fp32"))
    assert read(proto, written).parameters["intended_use"].string_value == text


def test_triton_has_no_backend_for_tensorrt_rtx(tiny, tmp_path):
    bundle = open_bundle(tiny)
    with pytest.raises(UsageError):
        write_repository(bundle, artifact(bundle, "tensorrt-rtx-fp16"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_there_stays(tiny, tmp_path):
    bundle = open_bundle(tiny)
    engine = artifact(bundle, "onnxruntime-fp32")
    model = write_repository(bundle, engine, tmp_path)
    before = (model / "config.pbtxt").read_bytes()
    with pytest.raises(UsageError):
        write_repository(bundle, engine, tmp_path)
    assert (model / "config.pbtxt").read_bytes() == before


def test_an_altered_file_is_not_written(tiny, tmp_path):
    bundle = open_bundle(tiny)
    (tiny / "model.onnx").write_bytes(b"altered")
    with pytest.raises(BundleError):
        write_repository(bundle, artifact(bundle, "openvino-fp32"), tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_where_nothing_can_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    bundle = open_bundle(tiny)
    with pytest.raises(OutputError):
        write_repository(bundle, artifact(bundle, "openvino-fp32"), tmp_path / "file" / "models")


def test_the_command(command, tiny, tmp_path):
    ended = command("bundle", "triton", tiny, tmp_path / "models", "--artifact", "onnxruntime-fp32")
    assert ended.returncode == 0
    assert str(tmp_path / "models") in ended.stdout
    assert (tmp_path / "models" / MODEL / "config.pbtxt").is_file()
    assert command("bundle", "triton", tiny, tmp_path / "models").returncode == 2
