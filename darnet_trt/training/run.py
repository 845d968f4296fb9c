"""Train on a cohort and write the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from darnet_trt.errors import UsageError, counted
from darnet_trt.evaluation.seen import Identity, TrainingScans, identity
from darnet_trt.machine.files import sole_writer
from darnet_trt.scan.cohorts import Cohort, Sides, refuse_untrained, split_by_patient
from darnet_trt.scan.preprocessing import NEW, Extent, Preprocessing, Resolution
from darnet_trt.training.assessment import assess
from darnet_trt.training.checkpoint import Checkpoint, save_checkpoint
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting.arithmetic import refuse_precision
from darnet_trt.training.fitting.configuration import configured, of_scans
from darnet_trt.training.fitting.history import Epoch, Step
from darnet_trt.training.fitting.processes import Processes
from darnet_trt.training.fitting.records import (
    METRICS,
    SCORES,
    SPLIT,
    write_metrics,
    write_scores,
    write_split,
)
from darnet_trt.training.fitting.start import digest, finished, starting_weights
from darnet_trt.training.fitting.state import remove_state
from darnet_trt.training.inputs import Example, Failure, prepare
from darnet_trt.training.model import Attention
from darnet_trt.training.presets import Preset
from darnet_trt.training.recipe import Recipe, refuse_scans

INPUTS = "inputs"  # a cache of preprocessed scans
_TOO_GOOD = "their figures look too good"

Reading = Callable[[int, int], AbstractContextManager[Callable[[int], None]]]


def train(
    cohort: Cohort,
    run: Path,
    preset: Preset,
    recipe: Recipe,
    *,
    attention: Attention = "both",
    extent: Extent = NEW.extent,
    resolution: Resolution = NEW.resolution,
    held_out: float = 0.2,
    sides: Sides | None = None,
    inputs: Path | None = None,
    start: Checkpoint | None = None,
    new_head: bool = False,
    shortcuts: Callable[[], tuple[str, ...]] = lambda: (),
    device: str = "cpu",
    group: Processes | None = None,
    reading: Reading = lambda train, held_out: nullcontext(lambda count: None),
    failed: Callable[[Failure], None] = lambda failure: None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    saved: Callable[[Step], None] = lambda step: None,
    known: Callable[[str], None] = lambda line: None,
    tell: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Train on a cohort and write checkpoint.pt, history.csv, split.csv and metrics.json.

    Called again with the same arguments, it goes on with an interrupted run; with more epochs and
    else the same, with a finished one. The scores of the held-out scans are in held-out.csv.

    Args:
        cohort: From `read_cohort`.
        run: A folder; a finished run in it has fewer epochs.
        preset: Size of the network.
        recipe: How to train.
        attention: The variant.
        extent: What the network's input covers of a scan.
        resolution: Of the slices that the input is made from.
        held_out: Share of the patients to hold out, where `sides` is None.
        sides: Which scans train, and which measure.
        inputs: A folder for the preprocessed scans that several runs share; None: one of this run.
        start: Train these weights further.
        new_head: Take all weights of `start` but those of the classifier.
        shortcuts: Called before the scans are read, once the folder and the options are known to
            do; returns the codes of what gives the class away without the lungs, and was allowed.
        device: "cpu" or "cuda".
        group: The processes that train together, with their devices; None: this one alone.
        reading: Called with the numbers of training and held-out scans; returns a context that
            is open while they are preprocessed and gives a function to call with the number done
            since the last call.
        failed: Called with each scan that cannot be used.
        report: Called after each epoch.
        saved: Called when the state is saved inside an epoch, about every minute.
        known: Called with a line on held-out scans that the network has been trained on.
        tell: Called with what else a person should know, a line each.

    Raises:
        UsageError: The cohort or the options cannot work, `run` holds another or a finished run,
            or another process is writing into it.
        TrainingError: The numbers ran away, an input is gone, or another process has ended.
        OutputError: `run` cannot be written.
    """
    if sides is None:
        sides = split_by_patient(cohort, held_out, recipe.seed)
        if held_out and not sides.held_out:
            tell("the cohort names the sides and holds no patient out, so nothing is measured")
    refuse_untrained(cohort, sides)
    group = group or Processes(device)
    network = preset.network(attention, cohort.classes)
    preprocessing = NEW.model_copy(
        update={"size": preset.input_size, "extent": extent, "resolution": resolution}
    )
    weights = None if start is None else starting_weights(start, network, preprocessing, new_head)
    configuration = {
        **configured(network, recipe),
        **preprocessing.model_dump(mode="json"),
        "starting weights": None if weights is None else digest(weights),
    }
    refuse_precision(recipe.precision, group.device, network)
    refuse_scans(recipe, len(sides.train), len(sides.held_out), group.size)
    with sole_writer(run) if group.leads else nullcontext():
        more = finished(run, configuration, recipe)
        folder = inputs or run / INPUTS
        allowed, (seen, unseen, failures) = group.from_leader(
            lambda: (
                shortcuts(),
                _prepared(cohort, sides, preprocessing, folder, reading, failed),
            )
        )
        refuse_usable(cohort, recipe, seen, unseen, group.size)
        if group.leads:
            if recipe.patience or recipe.best:
                tell("the held-out scans choose the epoch: their figures look better than they are")
            for line in _known(cohort, seen, unseen, start):
                known(line)
            write_split(run / SPLIT, cohort, seen, unseen, failures, sides.test)
        configuration |= of_scans(seen, unseen)
        past: list[Epoch] = []
        if more is not None:
            weights, past = more.go_on(configuration)
        model = fit(
            network, seen, unseen, recipe, run,
            start=weights, past=past, configuration=configuration, group=group,
            report=report, saved=saved, tell=tell,
        )  # fmt: skip
        found = group.from_leader(
            lambda: assess(model.to(group.device), seen, unseen, group.device)
        )
        model.cpu()
        checkpoint = Checkpoint(
            network=network,
            preprocessing=preprocessing,
            validation=found.validation,
            state_dict=model.state_dict(),
            temperature=found.temperature,
            familiarity=found.familiarity,
            **_origin(cohort, seen, allowed, start),
        )
        if group.leads:
            write_scores(run / SCORES, cohort, unseen, found)
            write_metrics(run / METRICS, checkpoint, recipe, configuration, failures)
            save_checkpoint(checkpoint, run)
            remove_state(run)
    return checkpoint


