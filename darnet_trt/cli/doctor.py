"""`darnet-trt doctor`: what this machine can do, and what to install for the rest."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from darnet_trt.cli.printing import print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from darnet_trt.machine.hardware import Cpu, Gpu
    from darnet_trt.runtime.engines.capabilities import Capability

_NAMES: Final = {
    "openvino": "OpenVINO",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}
_WITHOUT_GPU: Final = ("openvino", "onnxruntime", "torch")


def doctor(
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Show the parts for NVIDIA GPUs in full even without such a GPU."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show what this machine can do, and what to install for the rest.

    The last line says whether this machine can predict. Exit code 0 either way.
    """
    from dataclasses import asdict

    from darnet_trt import __version__
    from darnet_trt.machine.hardware import cpu, gpus
    from darnet_trt.runtime.engines.capabilities import capabilities

    processor, cards, backends = cpu(), gpus(), capabilities()
    python = sys.version.partition(" ")[0]
    if as_json:
        report = {
            "darnet_trt": __version__,
            "python": python,
            "cpu": asdict(processor),
            "gpus": [asdict(card) for card in cards],
            "backends": [asdict(backend) for backend in backends],
            "ready": readiness(backends),
        }
        typer.echo(json.dumps(report, indent=2))
        return

    print_line(f"darnet-trt {__version__}, Python {python}")
    _show_machine(processor, cards)
    folded = () if cards or everything else [b for b in backends if b.backend not in _WITHOUT_GPU]
    shown = [b for b in backends if b not in folded]
    rows = ([b.backend, b.version or "absent", b.builds or "-", b.runs or "-"] for b in shown)
    print_table(("backend or part", "version", "builds for", "runs here"), rows)
    for b in shown:
        if b.remedy:
            print_line(f"{b.backend}: {b.remedy}")
    if folded:
        installed = ", ".join(f"{b.backend} {b.version}" for b in folded if b.version)
        absent = ", ".join(b.backend for b in folded if not b.version)
        parts = [f"has {installed}"] * bool(installed) + [f"lacks {absent}"] * bool(absent)
        print_line(f"NVIDIA GPUs only (details: --all): {'; '.join(parts)}")
    print_line(readiness(backends))


def readiness(backends: Sequence[Capability]) -> str:
    """Return what this machine can predict with; where nothing, what to install."""
    from darnet_trt.runtime.engines.onnxruntime.package import cpu_extra

    places = (
        ("CPU", [b for b in backends if b.backend in _NAMES and "CPU" in b.runs]),
        ("GPU", [b for b in backends if b.backend in _NAMES and _runs_on_gpu(b)]),
    )
    ready = [
        f"on the {place} with {', '.join(f'{_NAMES[b.backend]} {b.version}' for b in able)}"
        for place, able in places
        if able
    ]
    if ready:
        return f"ready to predict {' and '.join(ready)}"
    installed = any(b.version for b in backends if b.backend in ("openvino", "onnxruntime"))
    remedy = "see above why" if installed else f"pip install 'darnet-trt[{cpu_extra()}]'"
    return f"not ready to predict: no engine runs here; {remedy}"


def _runs_on_gpu(backend: Capability) -> bool:
    return "CUDA" in backend.runs or (backend.backend.startswith("tensorrt") and backend.runs != "")


def _show_machine(processor: Cpu, cards: Sequence[Gpu]) -> None:
    features = " ".join(processor.features) or "none of the vector extensions that engines use"
    print_line(
        f"CPU  {processor.name}, {processor.cores} cores, {processor.memory_gib} GiB, {features}"
    )
    for card in cards:
        memory = "memory not reported" if card.memory_mib is None else f"{card.memory_mib} MiB"
        print_line(
            f"GPU  {card.name}, {memory}, compute capability {card.compute_capability}, "
            f"driver {card.driver}"
        )
    if not cards:
        print_line("GPU  none (nvidia-smi found no NVIDIA GPU)")
