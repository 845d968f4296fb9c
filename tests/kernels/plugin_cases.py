"""Lives of a plugin for plugin_host.cpp: the folders that it reads, and its answers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from darnet_trt.kernels.onnx_function import GATE_PARAMETERS, NAMES
from tests.kernels.attention_cases import DTYPES, Case, make_case

_NUMBERS = {"float32": 0, "float16": 1, "int8": 2, "bfloat16": 7}  # of nvinfer1::DataType
_TYPES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Life:
    """One life of a plugin.

    Attributes:
        name: Of its folder.
        shape: n, d, h, w, c.
        of: Arguments of `make_case`.
        lines: More lines of case.txt.
        replaced: Input → (type, shape) that it has instead of the right one.
        missing: Inputs, counted from the end, that are left out.
        channels_first: The format of x, residual and y as (n, c, d, h, w), "DHWC" or "DHWC8".
    """

    name: str
    shape: tuple[int, int, int, int, int] = (1, 3, 4, 5, 16)
    of: dict[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    replaced: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    missing: int = 0
    channels_first: str | None = None

    def but(self, name: str, *lines: str, **changes: object) -> Life:
        """Return a copy with another name, more lines and other attributes."""
        return replace(self, name=name, lines=self.lines + lines, **changes)  # type: ignore[arg-type]

    def write(self, folder: Path) -> Case:
        """Write the folder for the host."""
        folder.mkdir()
        case = make_case(self.shape, **self.of)  # type: ignore[arg-type]
        p = case.problem
        lines = [f"plugin {NAMES[self.of.get('attention', 'both')]}", *self.lines]
        for tensor, kind in (("x", p.x_type), ("residual", p.residual_type), ("y", p.y_type)):
            if kind == "int8":
                lines.append(f"field {tensor}_scale {getattr(p, f'{tensor}_scale')}")
        if self.channels_first:
            lines += [f"channels_first {self.channels_first}", "int_field channel_axis 1"]
        inputs = {"x": case.x, "residual": case.residual}
        for gate, parameters in (("channel", case.channel), ("depth", case.depth)):
            for parameter, array in zip(GATE_PARAMETERS, parameters or (), strict=False):
                inputs[f"{gate}_{parameter.replace('.', '_')}"] = array
        for name, (kind, shape) in self.replaced.items():
            inputs[name] = np.ones(shape, DTYPES[kind])
        given = [(name, array) for name, array in inputs.items() if array is not None]
        for name, array in given[: len(given) - self.missing]:
            number = _NUMBERS[_TYPES[array.dtype]]
            lines.append(f"input {name} {number} {self._dims(array.shape)}")
            array.tofile(folder / f"{name}.bin")
        lines.append(f"output {_NUMBERS[p.y_type]} {self._dims(self.shape)}")
        (folder / "case.txt").write_text("\n".join(lines) + "\n")
        return case

    def _dims(self, shape: tuple[int, ...]) -> str:
        """Return the dimensions that TensorRT gives; the memory is that of `shape`."""
        if self.channels_first and len(shape) == 5:
            n, d, h, w, c = shape
            shape = (n, c, d, h, w)
        return " ".join(map(str, shape))


class Lives:
    """Cases and the host's answers, by name; one process for all of them."""

    def __init__(self, host: Path, library: Path, folder: Path, lives: Sequence[Life]) -> None:
        self._folder = folder
        self._cases = {life.name: life.write(folder / life.name) for life in lives}
        done = subprocess.run(
            [host, library, *(folder / name for name in self._cases)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        said = (line.split(" ", 1) for line in done.stdout.splitlines())
        self.answers = {Path(path).name: answer for path, answer in said}
        self.stderr = done.stderr

    def check(self, name: str) -> None:
        """Check that the life ended with the reference's numbers."""
        assert self.answers[name].startswith("ok "), self.answers[name]
        case = self._cases[name]
        y = np.fromfile(self._folder / name / "y.bin", DTYPES[case.problem.y_type])
        case.check(y.reshape(case.x.shape))
