"""Load and move the batches of an epoch. Seed, epoch and step alone decide what is in each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from darnet_trt.training.fitting.augmentation import draw, move
from darnet_trt.training.fitting.processes import Processes
from darnet_trt.training.inputs import Example
from darnet_trt.training.outputs import batch_of
from darnet_trt.training.recipe import Recipe

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Batch:
    """The scans of one step.

    Attributes:
        examples: Those of all processes.
        parts: Inputs (n, 1, d, h, w) and labels (n,) of this process, one after the other.
    """

    examples: tuple[Example, ...]
    parts: tuple[tuple[Tensor, Tensor], ...]


def batches(
    train: Sequence[Example], recipe: Recipe, epoch: int, first: int, group: Processes
) -> Iterator[Batch]:
    """Yield the batches of an epoch, from step `first` on.

    Scans left over from the last full batch are skipped in this epoch, in another order others
    are: batch normalization over a single volume would be useless.

    Raises:
        TrainingError: An input is damaged and cannot be made again.
    """
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(train))

    def make(step: int) -> Batch:
        chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
        return _batch(tuple(train[i] for i in chosen), recipe, (epoch, step), group)

    steps = range(first, len(train) // recipe.batch)
    yield from _ahead((partial(make, step) for step in steps), recipe.loading)


def _batch(
    examples: tuple[Example, ...], recipe: Recipe, when: tuple[int, int], group: Processes
) -> Batch:
    seed = int(np.random.default_rng((recipe.seed, *when)).integers(2**63))
    share = len(examples) // (group.size * recipe.accumulate)
    parts = []
    for number in range(recipe.accumulate):
        start = (number * group.size + group.rank) * share
        mine = slice(start, start + share)
        x, y = batch_of(examples[mine], group.device)
        # The movements are drawn for the whole batch, however it is divided.
        movements = draw(
            len(examples),
            (x.shape[-2], x.shape[-1]),
            recipe.augmentation,
            torch.Generator().manual_seed(seed),
        )
        x = move(x, None if movements is None else movements[mine])
        parts.append((x.contiguous(memory_format=torch.channels_last_3d), y))
    return Batch(examples, tuple(parts))


def _ahead(made: Iterable[Callable[[], _T]], count: int) -> Iterator[_T]:
    """Yield results in order; a thread makes so many of them ahead."""
    if not count:
        yield from (make() for make in made)
        return
    waiting: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(1, "loading") as pool:
        try:
            for make in made:
                waiting.append(pool.submit(make))
                if len(waiting) > count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
