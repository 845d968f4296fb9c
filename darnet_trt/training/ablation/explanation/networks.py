"""The networks to explain, and the scans that none of them was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.seen import Identity, identity
from darnet_trt.scan.cohorts import Cohort, Entry
from darnet_trt.training.ablation.paper import VARIANTS
from darnet_trt.training.ablation.scored import Training
from darnet_trt.training.checkpoint import Checkpoint, load_checkpoint
from darnet_trt.training.fitting.folder import RUNS
from darnet_trt.training.model import Attention


@dataclass(frozen=True, eq=False)
class Explained:
    """A trained network.

    Attributes:
        attention: "none" to "both".
        run: Its folder.
        checkpoint: Its weights.
    """

    attention: Attention
    run: Path
    checkpoint: Checkpoint

    @property
    def name(self) -> str:
        """Return what the paper calls it, as the tables do."""
        return VARIANTS[self.attention]

    def was_trained_by(self, scan: Identity) -> bool:
        """Return whether a scan, or another one of its patient, trained it.

        Raises:
            UsageError: The run does not say.
        """
        trained = self.checkpoint.training_scans
        if trained is None:
            raise UsageError(
                "does not say which patients trained it", where=self.run, do="train again"
            )
        return trained.had(scan)


def networks_of(runs: Path, fold: int | None, seed: int | None) -> tuple[Explained, ...]:
    """Load the four networks of a fold and seed of an ablation, or the one of a run.

    Args:
        runs: The folder of `darnet-trt ablation` or of `darnet-trt train`.
        fold: Of an ablation; None: 0.
        seed: Likewise.

    Raises:
        UsageError: The ablation has no such fold or seed, or one is given for a run.
        CheckpointError: A network is absent or cannot be used.
    """
    if not (runs / RUNS).is_dir():
        checkpoint = load_checkpoint(runs)
        if (fold, seed) != (None, None):
            raise UsageError("is one run, without folds and seeds", where=runs, do="leave them out")
        return (Explained(checkpoint.network.attention, runs, checkpoint),)
    folders = {v: runs / RUNS / Training(v, fold or 0, seed or 0).name for v in VARIANTS}
    absent = [folder.name for folder in folders.values() if not folder.is_dir()]
    if absent:
        raise UsageError(
            f"holds no training {absent[0]}",
            where=runs,
            do="name one of its folds and seeds with --fold and --seed, or finish the ablation",
        )
    return tuple(Explained(v, run, load_checkpoint(run)) for v, run in folders.items())


def unseen(networks: Sequence[Explained], cohort: Cohort) -> tuple[Entry, ...]:
    """Return the scans of a cohort whose patients trained none of the networks, by name.

    Raises:
        UsageError: A run does not say which patients trained it.
    """
    return tuple(e for e in cohort.entries if not trained_by_patient(networks, cohort, e))


def trained_by_patient(networks: Sequence[Explained], cohort: Cohort, entry: Entry) -> bool:
    """Return whether the patient of a scan, as the table names it, trained one of the networks.

    Raises:
        UsageError: A run does not say which patients trained it.
    """
    return any(n.was_trained_by(identity(cohort, entry.patient, "", ())) for n in networks)


def trained_all(what: str, cohort: Cohort, otherwise: str = "") -> UsageError:
    """Return the error where a network was trained by every `what`."""
    return UsageError(
        f"every {what} trained a network",
        where=cohort.table,
        do=f"give another cohort, or a run that held patients out{otherwise}",
    )
