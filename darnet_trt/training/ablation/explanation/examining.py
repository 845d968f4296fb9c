"""Show scans to trained networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import ScanError, UsageError
from darnet_trt.evaluation.seen import identity, patient_id_of
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import Cohort, Entry, study_of
from darnet_trt.training.ablation.explanation.gates import Seen, look
from darnet_trt.training.ablation.explanation.maps import Row
from darnet_trt.training.ablation.explanation.networks import Explained, trained_by_patient
from darnet_trt.training.ablation.explanation.regions import on_input

RegionsOf = Callable[[Entry], npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, and what each network made of it."""

    entry: Entry
    row: Row
    seen: dict[str, Seen]


@dataclass(frozen=True, eq=False)
class Examined:
    """The scans that the networks were shown.

    Attributes:
        cases: What became of them.
        failures: Why others could not be used.
        known: Scans that turned out to have trained a network, with the reason.
    """

    cases: tuple[Case, ...]
    failures: tuple[ScanError | UsageError, ...]
    known: tuple[str, ...]


class _Known(Exception):  # noqa: N818 (no error: the scan is left out)
    """The scan trained one of the networks."""


def examine(
    networks: Sequence[Explained],
    cohort: Cohort,
    entries: Sequence[Entry],
    wanted: int,
    *,
    regions_of: RegionsOf | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Examined:
    """Show scans to the networks until `wanted` of them could be used.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        entries: From `entries_of`, in the order to try them.
        wanted: How many to use.
        regions_of: Gives a phantom's lungs (1) and lesions (2), uint8 on the scan's own grid.
        done: Called after each scan with how many of the `wanted` are done since the last call: 0
            where the next scan takes the place of this one.
    """
    looks = {
        n.name: partial(look, n.checkpoint.model(), n.checkpoint.temperature) for n in networks
    }
    cases: list[Case] = []
    failures: list[ScanError | UsageError] = []
    known: list[str] = []
    left = wanted
    for tried, entry in enumerate(entries, 1):
        if len(cases) == wanted:
            break
        try:
            cases.append(_case(entry, networks, looks, cohort, regions_of))
        except _Known as reason:
            known.append(f"{cohort.name(entry)}: {reason}")
        except (ScanError, UsageError) as error:
            failures.append(error)
        before, left = left, min(wanted - len(cases), len(entries) - tried)
        done(before - left)
    return Examined(tuple(cases), tuple(failures), tuple(known))


def _case(
    entry: Entry,
    networks: Sequence[Explained],
    looks: Mapping[str, Callable[[npt.NDArray[np.float32]], Seen]],
    cohort: Cohort,
    regions_of: RegionsOf | None,
) -> Case:
    """Read a scan and show it to the networks.

    Raises:
        ScanError: It cannot be used.
        UsageError: There is no such path, or its lesions are not known.
        _Known: It trained one of the networks.
    """
    if trained_by_patient(networks, cohort, entry):
        raise _Known("its patient trained a network")
    spec = networks[0].checkpoint.preprocessing
    study = study_of(entry)
    choice, loaded = load_study(study, spec, identify=True)
    who = identity(cohort, entry.patient, patient_id_of(study, choice), loaded.hashes)
    if any(network.was_trained_by(who) for network in networks):
        raise _Known("it, or another scan of its patient, trained a network under another name")
    regions = None if regions_of is None else on_input(regions_of(entry), spec, loaded)
    seen = {name: look(loaded.array) for name, look in looks.items()}
    label = cohort.classes.index(entry.label)
    row = Row(
        cohort.name(entry),
        entry.label,
        loaded.array[0],
        tuple(of_network.cam[label] for of_network in seen.values()),
        tuple(float(of_network.probabilities[label]) for of_network in seen.values()),
        regions,
    )
    return Case(entry, row, seen)
