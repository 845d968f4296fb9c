"""Scans with a ball of metal, and a network whose map shows where in its input metal is.

Only metal shows in the network's window. A cell's value is the metal around its centre, weighted
by a tent, so that the mean of the cells' centres, weighted by their values, is the ball's centre.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from pydicom.dataset import Dataset

from darnet_trt.bundle.manifest import Artifact, Manifest, ModelCard
from darnet_trt.bundle.writing import write_manifest
from darnet_trt.scan import Volume
from darnet_trt.scan.preprocessing import Preprocessing

PAPER_CLASSES: Final = ("covid-19", "common-pneumonia", "normal")
METAL_HU: Final = 3000
SIZE: Final = (64, 96, 96)
STRIDES: Final = (8, 16, 16)
Array = np.ndarray[Any, Any]


def metal_bundle(folder: Path, predicted: str = "covid-19", **spec: Any) -> Path:
    """Write a bundle whose network sees metal alone, and names one class.

    Args:
        folder: Made.
        predicted: The class.
        spec: More of the preprocessing.
    """
    folder.mkdir(parents=True)
    file = folder / "model.onnx"
    onnx.save(_network(PAPER_CLASSES.index(predicted)), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    engine = Artifact(
        name="openvino-fp32", files={file.name: digest}, backend="openvino", precision="fp32",
        effective_precision="fp32", target="cpu", batch=(1, 1), producer={}, executed=True,
        parity=None, latency_ms=1.0,
    )  # fmt: skip
    model = ModelCard(
        attention="none", width=4, parameters=0, checkpoint_sha256="0" * 64,
        trained_on="nothing: it looks for metal",
    )  # fmt: skip
    manifest = Manifest(
        toolkit="0.1.0", created="2025-01-01T00:00:00Z",
        intended_use="Research use only. Not a medical device.", model=model, classes=PAPER_CLASSES,
        preprocessing=Preprocessing(
            size=SIZE, window_center_hu=METAL_HU - 400, window_width_hu=800, **spec
        ),
        artifacts=(engine,), default=engine.name, built_on={},
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


def _network(predicted: int) -> onnx.ModelProto:
    """One convolution an axis, then one map for each class."""
    nodes, weights, name = [], [], "volume"
    for axis, stride in enumerate(STRIDES):
        shape, strides, pads = [1, 1, 1, 1, 1], [1, 1, 1], [0] * 6
        shape[2 + axis], strides[axis] = 2 * stride - 1, stride
        pads[axis] = pads[3 + axis] = stride - 1
        tent = 1 - np.abs(np.arange(1 - stride, stride)) / stride
        weights.append(numpy_helper.from_array(tent.astype(np.float32).reshape(shape), f"t{axis}"))
        options = {"strides": strides, "pads": pads}
        nodes.append(helper.make_node("Conv", [name, f"t{axis}"], [f"x{axis}"], **options))
        name = f"x{axis}"
    each, bias = np.array([0.02, 0.01, 0.005], np.float32), np.zeros(3, np.float32)
    bias[predicted] = 2
    weights += [
        numpy_helper.from_array(np.roll(each, predicted).reshape(3, 1, 1, 1, 1), "each"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([2, 3, 4], np.int64), "axes"),
    ]
    nodes += [
        helper.make_node("Conv", [name, "each"], ["cam"]),
        helper.make_node("ReduceMean", ["cam", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logits"]),
    ]
    cells = [-(-n // stride) for n, stride in zip(SIZE, STRIDES, strict=True)]
    ends = (("logits", ["n", 3]), ("cam", ["n", 3, *cells]))
    graph = helper.make_graph(
        nodes,
        "metal",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, ["n", 1, *SIZE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def places_of(ds: Dataset) -> Array:
    """Return x, y, z of every pixel of a classic slice, (rows, columns, 3): PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, ds.PixelSpacing)
    rows, columns = np.mgrid[: ds.Rows, : ds.Columns][..., None]
    origin = np.array(ds.ImagePositionPatient, float)
    return origin + columns * between_columns * along_row + rows * between_rows * along_column


def mark_slices(slices: Iterable[Dataset], centre_mm: Any, radius_mm: float = 14) -> Array:
    """Put a ball into classic, uncompressed slices; return the centre of the voxels it took."""
    taken = []
    for ds in slices:
        places = places_of(ds)
        inside = np.linalg.norm(places - centre_mm, axis=-1) <= radius_mm
        taken.append(places[inside])
        stored = ds.pixel_array.copy()
        highest = 2 ** (ds.BitsStored - ds.PixelRepresentation) - 1
        metal = round((METAL_HU - float(ds.RescaleIntercept)) / float(ds.RescaleSlope))
        stored[inside] = min(metal, highest)
        ds.PixelData = stored.tobytes()
    return np.concatenate(taken).mean(0)


def marked(volume: Volume, centre_mm: Any, radius_mm: float = 14) -> tuple[Volume, Array]:
    """Return a volume with a ball, and the centre of the voxels that it took."""
    indices = np.stack(np.meshgrid(*map(np.arange, volume.hu.shape), indexing="ij"), -1)
    places = volume.origin_mm + (indices * volume.spacing_mm) @ volume.direction.T
    inside = np.linalg.norm(places - centre_mm, axis=-1) <= radius_mm
    hu = volume.hu.copy()
    hu[inside] = METAL_HU
    made = Volume(hu, volume.spacing_mm, volume.origin_mm, volume.direction)
    return made, places[inside].mean(0)
