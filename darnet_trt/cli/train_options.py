"""The options of `darnet-trt train` that make its recipe.

A default here is the recipe's own (tests/cli/test_train_options.py): the recipe's file would make
`--help` slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from darnet_trt.cli.wrong_value import wrong_value
from darnet_trt.errors import UsageError
from darnet_trt.machine.cpus import MOST_THREADS

_cohort = partial(typer.Option, rich_help_panel="Cohort")
_network = partial(typer.Option, rich_help_panel="Network")
_recipe = partial(typer.Option, rich_help_panel="Recipe (the defaults are the paper's)")
_movement = partial(typer.Option, rich_help_panel="Augmentation of the training scans")
_speed = partial(typer.Option, rich_help_panel="Speed and memory")

Classes = Annotated[
    str | None,
    _cohort(
        metavar="A,B,…",
        help="The cohort's classes in the order of the network's outputs; the first is the "
        "positive one. [default: the cohort's own, or the paper's three]",
    ),
]
HeldOut = Annotated[
    float,
    _cohort(
        metavar="SHARE",
        help="Share of each class's patients to hold out: the network is measured on them, not "
        "trained. 0: none. Not used where the table names the sides, or with --fold.",
    ),
]
FoldsFile = Annotated[
    Path | None,
    _cohort("--folds", metavar="FILE", help="Folds, as cohort folds writes them; needs --fold."),
]
Fold = Annotated[
    int | None,
    _cohort(min=0, help="The fold to hold out, from 0: of --folds, or of the cohort's table."),
]
AllowShortcut = Annotated[
    bool,
    _cohort(
        "--allow-shortcut",
        help="Train although something other than the lungs gives the class away. The checkpoint "
        "and all that is made from it say so.",
    ),
]

Preset = Annotated[
    Literal["small", "paper"],
    _network(
        help="Size of the network. small: trains in minutes on a CPU; paper: the paper's, "
        "35 million parameters, 64×224×224 voxels."
    ),
]
Attention = Annotated[
    Literal["none", "channel", "depth", "both"],
    _network(help="Attention modules of the network; both: as in the paper."),
]
Extent = Annotated[
    Literal["lungs", "scan"],
    _network(
        help="What the network sees along the body. lungs: the lungs and a margin, wherever "
        "they lie in a scan; scan: the whole scan, for cohorts that are cut to the chest."
    ),
]
Resolution = Annotated[
    Literal["full", "half"],
    _network(
        help="Resolution of the slices that the input is made from. half: slices with twice "
        "the input's pixels a side and more are halved first, as JPEG 2000 does; it decodes "
        "them three times as fast. The bundle keeps to it, for every format."
    ),
]
From = Annotated[
    Path | None,
    _network(
        "--from",
        metavar="RUN",
        help="Start from the weights of another run, or of its checkpoint file (fine-tuning). Hold "
        "the same patients out as it did: of others, a line says so.",
    ),
]
NewHead = Annotated[
    bool,
    _network("--new-head", help="With --from: a new classifier, for other classes."),
]

Epochs = Annotated[
    int | None,
    _recipe(
        min=1,
        help="Passes over the training scans. More than a finished run has: go on with it. The "
        "learning rate then starts anew. [default: the preset's]",
    ),
]
Batch = Annotated[int, _recipe(min=1, help="Scans a step, in all parts and processes together.")]
LearningRate = Annotated[
    float, _recipe(help="Of Adam, at the start; it falls to 0 along a cosine.")
]
Seed = Annotated[
    int,
    _recipe(
        min=0,
        help="Random seed of the split, initial weights, order of the scans and augmentation.",
    ),
]
FrozenNormalization = Annotated[
    bool,
    _recipe(
        "--frozen-normalization",
        help="Keep batch normalization's statistics as they are: for fine-tuning on few scans.",
    ),
]
Patience = Annotated[
    int | None,
    _recipe(
        min=1,
        help="Stop after so many epochs without a lower loss on the held-out scans. Their figures "
        "then look better than they are. [default: never]",
    ),
]
Best = Annotated[
    bool,
    _recipe(
        "--best",
        help="Take the weights of the epoch with the lowest loss on the held-out scans, not the "
        "last one's. Their figures then look better than they are.",
    ),
]

Augment = Annotated[bool, _movement(help="Move training scans at random.")]
Flip = Annotated[float, _movement(min=0, max=1, help="Probability of exchanging left and right.")]
Rotation = Annotated[
    float, _movement(min=0, max=180, help="Largest angle in the axial plane, in degrees.")
]
Translation = Annotated[
    float, _movement(min=0, max=1, help="Largest shift along each axis, as a share of it.")
]
Scaling = Annotated[
    float, _movement(min=0, max=0.9, help="Largest change of each axis's size, as a share.")
]

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    _speed(
        help="auto: cuda if torch finds a CUDA device, else cpu. Several GPUs: torchrun "
        "--nproc-per-node N -m darnet_trt train …"
    ),
]
Threads = Annotated[
    int | None, _speed(min=1, max=MOST_THREADS, help="CPU threads. [default: torch's choice]")
]
Precision = Annotated[
    Literal["fp32", "bf16", "fp16"],
    _speed(
        help="bf16, fp16: automatic mixed precision; faster, and less memory. fp16 needs a GPU, "
        "bf16 a CPU or GPU that has it. The weights stay fp32."
    ),
]
Accumulate = Annotated[
    int,
    _speed(
        min=1,
        help="Take each batch in so many parts, one after the other: less memory. Batch "
        "normalization then sees one part at a time.",
    ),
]
Checkpointing = Annotated[
    bool,
    _speed(
        "--checkpointing",
        help="Compute activations a second time instead of keeping them: less memory, about a "
        "third more time.",
    ),
]
Loading = Annotated[
    int, _speed(min=0, help="Batches that a thread loads ahead. 0: none, without a thread.")
]


@contextmanager
def named() -> Iterator[None]:
    """Name the option whose value the recipe that is made inside does not take.

    Raises:
        UsageError: There is one.
    """
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).removesuffix("_deg").replace("_", "-")
        raise UsageError(wrong_value(error), where=f"--{name}") from error
