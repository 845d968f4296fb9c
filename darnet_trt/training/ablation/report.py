"""Write what an ablation found: tables.md, tables.csv and ablation.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import counted
from darnet_trt.machine.files import whole_files
from darnet_trt.training.ablation.differences import CORRECTED, differences
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.ablation.scored import SIDES, Scored, Side
from darnet_trt.training.ablation.scores import Scans, scores
from darnet_trt.training.ablation.settings import Settings
from darnet_trt.training.ablation.tables import (
    Scores,
    Table,
    as_csv,
    as_markdown,
    differences_table,
    seeds_table,
    table_2,
    table_3,
)
from darnet_trt.training.inputs import Failure
from darnet_trt.training.model import Attention, unfilled

TABLES: Final = "tables.md"
NUMBERS: Final = "tables.csv"
FILE_NAME: Final = "ablation.json"
DRAWS: Final = 2000  # of the bootstrap


@dataclass(frozen=True)
class Report:
    """What an ablation found.

    Attributes:
        content: Of ablation.json.
        about: Sentences on the scans, for above the tables.
        tables: For people.
        failures: Scans that could not be used.
    """

    content: dict[str, Any]
    about: tuple[str, ...]
    tables: tuple[Table, ...]
    failures: tuple[Failure, ...]


def write_report(
    settings: Settings,
    scored: Sequence[Scored],
    failures: tuple[Failure, ...],
    out: Path,
    *,
    shortcuts: tuple[str, ...] = (),
    known: Sequence[str] = (),
    draws: int = DRAWS,
) -> Report:
    """Write the three files, all or none.

    Args:
        settings: What was trained.
        scored: What each network answered.
        failures: Scans that could not be used.
        out: The folder.
        shortcuts: Codes of what gives the class away without the lungs, and was allowed.
        known: Sentences on scans that a network was measured on and trained with.
        draws: Of the bootstrap.

    Raises:
        OutputError: They cannot be written.
    """
    cohort, recipe = settings.cohort, settings.recipe
    parameters: dict[Attention, int] = {v: parameters_of(settings, v) for v in VARIANTS}
    sides = {side: Scans(of) for side in SIDES if (of := _of(scored, side))}
    found: dict[Side, Scores] = {side: scores(scans.measures()) for side, scans in sides.items()}
    pairs = {side: differences(scans, draws) for side, scans in sides.items()}
    tables: list[Table] = []
    for side, scans in sides.items():
        tables += (
            table_2(found[side], len(scans.patients), side, cohort.classes[0]),
            table_3(found[side], parameters, side, cohort.classes[0]),
            *([seeds_table(found[side], settings.seeds)] if settings.seeds > 1 else []),
            differences_table(pairs[side]),
        )
    content = {
        "cohort": cohort.describe(cohort.entries),
        "classes": cohort.classes,
        "folds": len(settings.folds.folds),
        "seeds": settings.seeds,
        "network": settings.preset.network().model_dump(mode="json", include={"width"}),
        "preprocessing": settings.preprocessing.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "shortcuts": shortcuts,
        "known_scans": known,
        "unusable_scans": [{"scan": str(f.entry.scan), "reason": f.reason} for f in failures],
        "parameters": parameters,
        "corrected_level": CORRECTED,
        "sides": {
            side: {
                "scans": len(scans.patients),
                "patients": len(set(scans.patients)),
                "scores": {
                    v: {m: asdict(s) for m, s in of.items()} for v, of in found[side].items()
                },
                "differences": [asdict(d) for d in pairs[side]],
            }
            for side, scans in sides.items()
        },
    }
    about = (*_about(settings, shortcuts), *known)
    files = {
        TABLES: as_markdown(tables, about),
        NUMBERS: as_csv(found, parameters),
        FILE_NAME: json.dumps(_without_nan(content), indent=2) + "\n",
    }
    whole_files({out / name: text.encode() for name, text in files.items()})
    return Report(content, about, tuple(tables), failures)


def _of(scored: Sequence[Scored], side: Side) -> list[Scored]:
    return [one for one in scored if one.side == side]


def parameters_of(settings: Settings, attention: Attention) -> int:
    """Count the weights of a network."""
    model = unfilled(settings.preset.network(attention, settings.cohort.classes))
    return sum(weights.numel() for weights in model.parameters())


def _about(settings: Settings, shortcuts: tuple[str, ...]) -> tuple[str, ...]:
    cohort, recipe, size = settings.cohort, settings.recipe, settings.preset
    folds, seeds = len(settings.folds.folds), settings.seeds
    d, h, w = size.input_size
    lines = [
        f"The cohort: {cohort.describe(cohort.entries)}. Four networks, {folds} folds, "
        f"{counted(seeds, 'seed')}: {len(settings.trainings)} trainings of "
        f"{counted(recipe.epochs, 'epoch')}, "
        f"{size.width} channels in the first stage, input {d}×{h}×{w}. A mean is over folds and "
        "seeds, ± the standard deviation over the folds.",
        "The paper's numbers are those of its 472 test scans of CC-CCII, of networks of its size. "
        "They stand beside these for the shape of the tables: on another cohort or at another size "
        "the two cannot be compared.",
    ]
    if shortcuts:
        lines.append(
            f"The cohort gives the class away without the lungs ({', '.join(shortcuts)}): "
            "these numbers need not be about disease."
        )
    return tuple(lines)


def _without_nan(value: Any) -> Any:
    """Return the value with None for nan, which JSON does not have."""
    match value:
        case float():
            return None if math.isnan(value) else value
        case Mapping():
            return {key: _without_nan(one) for key, one in value.items()}
        case list() | tuple():
            return [_without_nan(one) for one in value]
    return value
