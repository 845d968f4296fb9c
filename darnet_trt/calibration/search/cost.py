"""Estimate the memory and the temporary space of a calibration before the first scan is read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from onnx import ModelProto

from darnet_trt.calibration.activations.collect import peak_bytes
from darnet_trt.calibration.qdq import convolutions, quantized_tensors
from darnet_trt.machine.files import temporary_folder

# Copies of the weights in memory, beyond the two that `peak_bytes` counts: six were measured while
# shapes are inferred, while a session is made and while OpenVINO converts a graph.
_MORE_COPIES: Final = 4


def announce(model: ModelProto, log: Callable[[str], None]) -> None:
    """Log the peak memory of calibrating a float32 graph and the size of its trials' files.

    Args:
        model: The float32 graph.
        log: Takes the line.

    Raises:
        UsageError: The graph is already quantized.
        OutputError: There is no folder for temporary files.
    """
    tensors = quantized_tensors(model, convolutions(model))
    weights = 4 * sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    memory = peak_bytes(model, tensors) + _MORE_COPIES * weights
    log(
        f"calibration: needs about {memory / 1e9:.1f} GB of memory, and for the engines it tries "
        f"{math.ceil(weights / 1e6)} MB in {temporary_folder()}"
    )
