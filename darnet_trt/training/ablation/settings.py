"""What an ablation trains, and the file that lets only the same one go on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import whole_file
from darnet_trt.scan.cohorts import Cohort
from darnet_trt.scan.cohorts.folds import Folds
from darnet_trt.scan.preprocessing import NEW, Extent, Preprocessing, Resolution
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.ablation.scored import Training
from darnet_trt.training.presets import Preset
from darnet_trt.training.recipe import Recipe

PLAN: Final = "plan.json"


@dataclass(frozen=True)
class Settings:
    """What an ablation trains.

    Attributes:
        cohort: From `read_cohort`.
        folds: Which patients each training holds out, and which are kept for the test.
        preset: Size of the networks.
        recipe: How to train; its seed is the first.
        seeds: How many trainings of each network on each fold.
        extent: What the networks' input covers of a scan.
        resolution: Of the slices that the input is made from.
        shortcuts: Codes of what gives the class away without the lungs, and was allowed.
    """

    cohort: Cohort
    folds: Folds
    preset: Preset
    recipe: Recipe
    seeds: int = 1
    extent: Extent = NEW.extent
    resolution: Resolution = NEW.resolution
    shortcuts: tuple[str, ...] = ()

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what makes the networks' input."""
        size = {"size": self.preset.input_size}
        how = {"extent": self.extent, "resolution": self.resolution}
        return NEW.model_copy(update=size | how)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Return all trainings; those of the first seed come first."""
        return tuple(
            Training(attention, fold, self.recipe.seed + seed)
            for seed in range(self.seeds)
            for fold in range(len(self.folds.folds))
            for attention in VARIANTS
        )

    def open_folder(self, out: Path) -> None:
        """Write the plan of a new ablation; check that of one that goes on. More seeds may come.

        Raises:
            UsageError: `out` holds another ablation.
            OutputError: It cannot be written.
        """
        plan = json.dumps(self._plan(), indent=2)
        path = out / PLAN
        if not path.exists():
            with whole_file(path) as file:
                file.write(plan.encode())
        elif path.read_text("utf-8") != plan:
            raise UsageError(
                "holds an ablation with other scans, folds or options",
                where=out,
                do="give the same ones to go on with it, or choose another folder",
            )

    def _plan(self) -> dict[str, Any]:
        scans = [(str(e.scan), e.patient, e.label) for e in self.cohort.entries]
        folds = [sorted(self.folds.test), *map(sorted, self.folds.folds)]
        return {
            "classes": self.cohort.classes,
            "scans": hashlib.sha256(repr(scans).encode()).hexdigest(),
            "folds": hashlib.sha256(repr(folds).encode()).hexdigest(),
            "network": self.preset.network().model_dump(mode="json", include={"width"}),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json", exclude={"loading"}),  # changes no result
            "shortcuts": self.shortcuts,
        }
