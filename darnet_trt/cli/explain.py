"""`darnet-trt explain`: what trained networks look at."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.device import use_torch
from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.progress import progress
from darnet_trt.machine.cpus import MOST_THREADS

if TYPE_CHECKING:
    from darnet_trt.training.ablation.explanation.drawing import Explanation
    from darnet_trt.training.ablation.explanation.examining import RegionsOf


def explain(
    runs: Annotated[
        Path,
        typer.Argument(help="A folder that ablation wrote, or a run that train wrote."),
    ],
    cohort: Annotated[
        Path,
        typer.Argument(
            help="The labelled cohort that they were trained on, or another. Only scans of "
            "patients who trained none of the networks are used."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write the pictures into.")],
    fold: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of an ablation: the fold whose four networks to explain. [default: 0]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of an ablation: their seed. [default: 0]", show_default=False),
    ] = None,
    scan: Annotated[
        list[str] | None,
        typer.Option(
            help="A scan for the figure, named as in the cohort's table. May be repeated. "
            "[default: three of the positive class]"
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="CPU threads. [default: torch's choice]"),
    ] = None,
) -> None:
    """Draw what trained networks look at, as in the paper's Figure 2.

    Writes maps.png, the class activation maps of the networks side by side, and gates-N.png for
    each scan in it, the depth gates of each stage along the slices. For a phantom cohort written
    with phantom --lesions it compares maps and gates with the lesions, in a table and in
    lesions.csv. A scan that trained a network, or cannot be used, is left out with its reason, and
    the next one takes its place. Exit code 1: done, but some scans could not be used; 2: nothing
    was drawn.
    """
    from darnet_trt.cli.labelled import labelled_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_all_but
    from darnet_trt.machine.files import sole_writer

    refuse_all_but("explanation", out)
    from darnet_trt.machine.hardware import require_packages

    use_torch(threads)
    require_packages("matplotlib", extra="plots")
    from darnet_trt.evaluation.fonts import missing_letters
    from darnet_trt.phantom import read_regions
    from darnet_trt.phantom.plan import LESIONS
    from darnet_trt.runtime.prediction.results.result import INTENDED_USE
    from darnet_trt.training.ablation.explanation.choosing import entries_of
    from darnet_trt.training.ablation.explanation.drawing import draw
    from darnet_trt.training.ablation.explanation.examining import examine
    from darnet_trt.training.ablation.explanation.networks import networks_of

    networks = networks_of(runs, fold, seed)
    read = labelled_cohort(cohort, networks[0].checkpoint.network.classes)
    print_notes(read)
    names = tuple(scan or ())
    regions_of: RegionsOf | None = None
    if read.seed is not None and (read.root / LESIONS).is_dir():
        regions_of = lambda entry: read_regions(read.root, entry.scan)  # noqa: E731
    entries, wanted = entries_of(networks, read, names, every=regions_of is not None)
    with sole_writer(out):  # before the scans are read: it may be impossible to write there
        with progress("explaining scans", wanted) as advance:
            examined = examine(networks, read, entries, wanted, regions_of=regions_of, done=advance)
        for known in examined.known:
            say(f"left out: {known}")
        for failure in examined.failures:
            warn(f"left out: {failure}")
        found = draw(networks, read, examined, out, scans=names)
    if note := missing_letters(found.texts):
        warn(note)
    for training in dict.fromkeys(one.checkpoint.training for one in networks):
        say(f"trained on {training}. {INTENDED_USE}")
    _show(found)
    print_line(f"{', '.join(found.pictures)} are in {out}")
    if examined.failures:
        raise typer.Exit(1)


def _show(found: Explanation) -> None:
    if not found.scores:
        return
    print_line(f"means over {found.scored} phantoms with lesions:")
    rows = (
        (
            *(name, _percent(s.energy_in_lungs), _percent(s.energy_in_lesions)),
            *(_percent(s.lesions_of_lungs), _percent(s.hottest_touches), _percent(s.by_chance)),
        )
        for name, s in found.scores.items()
    )
    print_table(
        (
            *("evidence", "in lungs", "in lesions", "(lesions' share of lungs)"),
            *("hottest cell touches a lesion", "(by chance)"),
        ),
        rows,
    )
    gated = [(name, *map(_correlation, s.gates)) for name, s in found.scores.items() if s.gates]
    if gated:
        stages = (f"stage {number}" for number in range(1, len(gated[0])))
        print_table(("gates with lesion area", *stages), gated)


def _correlation(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
