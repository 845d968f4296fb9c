"""A plan's table of layers in the bundle."""

import json

import pytest

from darnet_trt.bundle.reading import open_bundle, sha256_of
from darnet_trt.errors import BundleError
from darnet_trt.export.tensorrt.layer_table import Layer
from darnet_trt.export.tensorrt.stored_table import read_table, row, write_table
from tests.tiny_bundle import change_manifest

CONVOLUTION = Layer(
    "stages.0.0.conv1",
    "convolution",
    (((1, 8, 2, 3, 4), "Int8"), ((1, 8, 2, 3, 4), "Half")),
    (((8, 8, 3, 3, 3), "Int8"),),
    (((1, 8, 2, 3, 4), "Half"),),
)


OPEN_BATCH = Layer("pool", "a_new_word", (((-1, 8), "Half"),), (), (((1, 8), "FP3"),))


def opened(bundle, file):
    """Return the bundle and its plan, with the file among the plan's files."""
    artifacts = json.loads((bundle / "manifest.json").read_text())["artifacts"]
    name = file.relative_to(bundle).as_posix()
    artifacts[-1]["files"][name] = sha256_of(file)
    change_manifest(bundle, artifacts=artifacts)
    read = open_bundle(bundle)
    return read, read.manifest.artifacts[-1]


def test_a_table_comes_back_as_it_was_written(tiny):
    plan = tiny / "tensorrt-rtx" / "sm89-fp16.plan"
    (file,) = write_table(plan, [CONVOLUTION, OPEN_BATCH])
    assert read_table(*opened(tiny, file)) == (CONVOLUTION, OPEN_BATCH)


def test_a_row_has_the_types_and_the_kilobytes():
    assert row(CONVOLUTION) == (
        *("stages.0.0.conv1", "convolution", "int8, fp16", "fp16"),
        *("0.6", "1.7", "0.4"),
    )
    assert row(OPEN_BATCH)[2:] == ("fp16", "FP3", "-", "0.0", "-")


def test_without_layers_there_is_no_file(tiny):
    assert write_table(tiny / "tensorrt-rtx" / "sm89-fp16.plan", ()) == ()
    bundle = open_bundle(tiny)
    assert read_table(bundle, bundle.manifest.artifacts[-1]) == ()


@pytest.mark.parametrize("content", ["", "{}", '[{"name": "a"}]', json.dumps([[1]])])
def test_a_damaged_table_is_named(tiny, content):
    file = tiny / "tensorrt-rtx" / "sm89-fp16.layers.json"
    file.write_text(content)
    found = opened(tiny, file)
    with pytest.raises(BundleError, match=r"sm89-fp16\.layers\.json"):
        read_table(*found)
