"""The dual-attention 3D ResNet18 of arXiv 2105.06779, top to bottom as in its figure 1.

Axes are n c d h w. For the paper's input, 1×64×224×224, the stages give 64×64×112×112,
128×32×56×56, 256×16×28×28 and 512×8×14×14.

By default the layers run as the paper writes them, which is the reference for every comparison.
Training sets `fused=True`: one operator then computes each block's tail. The result is the same
(`kernels/reference.py` says why, `tests/training/test_model.py` checks it).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from darnet_trt.kernels.torch_operator import fused_attention
from darnet_trt.scan.cohorts import PAPER_CLASSES

Attention = Literal["none", "channel", "depth", "both"]


class Network(BaseModel):
    """The network's shape. The defaults are the paper's.

    Attributes:
        attention: The four networks of the paper's ablation (Table 3).
        width: Channels of the first stage; each further stage doubles them.
        input_size: (d, h, w). Fixed: the depth attention's weights depend on it.
        classes: Names of the logits, in order; the first is the positive one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attention: Attention = "both"
    width: int = Field(default=64, ge=4)
    input_size: tuple[int, int, int] = (64, 224, 224)
    classes: tuple[str, ...] = PAPER_CLASSES


def halved(size: int) -> int:
    """Return the length of an axis after a stride-2 convolution with "same" padding."""
    return (size - 1) // 2 + 1


class ChannelAttention(nn.Module):
    """3D squeeze-and-excitation: a gate for each channel, reduction 16. (n c d h w) → same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 16, 1)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale every channel of x by its gate."""
        z = x.mean((2, 3, 4))
        gate = self.excite(self.squeeze(z).relu()).sigmoid()
        return torch.mul(x, gate[:, :, None, None, None])


class DepthAttention(nn.Module):
    """Equations 1 and 2: a gate for each channel and slice. (n c d h w) → same."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels * depth, depth)
        self.excite = nn.Linear(depth, channels * depth)

    def forward(self, x: Tensor) -> Tensor:
        """Scale every slice of every channel by its gate."""
        z = x.mean((3, 4))
        gate = self.excite(self.squeeze(z.flatten(1)).relu()).sigmoid()
        return torch.mul(x, gate.view(*z.shape, 1, 1))


class Block(nn.Module):
    """conv-BN-ReLU-conv-BN → channel attention → depth attention → + shortcut → ReLU."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        depth: int,
        stride: int,
        attention: Attention,
        fused: bool,
    ) -> None:
        super().__init__()
        self.fused = fused and attention != "none"
        self.conv1 = nn.Conv3d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(channels)
        self.channel_attention = (
            ChannelAttention(channels) if attention in ("channel", "both") else nn.Identity()
        )
        self.depth_attention = (
            DepthAttention(channels, depth) if attention in ("depth", "both") else nn.Identity()
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != channels:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, channels, 1, stride, bias=False), nn.BatchNorm3d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n inputs d h w) → (n channels d/stride h/stride w/stride)."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        if self.fused:
            channel = [*self.channel_attention.parameters()]
            depth = [*self.depth_attention.parameters()]
            out: Tensor = fused_attention(y, self.shortcut(x), channel, depth)
            return out
        y = self.depth_attention(self.channel_attention(y))
        return torch.relu(y + self.shortcut(x))


class DARNet(nn.Module):
    """The whole network; `forward` gives logits, the class activation map and the features.

    The head is one 1×1×1 convolution of the features with the last layer's weights: the map is
    its output and the logits are the map's mean plus the bias, which equals pooling first.

    Args:
        network: Its shape.
        fused: Compute each block's attention, shortcut and ReLU in one operator.
    """

    def __init__(
        self,
        network: Network = Network(),  # noqa: B008 (frozen)
        *,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        width, depth = network.width, network.input_size[0]
        self.stem = nn.Sequential(
            nn.Conv3d(1, width, (3, 7, 7), (1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        stages, inputs = [], width
        for index in range(4):
            channels, stride = width * 2**index, 1 if index == 0 else 2
            depth = depth if index == 0 else halved(depth)
            stages.append(
                nn.Sequential(
                    Block(inputs, channels, depth, stride, network.attention, fused),
                    Block(channels, channels, depth, 1, network.attention, fused),
                )
            )
            inputs = channels
        self.stages = nn.ModuleList(stages)
        self.classifier = nn.Linear(inputs, len(network.classes))
        self.apply(_initialize)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classify volumes.

        Args:
            x: (n, 1, d, h, w), values 0…1.

        Returns:
            Logits (n, classes), the class activation map (n, classes, d/8, h/16, w/16) and the
            pooled features before the classifier (n, 8·width).
        """
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        cam = torch.einsum("ncdhw,kc->nkdhw", x, self.classifier.weight)
        return cam.mean((2, 3, 4)) + self.classifier.bias, cam, x.mean((2, 3, 4))


def unfilled(network: Network, *, fused: bool = False) -> DARNet:
    """Return a network whose weights, and what it computes, take no memory: shapes alone."""
    with torch.device("meta"):
        return DARNet(network, fused=fused)


def _initialize(module: nn.Module) -> None:
    """Section 4.2: Kaiming-normal convolutions, zero biases."""
    if isinstance(module, nn.Conv3d) and module.weight.is_meta:
        return  # torch would import its compiler to fill nothing, which takes seconds
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