def _prepared(
    cohort: Cohort,
    sides: Sides,
    preprocessing: Preprocessing,
    folder: Path,
    reading: Reading,
    failed: Callable[[Failure], None],
) -> tuple[tuple[Example, ...], tuple[Example, ...], tuple[Failure, ...]]:
    """Return the training and the held-out scans, and those that cannot be used."""
    with reading(len(sides.train), len(sides.held_out)) as done:
        (seen, unusable), (unseen, unusable_too) = (
            prepare(side, preprocessing, folder, classes=cohort.classes, done=done)
            for side in (sides.train, sides.held_out)
        )
    failures = unusable + unusable_too
    for failure in failures:
        failed(failure)
    return seen, unseen, failures


def _known(
    cohort: Cohort,
    seen: tuple[Example, ...],
    unseen: tuple[Example, ...],
    start: Checkpoint | None,
) -> Iterator[str]:
    """Say how many of the held-out scans the network knows, for all that the table says."""
    held_out = [identity_of(cohort, example) for example in unseen]
    yield from among_training([identity_of(cohort, example) for example in seen], held_out)
    if start is not None:
        earlier = start.training_scans
        if earlier is None:
            yield "nobody knows whether the held-out scans trained the weights of --from"
        elif known := sum(map(earlier.had, held_out)):
            how = "of patients who trained the weights of --from"
            yield f"{_known_of(known, len(unseen), 'held-out')} {how}: {_TOO_GOOD}"


def among_training(
    seen: Sequence[Identity], unseen: Sequence[Identity], side: str = "held-out"
) -> Iterator[str]:
    """Say how many scans of another side are training scans, for all that the table says."""
    if known := sum(map(TrainingScans.of(seen).had, unseen)):
        how = "among the training scans under another name, by PatientID or slices"
        yield f"{_known_of(known, len(unseen), side)} {how}: {_TOO_GOOD}"


def _known_of(known: int, scans: int, side: str) -> str:
    return f"{known} of {counted(scans, f'{side} scan')} {'is' if known == 1 else 'are'}"


def identity_of(cohort: Cohort, example: Example) -> Identity:
    """Tell a scan that was read from others."""
    return identity(cohort, example.entry.patient, example.patient_id, example.hashes)


def _origin(
    cohort: Cohort,
    seen: tuple[Example, ...],
    shortcuts: tuple[str, ...],
    start: Checkpoint | None,
) -> dict[str, Any]:
    """Return what a checkpoint says of its training scans, and of those that trained it before."""
    trained_on = cohort.describe(tuple(e.entry for e in seen))
    phantoms = cohort.seed is not None
    pixels_mm = [mm for e in seen if (mm := e.pixel_mm)]
    scans = [identity_of(cohort, e) for e in seen]
    known: TrainingScans | None = TrainingScans.of(scans)
    if start is not None:
        trained_on = f"{trained_on}; before that on {start.trained_on}"
        phantoms = phantoms and start.phantoms_only
        pixels_mm += [mm for mm in (start.coarsest_pixel_mm,) if mm]
        shortcuts = tuple(sorted({*shortcuts, *start.shortcuts}))
        known = start.training_scans and TrainingScans.of(scans, start.training_scans)
    return {
        "trained_on": trained_on,
        "phantoms_only": phantoms,
        "coarsest_pixel_mm": max(pixels_mm, default=None),
        "shortcuts": shortcuts,
        "training_scans": known,
    }


def refuse_usable(
    cohort: Cohort,
    recipe: Recipe,
    seen: Sequence[Example],
    unseen: Sequence[Example],
    processes: int = 1,
    *,
    side: str = "training side",
) -> None:
    """Refuse what cannot train on the scans that can be used.

    Args:
        cohort: All scans.
        recipe: How to train.
        seen: What trains.
        unseen: What is held out.
        processes: That train together.
        side: What the error calls the scans to train on.

    Raises:
        UsageError: A class has no usable scan left, or the recipe does not suit their number.
    """
    usable = {example.entry.label for example in seen}
    for label in cohort.classes:
        if label not in usable:
            raise UsageError(
                f"the {side} has no usable scan with the label {label}",
                where=cohort.table,
                do="add some (darnet-trt inspect says why scans are refused)",
            )
    refuse_scans(recipe, len(seen), len(unseen), processes, side=side)
