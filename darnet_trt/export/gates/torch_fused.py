"""torch with the fused attention as one operator, to compare engines with on a CPU or a GPU.

Not the reference of the parity gate: that shall not contain the fusion which it judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darnet_trt.export.gates.reference import MAX_BATCH, network_from_onnx
from darnet_trt.runtime.engines.runner import Outputs

__all__ = ["FusedTorchRunner"]


class FusedTorchRunner:
    """float32, eager and channels-last, on the first CUDA device or else the CPU.

    Args:
        onnx_file: See `network_from_onnx`.
        threads: Of the CPU, for this whole process; None leaves the number to torch.

    Attributes:
        provenance: Says, too, which device and whether the operator has our kernels there.

    Raises:
        MissingPackageError: torch or onnx is not installed.
        BundleError: It is not such a file.
    """

    backend = "torch"
    precision = "fp32"
    batch = (1, MAX_BATCH)

    def __init__(self, onnx_file: Path, *, threads: int | None = None) -> None:
        model: Any = network_from_onnx(onnx_file, fused=True).eval()
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.classes = len(model.network.classes)
        self._layout = torch.channels_last_3d
        on_gpu = torch.cuda.is_available()
        self._device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
        self._model = model.to(self._device, memory_format=self._layout)
        runs_in = "plain torch"
        if on_gpu:
            from darnet_trt.kernels.torch_operator import kernels_for

            # TF32 is on by default and keeps 10 of float32's 23 bits.
            cudnn: Any = torch.backends.cudnn
            cudnn.conv.fp32_precision = "ieee"
            if (library := kernels_for(self._device)) is not None:
                runs_in = f"kernels for {library.target}"
        self.provenance = {
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(self._device) if on_gpu else "CPU",
            "threads": str(torch.get_num_threads()),
            "mode": "eager, channels-last",
            "attention": f"fused operator, {runs_in}",
        }

    def infer(self, batch: npt.NDArray[np.float32]) -> Outputs:
        """Run volumes of shape (n, 1, d, h, w)."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.array(batch, np.float32))
            logits, cam = self._model(x.to(self._device, memory_format=self._layout))
        return Outputs(logits.cpu().numpy(), cam.contiguous().cpu().numpy())

    def close(self) -> None:
        """Free the network."""
        del self._model
