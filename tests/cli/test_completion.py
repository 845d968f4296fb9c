"""The shell completes the values of every option that has choices."""

import os
import subprocess

import pytest

from tests.cli.command import COMMAND
from tests.tiny_bundle import write_bundle


def completed(*words: object) -> list[str]:
    """Return what bash is offered for the last word."""
    line = ["darnet-trt", *map(str, words)]
    surroundings = {
        **os.environ,
        "_DARNET_TRT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = subprocess.run([COMMAND], env=surroundings, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["tra"], ["train"]),
        (["train", "--preset", ""], ["small", "paper"]),
        (["train", "--attention", ""], ["none", "channel", "depth", "both"]),
        (
            ["phantom", "--format", ""],
            ["dicom", "nifti", "slices", *("cc-ccii", "cc-ccii-cleaned")],
        ),
        (["plugin", "build", "--target", ""], ["cuda", "cpu"]),
        (["build", "run", "--target", "onnx"], ["onnxruntime", "onnxruntime:cuda"]),
        (["build", "run", "--precision", "f"], ["fp32", "fp16"]),
        (["bench", "b", "--against", "torch-"], ["torch-compile", "torch-fused"]),
        (["bench", "b", "--against", "torch,o"], ["torch,onnxruntime", "torch,openvino"]),
        (["predict", "--artifact", ""], []),
    ],
)
def test_values(words, values):
    assert completed(*words) == values


def test_engines_of_a_bundle(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    for command in (["bench", bundle], ["predict", bundle, "scan"]):
        assert completed(*command, "--artifact", "o") == ["openvino-fp32", "onnxruntime-fp32"]
