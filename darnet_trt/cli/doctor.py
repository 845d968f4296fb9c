"""`darnet-trt doctor`: what this machine can do, and what to install for the rest."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

__all__ = ["doctor"]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show what is installed, what each backend can do here, and what to install for the rest."""
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
        }
        typer.echo(json.dumps(report, indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)
    console.print(f"darnet-trt {__version__}, Python {python}")
    console.print(
        f"CPU  {processor.name}, {processor.cores} cores, {processor.memory_gib} GiB, "
        f"{' '.join(processor.features) or 'no vector extension that matters here'}",
    )
    for card in cards:
        memory = "memory not reported" if card.memory_mib is None else f"{card.memory_mib} MiB"
        console.print(
            f"GPU  {card.name}, {memory}, compute capability "
            f"{card.compute_capability}, driver {card.driver}",
            highlight=False,
        )
    if not cards:
        console.print("GPU  none (nvidia-smi found no NVIDIA GPU)")
    table = Table("backend or part", "version", "builds for", "runs here", box=None, pad_edge=False)
    for b in backends:
        table.add_row(b.backend, b.version or "absent", b.builds or "-", b.runs or "-")
    console.print(table)
    for b in backends:
        if b.remedy:
            console.print(f"{b.backend}: {b.remedy}", soft_wrap=True)
