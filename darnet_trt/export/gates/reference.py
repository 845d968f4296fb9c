"""The network in torch, float32.

The reference that engines are compared with runs the paper's layers on the CPU. `bench` also
compares engines with `torch.compile` and with the fused attention as one operator. The reference
must not contain the fusion that it is there to judge.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import BundleError, MissingPackageError
from darnet_trt.runtime.engines.runner import Outputs

if TYPE_CHECKING:
    from darnet_trt.training.model import DARNet

Mode = Literal["eager", "compiled", "fused"]

# torch takes any; a batch costs memory (about 1 GB a volume at the paper's size) and gains no
# time on the CPU.
MAX_BATCH: Final = 16


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingPackageError("torch", extra="train") from error
    return torch


class TorchRunner:
    """torch in float32, in inference mode.

    Args:
        model: The network; with `mode` "fused" one that was made with the fused attention.
        threads: CPU threads of this whole process (torch can set no others); None leaves the
            number to torch: one for each physical core.
        mode: "eager" and "compiled" run on the CPU. "compiled" is what PyTorch recommends there:
            channels-last weights (docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html)
            and `torch.compile` of the frozen network (…/tutorials/unstable/
            max_autotune_on_CPU_tutorial.html; max-autotune itself chooses matrix products, of
            which this network has none that count). Its first inference takes a minute and needs
            a C++ compiler. "fused" runs eagerly and channels-last on the first CUDA device, or on
            the CPU where there is none.

    Attributes:
        provenance: Versions, device, threads and mode; of "fused" also whether the attention ran
            in our kernels.
    """

    backend = "torch"
    precision = "fp32"
    batch = (1, MAX_BATCH)

    def __init__(self, model: DARNet, *, threads: int | None = None, mode: Mode = "eager") -> None:
        torch = _torch()
        if threads is not None:
            torch.set_num_threads(threads)
        self.classes = len(model.network.classes)
        on_gpu = mode == "fused" and torch.cuda.is_available()
        self._device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
        self._layout = torch.contiguous_format
        network: Any = model.eval()
        if mode != "eager":
            self._layout = torch.channels_last_3d
            network = network.to(self._device, memory_format=self._layout)
        if mode == "compiled":
            # Without `dynamic` a second batch would be compiled for any size.
            network = torch.compile(network, dynamic=False, options={"freezing": True})
        self._model = network
        self.provenance = {
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(self._device) if on_gpu else "CPU",
            "threads": str(torch.get_num_threads()),
            "mode": _MODES[mode],
        }
        if mode == "fused":
            self.provenance["attention"] = f"fused operator, {_attention_on(self._device)}"

    @classmethod
    def from_onnx(
        cls, path: Path, *, threads: int | None = None, mode: Mode = "eager"
    ) -> TorchRunner:
        """Rebuild the network from a float32 `model.onnx` that `export_onnx` wrote.

        The export folded the batch norms into biases; here they only add these.

        Raises:
            MissingPackageError: torch or onnx is not installed.
            BundleError: It is not such a file.
        """
        _torch()  # or say what to install
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise MissingPackageError("onnx", extra="train") from error
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        from darnet_trt.export.onnx.weights import unfolded
        from darnet_trt.training.model import Network, unfilled

        try:
            proto = onnx.load(os.fspath(path))
            properties = {entry.key: entry.value for entry in proto.metadata_props}
            network = Network.model_validate(json.loads(properties["network"]))
            model = unfilled(network, fused=mode == "fused")
            weights = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
            model.load_state_dict(unfolded(model, weights), assign=True)
        except (OSError, DecodeError, KeyError, ValueError, RuntimeError) as error:
            raise BundleError(
                f"not a float32 file that darnet-trt export wrote ({type(error).__name__})",
                where=path,
                do="build the bundle again",
            ) from error
        return cls(model, threads=threads, mode=mode)

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        torch = _torch()
        with torch.inference_mode():
            x = torch.from_numpy(np.array(batch, np.float32))
            found = self._model(x.to(self._device, memory_format=self._layout))
        return Outputs(*(array.contiguous().cpu().numpy() for array in found))

    def close(self) -> None:
        """Free the network."""
        del self._model


_MODES: Final[dict[Mode, str]] = {
    "eager": "eager",
    "compiled": "compiled, frozen, channels-last",
    "fused": "eager, channels-last",
}


def _attention_on(device: Any) -> str:
    """Return what runs the fused operator there; on a GPU, also turn TF32 off."""
    if device.type == "cpu":
        return "plain torch"
    from darnet_trt.kernels.torch_operator import kernels_for

    # TF32 is on by default and keeps 10 of float32's 23 bits.
    cudnn: Any = _torch().backends.cudnn
    cudnn.conv.fp32_precision = "ieee"
    library = kernels_for(device)
    return "plain torch" if library is None else f"kernels for {library.target}"
