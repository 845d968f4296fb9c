"""The script that measures the packed stem."""

import pytest

from benchmarks.quantization.packed_stem import graphs, rows
from darnet_trt.training.checkpoint import save_checkpoint
from tests.export.networks import TINY, trained_like


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_checkpoint(trained_like(TINY), folder)
    return folder


def test_one_graph_is_packed(run):
    names = {name: {node.name for node in graph.graph.node} for name, graph in graphs(run).items()}
    assert "stem.0.packed" in names["packed"] - names["plain"]


def test_both_backends_give_a_row(run):
    found = list(rows(run, rounds=1))
    assert [one.what for one in found] == ["openvino int8, ms", "onnxruntime int8, ms"]
    assert all(min(*one.theirs, *one.ours) > 0 for one in found)
