"""Cases for plugin_host.cpp: folders it reads, and what the reference says of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np

from darnet_trt.kernels.onnx_function import NAMES
from darnet_trt.kernels.reference import Gate, fused_attention

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int8": np.dtype(np.int8),
    "int32": np.dtype(np.int32),
}
NUMBERS = {"float32": 0, "float16": 1, "int8": 2, "int32": 3, "bfloat16": 7}
"""Of nvinfer1::DataType."""
_PARAMETERS = ("squeeze_weight", "squeeze_bias", "excite_weight", "excite_bias")


@dataclass(frozen=True)
class Case:
    """One life of a plugin.

    Attributes:
        name: Of its folder.
        shape: n, d, h, w, c.
        attention: "channel", "depth" or "both".
        weights: Type of the gate parameters.
        x: Type; None: that of the parameters. The same for residual and y.
        has_residual: False: x · gates alone.
        y_scale: Of an int8 y.
        lines: More lines of case.txt.
        replaced: Input → (type, shape) that it has instead of the right one.
        missing: Inputs, counted from the end, that are left out.
    """

    name: str
    shape: tuple[int, int, int, int, int] = (1, 3, 4, 5, 16)
    attention: str = "both"
    weights: str = "float32"
    x: str | None = None
    residual: str | None = None
    y: str | None = None
    has_residual: bool = True
    y_scale: float = 0.02
    lines: tuple[str, ...] = ()
    replaced: tuple[tuple[str, str, tuple[int, ...]], ...] = ()
    missing: int = 0

    def but(self, name: str, *lines: str, **changes: object) -> Case:
        """The same with another name, more lines and other attributes."""
        return replace(self, name=name, lines=self.lines + lines, **changes)  # type: ignore[arg-type]


_SCALES = {"x": 0.03, "residual": 0.025}


def write(case: Case, folder: Path) -> np.ndarray:
    """Write the case's folder; returns what y must be in float64 (n, d, h, w, c), not rounded."""
    folder.mkdir()
    rng = np.random.default_rng(abs(hash(case.shape)) % 2**32)
    types = {
        "x": case.x or case.weights,
        "residual": case.residual or case.weights,
        "y": case.y or case.weights,
    }
    scales = {**_SCALES, "y": case.y_scale}
    lines = [f"plugin {NAMES[case.attention]}", *case.lines]
    used = ["x", "residual", "y"] if case.has_residual else ["x", "y"]
    lines += [f"field {t}_scale {np.float32(scales[t])}" for t in used if types[t] == "int8"]

    stored: dict[str, np.ndarray] = {}
    values: dict[str, np.ndarray] = {}
    for tensor in used[:-1]:
        plain = rng.normal(0.3, 1, case.shape)
        if types[tensor] == "int8":
            scale = float(np.float32(scales[tensor]))
            stored[tensor] = np.clip(np.rint(plain / scale), -128, 127).astype(np.int8)
            values[tensor] = stored[tensor].astype(float) * scale
        else:
            stored[tensor] = plain.astype(DTYPES[types[tensor]])
            values[tensor] = stored[tensor].astype(float)
    gates: dict[str, Gate | None] = {"channel": None, "depth": None}
    _, d, _, _, c = case.shape
    for kind, features, hidden in (("channel", c, max(c // 16, 1)), ("depth", c * d, d)):
        if case.attention not in (kind, "both"):
            continue
        shapes = ((hidden, features), (hidden,), (features, hidden), (features,))
        parameters = []
        for parameter, shape in zip(_PARAMETERS, shapes, strict=True):
            array = (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(DTYPES[case.weights])
            stored[f"{kind}_{parameter}"] = array
            parameters.append(array.astype(float))
        gates[kind] = Gate(*parameters)

    for name, dtype, shape in case.replaced:
        stored[name] = np.ones(shape, DTYPES[dtype])
    names = {dtype: name for name, dtype in DTYPES.items()}
    for name, array in list(stored.items())[: len(stored) - case.missing]:
        lines.append(
            f"input {name} {NUMBERS[names[array.dtype]]} {' '.join(map(str, array.shape))}"
        )
        array.tofile(folder / f"{name}.bin")
    lines.append(f"output {NUMBERS[types['y']]} {' '.join(map(str, case.shape))}")
    (folder / "case.txt").write_text("\n".join(lines) + "\n")
    if 0 in case.shape:
        return values["x"]  # an empty y
    return expected(values["x"], values.get("residual"), gates["channel"], gates["depth"])


def expected(
    x: np.ndarray, residual: np.ndarray | None, channel: Gate | None, depth: Gate | None
) -> np.ndarray:
    """The reference, channels-last and also without a residual and its ReLU."""
    first = (0, 4, 1, 2, 3)
    large = np.float64(2.0**16)  # keeps the ReLU away; float64 has the digits for both
    shortcut = np.broadcast_to(large, x.shape) if residual is None else residual
    y = fused_attention(x.transpose(first), shortcut.transpose(first), channel, depth)
    return (y - large if residual is None else y).transpose(0, 2, 3, 4, 1)


def compare(case: Case, folder: Path, reference: np.ndarray) -> None:
    """Assert that y.bin is the reference, rounded once to y's type."""
    y_type = case.y or case.weights
    y = np.fromfile(folder / "y.bin", DTYPES[y_type]).astype(float).reshape(reference.shape)
    if y_type == "int8":
        exact = np.clip(reference / float(np.float32(case.y_scale)), -128, 127)
        assert np.abs(y - exact).max() <= 0.5 + 1e-3
        return
    unit = {"float32": 2.0**-22, "float16": 2.0**-11, "bfloat16": 2.0**-8}[y_type]
    np.testing.assert_allclose(y, reference, rtol=unit * 1.01, atol=4e-6)


def run(host: Path, library: Path, folders: Sequence[Path]) -> dict[str, str]:
    """Case name → what the host said of it."""
    done = subprocess.run(
        [host, library, *folders], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = (line.split(" ", 1) for line in done.stdout.splitlines())
    return {Path(folder).name: answer for folder, answer in said}
