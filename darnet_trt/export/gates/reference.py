"""The reference that engines are compared with: the paper's layers in torch, float32."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError, MissingPackageError
from darnet_trt.runtime.engines.runner import Outputs

if TYPE_CHECKING:
    from darnet_trt.training.checkpoint import Checkpoint
    from darnet_trt.training.model import DARNet

__all__ = ["MAX_BATCH", "TorchRunner", "network_from_onnx"]

# torch takes any; a batch costs memory (about 1 GB a volume at the paper's size) and gains no
# time on the CPU.
MAX_BATCH: Final = 16


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackageError("torch", extra="train") from error
    return torch


def network_from_onnx(path: Path, *, fused: bool = False) -> DARNet:
    """The network rebuilt from a float32 `model.onnx` that `export_onnx` wrote.

    The batch norms do no more than add the bias that the export folded them into.

    Args:
        path: The file.
        fused: With the fused attention's operator in place of the paper's layers.

    Raises:
        MissingPackageError: torch or onnx is not installed.
        BundleError: It is not such a file.
    """
    torch = _torch()
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingPackageError("onnx", extra="train") from error
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from darnet_trt.export.onnx.weights import unfolded
    from darnet_trt.training.model import DARNet, Network

    try:
        proto = onnx.load(os.fspath(path))
        properties = {entry.key: entry.value for entry in proto.metadata_props}
        network = Network.model_validate(json.loads(properties["network"]))
        with torch.device("meta"):
            model = DARNet(network, fused=fused)
        weights = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
        model.load_state_dict(unfolded(model, weights), assign=True)
    except (OSError, DecodeError, KeyError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"the network cannot be rebuilt from it ({type(error).__name__})",
            where=path,
            do="build the bundle again",
        ) from error
    return model


class TorchRunner:
    """torch on the CPU in float32, in inference mode.

    Args:
        model: In evaluation mode.
        threads: Threads of this whole process (torch knows no others); None leaves the number
            to torch: one for each physical core.
        compiled: `torch.compile` with channels-last weights, the fastest torch can do on the
            CPU; the first inference then takes a minute and needs a C++ compiler.
    """

    backend = "torch"
    precision = "fp32"
    batch = (1, MAX_BATCH)

    def __init__(
        self, model: DARNet, *, threads: int | None = None, compiled: bool = False
    ) -> None:
        torch = _torch()
        if threads is not None:
            torch.set_num_threads(threads)
        self.input_size = model.network.input_size
        self.classes = len(model.network.classes)
        self._layout = torch.channels_last_3d if compiled else torch.contiguous_format
        network: Any = model.eval()
        if compiled:
            network = torch.compile(network.to(memory_format=self._layout))
        self._model = network
        self.provenance = {
            "torch": str(torch.__version__),
            "device": "CPU",
            "threads": str(torch.get_num_threads()),
            "mode": "compiled, channels-last" if compiled else "eager",
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, threads: int | None = None) -> TorchRunner:
        """The trained network as it is."""
        return cls(checkpoint.model(), threads=threads)

    @classmethod
    def from_onnx(
        cls, path: Path, *, threads: int | None = None, compiled: bool = False
    ) -> TorchRunner:
        """The network of a float32 `model.onnx`: see `network_from_onnx`."""
        return cls(network_from_onnx(path), threads=threads, compiled=compiled)

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        torch = _torch()
        with torch.inference_mode():
            x = torch.from_numpy(np.array(batch, np.float32)).to(memory_format=self._layout)
            logits, cam = self._model(x)
        return Outputs(logits.numpy(), cam.contiguous().numpy())

    def close(self) -> None:
        """Free the network."""
        del self._model
