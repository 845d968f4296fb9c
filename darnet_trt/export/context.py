"""The inputs that all steps of one build share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from darnet_trt.calibration.scans.choosing import CalibrationScans, HeldOut
from darnet_trt.calibration.search.search import Search
from darnet_trt.export.gates.parity_scans import ParityScans
from darnet_trt.export.onnx.writing import Source
from darnet_trt.export.tensorrt.options import PlanOptions
from darnet_trt.export.tensorrt.plugin_choice import PluginMode


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scans and the search that make and judge int8 engines.

    Attributes:
        scans: Their activations give the ranges.
        held_out: Other scans, on which the decisions are judged.
        search: How ranges and layers are chosen; the build sets its backend and threads.
        accept: Who takes an int8 engine that fails a gate, and why; None: nobody does.
        asked_for: Int8 was named, and not only built because there are scans; see
            `choose_default`.
    """

    scans: CalibrationScans
    held_out: HeldOut
    search: Search = field(default_factory=Search)
    accept: str | None = None
    asked_for: bool = False


@dataclass(frozen=True, eq=False)
class BuildContext:
    """The network, the bundle's folder and the options.

    Attributes:
        source: The checkpoint with its network and graphs.
        folder: The bundle's, while it is being filled; `MODEL_FILE` is there.
        scans: Inputs for the parity gate.
        plan_options: For TensorRT plans.
        plugin: Whether plans run the attention as a plugin; see `choose_plugin`.
        calibration: None where no int8 engine is wanted.
        threads: CPU threads of the reference and the engines; None leaves the number to each.
        log: Takes a line on each step.
    """

    source: Source
    folder: Path
    scans: ParityScans
    plan_options: PlanOptions
    plugin: PluginMode
    calibration: Calibration | None
    threads: int | None
    log: Callable[[str], None]

    @property
    def accept(self) -> str | None:
        """Return who accepts int8 engines that fail a gate, and why."""
        return None if self.calibration is None else self.calibration.accept
