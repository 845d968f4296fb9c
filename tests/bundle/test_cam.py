"""The size of the map is that of the network's features."""

import pytest
import torch

from darnet_trt.bundle.cam import cam_size
from darnet_trt.bundle.reading import open_bundle
from darnet_trt.bundle.triton import config
from darnet_trt.training.model import DARNet, Network
from tests.tiny_bundle import change_manifest, write_bundle


@pytest.mark.parametrize("size", [(8, 16, 16), (20, 40, 50), (9, 17, 33)])
def test_it_is_what_the_network_gives(size):
    network = DARNet(Network(width=4, input_size=size)).eval()
    with torch.inference_mode():
        _, cam, _ = network(torch.zeros(1, 1, *size))
    assert tuple(cam.shape[2:]) == cam_size(size)


def test_a_size_that_is_no_multiple_is_rounded_up_for_triton(tmp_path):
    bundle = open_bundle(write_bundle(tmp_path / "bundle"))
    sized = bundle.manifest.preprocessing.model_copy(update={"size": (20, 40, 50)})
    change_manifest(bundle.path, preprocessing=sized.model_dump())
    bundle = open_bundle(bundle.path)
    assert "dims: [ 3, 3, 3, 4 ]" in config(bundle, bundle.manifest.artifacts[0])
