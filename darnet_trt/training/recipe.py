"""How a network is trained. The defaults are the paper's (section 4.2)."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from darnet_trt.errors import UsageError, counted

Precision = Literal["fp32", "bf16", "fp16"]


class Augmentation(BaseModel):
    """The limits of the movements of inputs; each movement is drawn uniformly up to its limit.

    Attributes:
        flip: Probability of exchanging left and right.
        rotation_deg: Largest angle in the axial plane, in either direction.
        translation: Largest shift along each axis, as a share of its length.
        scaling: Largest stretch or shrinking of each axis, as a share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: float = Field(default=0.5, ge=0, le=1)
    rotation_deg: float = Field(default=8.0, ge=0, le=180)
    translation: float = Field(default=0.05, ge=0, le=1)
    scaling: float = Field(default=0.08, ge=0, lt=1)


NO_AUGMENTATION: Final = Augmentation(flip=0, rotation_deg=0, translation=0, scaling=0)


class Recipe(BaseModel):
    """How a network is trained: Adam, cross-entropy, a learning rate that falls along a cosine.

    Attributes:
        epochs: Passes over the training scans.
        batch: Scans a step, in all processes and parts together.
        learning_rate: At the start; it falls to 0 along half a cosine over the whole run.
        seed: Of weights, order and augmentation. On the CPU of one machine, with the same number
            of threads, the same seed gives the same weights.
        augmentation: Of the training scans.
        precision: bf16 and fp16: automatic mixed precision. The weights stay float32.
        accumulate: Take each batch in so many parts, one after the other: less memory. Batch
            normalization then sees one part at a time.
        checkpointing: Keep only the blocks' inputs and compute the rest again for the gradients:
            less memory, a third more time.
        loading: Batches that a thread loads ahead; 0: none. It changes no result.
        frozen_normalization: Keep the running statistics of batch normalization as they are, and
            normalize with them: for fine-tuning on few scans.
        patience: Stop after so many epochs without a lower loss on the held-out scans; None: never.
        best: Take the weights of the epoch with the lowest loss on the held-out scans, not those
            of the last one.

    `patience` and `best` choose the epoch on the held-out scans, which makes the figures of these
    look better than they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=100, ge=1)
    batch: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    seed: int = Field(default=0, ge=0)
    augmentation: Augmentation = Augmentation()
    precision: Precision = "fp32"
    accumulate: int = Field(default=1, ge=1)
    checkpointing: bool = False
    loading: int = Field(default=2, ge=0)
    frozen_normalization: bool = False
    patience: int | None = Field(default=None, ge=1)
    best: bool = False


def refuse_scans(
    recipe: Recipe, train: int, held_out: int, processes: int = 1, *, side: str = "training side"
) -> None:
    """Refuse a recipe that does not suit the numbers of scans and processes.

    Args:
        recipe: How to train.
        train: Scans to train on.
        held_out: Scans held out.
        processes: That train together.
        side: What the error calls the scans to train on.

    Raises:
        UsageError: It does not.
    """
    parts = processes * recipe.accumulate
    if recipe.batch % parts:
        raise UsageError(
            f"{recipe.batch} scans do not divide into {parts} equal parts (--accumulate "
            f"{recipe.accumulate}, processes {processes})",
            where="--batch",
            do=f"take a multiple of {parts}",
        )
    if train < recipe.batch:
        raise UsageError(
            f"a batch of {recipe.batch} is more than the {side} has ({counted(train, 'scan')})",
            where="--batch",
            do="take a smaller one, or add scans",
        )
    for option, given in (("--patience", recipe.patience), ("--best", recipe.best)):
        if given and not held_out:
            raise UsageError(
                "goes by the held-out scans, and there are none",
                where=option,
                do="hold scans out, or train without it",
            )
