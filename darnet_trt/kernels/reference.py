"""Compute the fused dual attention in float64: every implementation is compared with this.

The paper's block (section 3.2, equations 1 and 2) ends with channel attention, then depth
attention, then the shortcut:

    F₁ = F · s             s = CA(mean_{d,h,w} F)        (n c)
    F₂ = F₁ · ẑ            ẑ = DA(mean_{h,w} F₁)         (n c d)
    out = relu(F₂ + residual)

The mean is linear and s does not depend on d, h, w. So with Z = mean_{h,w} F, one pooling pass
over F gives both gates, and one scaling pass applies them:

    s = CA(mean_d Z)       ẑ = DA(s · Z)       out = relu(F · (s · ẑ) + residual)

CA is Linear(C → C/16), ReLU, Linear(C/16 → C), sigmoid; DA is the same with C·D → D → C·D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gate:
    """The two linear layers of one attention; weights are (outputs, inputs), as in torch.

    Attributes:
        squeeze_weight: (hidden, features).
        squeeze_bias: (hidden,).
        excite_weight: (features, hidden).
        excite_bias: (features,).
    """

    squeeze_weight: Array
    squeeze_bias: Array
    excite_weight: Array
    excite_bias: Array

    def __call__(self, z: Array) -> Array:
        """Return gate values in 0…1: (n, features) → (n, features)."""
        hidden = np.maximum(z @ self.squeeze_weight.T + self.squeeze_bias, 0)
        logits = hidden @ self.excite_weight.T + self.excite_bias
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)))  # sigmoid without overflow


def quantize(values: Array, scale: float) -> npt.NDArray[np.int8]:
    """Return int8 q with values ≈ scale · q, as ONNX's QuantizeLinear: saturating, ties to even.

    NaN becomes 0.
    """
    rounded = np.clip(np.rint(values / scale), -128, 127)
    return np.asarray(np.nan_to_num(rounded, nan=0), np.int8)


def fused_attention(
    x: Array, residual: Array | None, channel: Gate | None, depth: Gate | None
) -> Array:
    """Return relu(x · gates + residual), with one pooling and one scaling pass over x.

    Args:
        x: F, the output of the block's second batch norm, (n, c, d, h, w).
        residual: The shortcut, same shape; None: return x · gates without the ReLU.
        channel: Gate with c features; None: no channel attention.
        depth: Gate with c·d features, c slowest; None: no depth attention.

    Returns:
        An array with the shape of x.
    """
    z = x.mean((3, 4))
    gates = np.ones_like(z)
    if channel is not None:
        gates = gates * channel(z.mean(2))[:, :, None]
    if depth is not None:
        gates = gates * depth((gates * z).reshape(len(z), -1)).reshape(z.shape)
    scaled = np.asarray(x * gates[..., None, None])
    return scaled if residual is None else np.asarray(np.maximum(scaled + residual, 0))
