"""Every engine refuses a file of another network when it loads it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from tests.tiny_bundle import FEATURES, SIZE, write_onnx


@pytest.fixture
def model(tmp_path):
    write_onnx(tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(params=["openvino", "onnxruntime"])
def load(request):
    if request.param == "onnxruntime":
        return OnnxRuntimeRunner
    return lambda file: OpenVINORunner(file, precision="fp32")


def altered(file, change):
    model = onnx.load(file)
    change(model.graph)
    onnx.save(model, file)


def refused(load, file, match):
    with pytest.raises(BundleError, match=match) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert caught.value.where == str(file)


def test_the_number_of_classes_is_read(load, model):
    assert load(model).classes == 3


def test_features_of_each_volume(load, model):
    volumes = np.random.default_rng(0).random((2, 1, *SIZE), np.float32)
    found = load(model).infer(volumes)
    expected = found.cam.mean((2, 3, 4)) @ np.eye(3, FEATURES, dtype=np.float32)
    np.testing.assert_allclose(found.features, expected, atol=1e-6)


def test_volumes_may_be_read_only(load, model):
    volumes = np.random.default_rng(0).random((2, 1, *SIZE), np.float32)
    runner = load(model)
    expected = runner.infer(volumes)
    volumes.flags.writeable = False
    np.testing.assert_array_equal(runner.infer(volumes).logits, expected.logits)


def test_an_engine_of_an_older_bundle_has_two_outputs(load, model):
    volumes = np.random.default_rng(0).random((2, 1, *SIZE), np.float32)
    expected = load(model).infer(volumes)
    write_onnx(model, features=0)
    found = load(model).infer(volumes)
    assert found.features is None
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.cam, expected.cam)


def test_features_that_are_no_vector(load, model):
    def put_the_map_out(graph):
        graph.node[-1].CopyFrom(helper.make_node("Identity", ["cam"], ["features"]))
        graph.output[2].CopyFrom(graph.output[1])
        graph.output[2].name = "features"

    altered(model, put_the_map_out)
    refused(load, model, r"features \(\w, 3, 2, 2, 2\), expected .* features")


def test_no_activation_map(load, model):
    altered(model, lambda graph: graph.output.pop(1))
    refused(load, model, r"outputs are logits \(\w, 3\), features .* expected .* cam")


def test_a_map_with_fewer_classes_than_logits(load, model):
    def halve(graph):
        starts = ("zero", [0]), ("two", [2]), ("axis", [1])
        graph.initializer.extend(
            helper.make_tensor(n, TensorProto.INT64, [1], v) for n, v in starts
        )
        graph.node[0].output[0] = graph.node[1].input[0] = "all"
        graph.node.append(helper.make_node("Slice", ["all", "zero", "two", "axis"], ["cam"]))
        graph.output[1].type.tensor_type.shape.dim[1].dim_value = 2

    altered(model, halve)
    refused(load, model, r"logits \(\w, 3\).* cam \(\w, 2, 2, 2, 2\)")


def test_an_input_of_open_size(load, model):
    def leave_open(graph):
        graph.input[0].type.tensor_type.shape.dim[2].dim_param = "d"
        graph.output[1].type.tensor_type.shape.dim[2].dim_param = "s"

    altered(model, leave_open)
    refused(load, model, "cannot load it|its input is")
