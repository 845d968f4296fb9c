"""Classify a DICOM series with a bundle's ONNX file, without darnet-trt.

It needs numpy, onnxruntime and SimpleITK:

    python classify_with_onnxruntime.py BUNDLE SERIES [FIRST LAST]

FIRST and LAST are the slices that the input covers, counted from the feet: `covered` in
darnet-trt's results. A bundle of extent lungs needs them, for this script finds no lungs.

It gives what the bundle's float32 engine gives, and checks nothing: SERIES must be a folder with
one whole series of axial chest CT slices. darnet-trt refuses what is not.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import SimpleITK


def interpolating(n_out: int, n_in: int, snap: float = 0, covered: tuple = ()) -> np.ndarray:
    """Rows that interpolate linearly at the centres of the output voxels."""
    first, last = covered or (0, n_in - 1)
    step = (last + 1 - first) / n_out
    at = np.clip(first + (np.arange(n_out) + 0.5) * step - 0.5, 0, n_in - 1)
    at = np.where(abs(at - np.rint(at)) <= snap * step, np.rint(at), at)
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(n_in)))


def averaging(n_out: int, n_in: int) -> np.ndarray:
    """Rows that average what each output voxel covers."""
    if n_out > n_in:
        return interpolating(n_out, n_in)
    edge, voxel = np.linspace(0, n_in, n_out + 1)[:, None], np.arange(n_in)
    return (np.minimum(edge[1:], voxel + 1) - np.maximum(edge[:-1], voxel)).clip(0) * n_out / n_in


bundle, series = Path(sys.argv[1]), sys.argv[2]
manifest = json.loads((bundle / "manifest.json").read_text())
spec = manifest["preprocessing"]
covered = tuple(map(int, sys.argv[3:5]))
if spec.get("extent") == "lungs" and not covered:
    sys.exit("this bundle covers the lungs alone: give their FIRST and LAST slice")
if spec.get("resolution") == "half":
    sys.exit("this bundle reads halved slices: this script reads whole ones")
files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(series)
image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(files), "LPS")
x = SimpleITK.GetArrayFromImage(image)  # Hounsfield units; axes to the head, the back, the left
x = np.maximum(x, -1024)  # everything below is padding, and counts as air
x = np.clip((x - spec["window_center_hu"]) / spec["window_width_hu"] + 0.5, 0, 1)
d, h, w = spec["size"]
x = averaging(h, x.shape[1]) @ x @ averaging(w, x.shape[2]).T
x = np.tensordot(interpolating(d, len(x), spec["depth_snap"], covered), x, 1)
session = onnxruntime.InferenceSession(bundle / "model.onnx")
volume = {session.get_inputs()[0].name: x[None, None].astype(np.float32)}
[logits] = session.run(["logits"], volume)
logits = logits[0] / manifest["model"].get("temperature", 1)
odds = np.exp(logits - logits.max())
for name, probability in zip(manifest["classes"], odds / odds.sum(), strict=True):
    print(f"{name}: {probability:.4f}")
