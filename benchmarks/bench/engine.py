"""The OpenVINO engine that other tools and `bench` both measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

VOLUME = (64, 112, 112)
SHORT_VOLUME = (16, 64, 64)
"""Size of the convolution's input, (d, h, w)."""


class Engine(NamedTuple):
    """An engine and its file.

    Attributes:
        name: As the tables show it.
        file: The model.
        runner: Runs it.
        ask: Runs one volume of random numbers.
    """

    name: str
    file: Path
    runner: OpenVINORunner
    ask: Callable[[], object]


@contextmanager
def engine(bundle: Path | None, volume: tuple[int, int, int]) -> Iterator[Engine]:
    """Load a bundle's OpenVINO engine, the default one if it is one, or a single convolution.

    Args:
        bundle: The bundle; None: the convolution.
        volume: What the convolution takes, (d, h, w).
    """
    if bundle is None:
        with TemporaryDirectory() as folder:
            file = write_convolution(Path(folder) / "model.xml", volume)
            yield _engine("one convolution", file, OpenVINORunner(file, precision="fp32"))
        return
    opened = open_bundle(bundle)
    manifest = opened.manifest
    names = [one.name for one in manifest.artifacts if one.backend == "openvino" and one.executed]
    name = manifest.default if manifest.default in names else names[0]
    loaded = load_engine(opened, name)
    assert isinstance(loaded.runner, OpenVINORunner)
    yield _engine(name, bundle / next(iter(loaded.artifact.files)), loaded.runner)


def _engine(name: str, file: Path, runner: OpenVINORunner) -> Engine:
    volume = np.random.default_rng(0).random((1, 1, *runner.input_size), np.float32)
    return Engine(name, file, runner, lambda: runner.infer(volume))


def write_convolution(file: Path, volume: tuple[int, int, int]) -> Path:
    """Write a network of one strided convolution, with the outputs of ours.

    At `VOLUME` it takes some ms, so that what a tool adds counts little, and a cache holds it all.
    """
    from openvino import Model, opset13, save_model

    given = opset13.parameter([1, 1, *volume], np.float32)
    weight = np.random.default_rng(0).normal(0, 0.05, (3, 1, 8, 16, 16)).astype(np.float32)
    cam = opset13.convolution(given, weight, [4, 4, 2], [0, 0, 0], [0, 0, 0], [1, 1, 1])
    logits = opset13.reduce_mean(cam, np.array([2, 3, 4]))
    features = opset13.matmul(logits, np.eye(3, 8, dtype=np.float32), False, False)
    outputs = {"logits": logits, "cam": cam, "features": features}
    for name, each in outputs.items():
        each.output(0).get_tensor().set_names({name})
    save_model(Model([*outputs.values()], [given]), file, compress_to_fp16=False)
    return file
