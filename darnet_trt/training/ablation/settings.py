"""What an ablation trains, and the file that lets only the same one go on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darnet_trt.errors import UsageError
from darnet_trt.machine.files import whole_file
from darnet_trt.scan.cohorts import Cohort
from darnet_trt.scan.cohorts.folds import Folds
from darnet_trt.scan.preprocessing import NEW, Extent, Preprocessing, Resolution
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.ablation.scored import Training
from darnet_trt.training.fitting.arithmetic import refuse_precision
from darnet_trt.training.fitting.configuration import refuse_another
from darnet_trt.training.fitting.folder import FOLDS, PLAN, RUNS
from darnet_trt.training.presets import Preset
from darnet_trt.training.recipe import Recipe, refuse_scans


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
    """

    cohort: Cohort
    folds: Folds
    preset: Preset
    recipe: Recipe
    seeds: int = 1
    extent: Extent = NEW.extent
    resolution: Resolution = NEW.resolution

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

    def refuse(self, device: str) -> None:
        """Refuse, before any scan is read, what cannot train on the device or on some fold.

        Args:
            device: "cpu" or "cuda".

        Raises:
            UsageError: The recipe does not suit the device, or a fold's scans.
        """
        refuse_precision(self.recipe.precision, device, self.preset.network())
        for fold in range(len(self.folds.folds)):
            sides = self.folds.sides(self.cohort, fold)
            count, held_out = len(sides.train), len(sides.held_out)
            refuse_scans(self.recipe, count, held_out, side=training_side(fold))

    def refuse_another(self, out: Path) -> None:
        """Refuse a folder with trainings of another ablation. More seeds may come, not fewer.

        Raises:
            UsageError: It names what differs.
        """
        if not any((out / RUNS).glob("*/*.pt")):  # nothing was trained
            return
        try:
            found = json.loads((out / PLAN).read_bytes())
            more = self.seeds >= found["seeds"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"its {PLAN} is missing or damaged: nothing else says what was trained here",
                where=out,
                do="choose another folder",
            ) from error
        but = frozenset({"seeds"} if more else ())
        options = f"its options (--folds {out / FOLDS})"
        refuse_another(self._plan(), found, out, what="an ablation", options=options, but=but)

    def write_plan(self, out: Path) -> None:
        """Write what only the same ablation goes on with.

        Raises:
            OutputError: It cannot be written.
        """
        with whole_file(out / PLAN) as file:
            file.write(json.dumps(self._plan(), indent=2).encode())

    def _plan(self) -> dict[str, Any]:
        scans = [(str(e.scan), e.patient, e.label) for e in self.cohort.entries]
        folds = [sorted(self.folds.test), *map(sorted, self.folds.folds)]
        return {
            "classes": list(self.cohort.classes),
            "scans": hashlib.sha256(repr(scans).encode()).hexdigest(),
            "folds": hashlib.sha256(repr(folds).encode()).hexdigest(),
            "seeds": self.seeds,
            "network": self.preset.network().model_dump(mode="json", include={"width"}),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json", exclude={"loading"}),  # changes no result
        }


def training_side(fold: int) -> str:
    """Return what errors call the scans that train where a fold is held out."""
    return f"training side of fold {fold}"
