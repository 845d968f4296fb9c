"""Fold the batch norms into the convolutions, and undo it.

Names stay those of the state dict: a folded convolution keeps its weight's name, and its bias
takes the name of the batch norm's bias. So the graph's initializers become a state dict again if
each batch norm is set to only add that bias (`unfolded`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from darnet_trt.training.model import DARNet

Weights = dict[str, npt.NDArray[np.float32]]


def _batch_norms(model: DARNet) -> dict[str, tuple[str, nn.BatchNorm3d]]:
    """Return each batch norm's name with its convolution's name and the batch norm."""
    modules = dict(model.named_modules())
    found, convolution = {}, ""
    for name, module in modules.items():  # registration order: each follows its convolution
        if isinstance(module, nn.Conv3d):
            convolution = name
        elif isinstance(module, nn.BatchNorm3d):
            found[name] = (convolution, module)
    return found


def folded(model: DARNet) -> Weights:
    """Return the weights with batch norms folded in float64 and rounded once to float32.

    With γ, β, μ, σ² the batch norm's weight, bias, mean and variance, the convolution gets
    weight · γ/√(σ² + ε) and bias β − μ · γ/√(σ² + ε). NaN and infinite values stay.
    """
    state = {k: v.detach().cpu().double().numpy() for k, v in model.state_dict().items()}
    with np.errstate(over="ignore", invalid="ignore"):
        for norm, (convolution, module) in _batch_norms(model).items():
            deviation = np.sqrt(state.pop(f"{norm}.running_var") + module.eps)
            scale = state.pop(f"{norm}.weight") / deviation
            state[f"{convolution}.weight"] *= scale[:, None, None, None, None]
            state[f"{norm}.bias"] -= state.pop(f"{norm}.running_mean") * scale
            del state[f"{norm}.num_batches_tracked"]
        return {name: value.astype(np.float32) for name, value in state.items()}


def unfolded(model: DARNet, weights: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Tensor]:
    """Return a state dict for `model` from `folded` weights.

    Raises:
        KeyError: A weight is missing.
    """
    import torch

    state = {}
    norms = _batch_norms(model)
    for name, value in model.state_dict().items():
        module, _, parameter = name.rpartition(".")
        if module in norms and parameter != "bias":
            identity = {"running_var": 1 - norms[module][1].eps, "weight": 1.0}
            state[name] = torch.full(tuple(value.shape), identity.get(parameter, 0.0)).to(
                value.dtype
            )
        else:
            state[name] = torch.from_numpy(np.array(weights[name])).reshape(value.shape)
    return state
