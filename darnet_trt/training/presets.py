"""Named sizes of the network."""

from __future__ import annotations

from dataclasses import dataclass

from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.training.model import Attention, Network


@dataclass(frozen=True)
class Preset:
    """A size of the network.

    Attributes:
        width: Channels of the first stage.
        input_size: (d, h, w).
        epochs: Passes over the training patients unless --epochs gives another number.
    """

    width: int
    input_size: tuple[int, int, int]
    epochs: int

    def network(
        self, attention: Attention = "both", classes: tuple[str, ...] = PAPER_CLASSES
    ) -> Network:
        """Return the network's shape."""
        return Network(
            attention=attention, width=self.width, input_size=self.input_size, classes=classes
        )


PRESETS: dict[str, Preset] = {
    # The defaults of Network and Preprocessing; needs a GPU.
    "paper": Preset(width=64, input_size=(64, 224, 224), epochs=100),
    # Learns the synthetic cohort in a few minutes on two CPU cores. One voxel more than a multiple
    # of the map's strides, 8 and 16, so that its 4×6×6 cells reach from border to border.
    "small": Preset(width=8, input_size=(25, 81, 81), epochs=15),
}
