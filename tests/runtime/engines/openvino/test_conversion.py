"""ONNX → OpenVINO IR."""

import numpy as np
import pytest

from darnet_trt.bundle.reading import sha256_of
from darnet_trt.errors import OutputError
from darnet_trt.export.gates.reference import TorchRunner
from darnet_trt.export.onnx.writing import Source, export_onnx
from darnet_trt.runtime.engines.openvino.conversion import build_openvino
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner
from tests.export.networks import TINY, trained_like
from tests.full_disk import files_up_to


@pytest.fixture(scope="module")
def source():
    return Source(trained_like(TINY), "0" * 64)


def test_equals_torch_and_is_the_same_each_time(source, tmp_path):
    export_onnx(source, tmp_path / "model.onnx", inline=True)
    digests = set()
    for name in "ab":
        files = build_openvino(tmp_path / "model.onnx", tmp_path / name)
        assert sorted((tmp_path / name).iterdir()) == sorted(files)
        digests.add(tuple(map(sha256_of, files)))
    assert len(digests) == 1
    x = np.random.default_rng(0).random((2, 1, *source.checkpoint.network.input_size), np.float32)
    runner = OpenVINORunner(files[0], precision="fp32")
    expected, found = TorchRunner(source.network).infer(x), runner.infer(x)
    runner.close()
    np.testing.assert_allclose(found.logits, expected.logits, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.cam, expected.cam, rtol=0, atol=1e-4)


def test_a_disk_without_room_is_an_output_error(source, tmp_path):
    export_onnx(source, tmp_path / "model.onnx", inline=True)
    with files_up_to(100_000), pytest.raises(OutputError, match="free space") as caught:
        build_openvino(tmp_path / "model.onnx", tmp_path / "openvino")
    assert caught.value.where == str(tmp_path / "openvino")
