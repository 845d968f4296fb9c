"""Read the shapes of a TensorRT plan's input and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from darnet_trt.errors import BundleError
from darnet_trt.runtime.engines.runner import OUTPUTS, count_classes


@dataclass(frozen=True)
class PlanShapes:
    """One input and three outputs, all in float32; plans of older bundles have no features.

    Attributes:
        volume: Name of the input.
        size: Size of a volume, (d, h, w).
        outputs: "logits", "cam" and "features" → shape for one volume.
        classes: Number of logits.
        profiles: Smallest and largest batch of each optimization profile.
    """

    volume: str
    size: tuple[int, int, int]
    outputs: dict[str, tuple[int, ...]]
    classes: int
    profiles: tuple[tuple[int, int], ...]

    @property
    def batch(self) -> tuple[int, int]:
        """Return the smallest and largest batch of all profiles."""
        return min(low for low, _ in self.profiles), max(high for _, high in self.profiles)

    def profile_for(self, batch: int) -> int:
        """Return the index of the narrowest profile that includes this batch."""
        _, index = min(
            (high - low, index)
            for index, (low, high) in enumerate(self.profiles)
            if low <= batch <= high
        )
        return index


def read_shapes(engine: Any) -> PlanShapes:
    """Read the shapes of an `ICudaEngine`.

    Raises:
        BundleError: It is another network.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if name not in OUTPUTS]
    types = {engine.get_tensor_dtype(name).name for name in names}
    if len(inputs) != 1 or not {"logits", "cam"} <= set(names) or types != {"FLOAT"}:
        raise BundleError(
            f"expected one input, logits, cam and features in float32, found {', '.join(names)} in "
            f"{', '.join(sorted(types))}",
            where="a TensorRT plan",
        )
    (volume,) = inputs
    shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
    _, _, d, h, w = shapes[volume]
    found = {name: shapes[name] for name in OUTPUTS if name in shapes}
    classes = count_classes(found, "a TensorRT plan")
    outputs = {name: shape[1:] for name, shape in found.items()}
    return PlanShapes(volume, (d, h, w), outputs, classes, tuple(_profiles(engine, volume)))


def _profiles(engine: Any, volume: str) -> list[tuple[int, int]]:
    batch = engine.get_tensor_shape(volume)[0]
    if batch >= 0:
        return [(batch, batch)]
    ranges = (
        engine.get_tensor_profile_shape(volume, index)
        for index in range(engine.num_optimization_profiles)
    )
    return [(smallest[0], largest[0]) for smallest, _, largest in ranges]


def parts(n: int, smallest: int, largest: int) -> list[slice]:
    """Divide n volumes into the fewest parts of `smallest` to `largest`; the first may be less."""
    count = -(-n // largest)
    sizes = [largest] * (count - 1) + [n - largest * (count - 1)] * (count > 0)
    for index in range(len(sizes) - 1, 0, -1):  # fill a small part from the one before it
        missing = max(smallest - sizes[index], 0)
        sizes[index] += missing
        sizes[index - 1] -= missing
    ends = np.cumsum(sizes, dtype=int).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
