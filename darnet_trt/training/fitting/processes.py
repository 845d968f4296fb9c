"""Train in several processes, which torchrun starts: one a GPU, or several on CPUs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
from torch import nn

from darnet_trt.errors import DarnetError, TrainingError, counted

_T = TypeVar("_T")
_PATIENCE: Final = timedelta(days=2)
"""The first process reads the cohort while the others wait. A process that ends is seen at once."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training, and which of them this one is.

    Attributes:
        device: Of this process: "cpu", "cuda", "cuda:1".
        rank: Its number, from 0. Process 0 reads the cohort and writes the run.
        size: How many there are.
    """

    device: str = "cpu"
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process reads the cohort and writes the run."""
        return self.rank == 0

    def from_leader(self, make: Callable[[], _T]) -> _T:
        """Call `make` in process 0 and return its result, or raise its error, in all of them."""
        if self.size == 1:
            return make()
        told: list[Any] = [None, None]
        if self.leads:
            try:
                told = [make(), None]
            except DarnetError as error:
                told = [None, error]
        torch.distributed.broadcast_object_list(told, device=torch.device("cpu"))
        if told[1] is not None:
            raise told[1]
        result: _T = told[0]
        return result

    def sums(self, *values: float) -> list[float]:
        """Return the sums of values over the processes."""
        if self.size == 1:
            return [*values]
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return [float(value) for value in total]

    def gather(self, mine: Sequence[_T]) -> list[_T]:
        """Return what process r has of the items r, r + size, … as one list of all items."""
        if self.size == 1:
            return [*mine]
        parts: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(parts, [*mine])
        count = sum(map(len, parts))
        return [parts[i % self.size][i // self.size] for i in range(count)]

    def wrapped(self, model: nn.Module) -> nn.Module:
        """Return the module whose backward pass averages the gradients over the processes."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        # of 1×1×1 convolutions, for which both orders of axes are the same
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        gpus = None if self.device == "cpu" else [torch.device(self.device)]
        return DistributedDataParallel(model, gpus)

    def synchronize(self, model: nn.Module) -> None:
        """Normalize batches over all GPUs; torch cannot do it on CPUs."""
        if self.size > 1 and self.device != "cpu":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]


ALONE: Final = Processes()


def averaged_once(model: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Average the gradients over the processes only after a batch's last part."""
    if last or not hasattr(model, "no_sync"):
        return nullcontext()
    return model.no_sync()  # type: ignore[no-any-return, operator]


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started; without torchrun there is one.

    Args:
        device: "cpu" or "cuda"; each process takes a GPU of its own.

    Raises:
        TrainingError: Another process has ended.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes(device)
        return
    rank, gpu = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if device == "cuda":
        if gpu >= torch.cuda.device_count():
            raise TrainingError(
                f"this computer has {counted(torch.cuda.device_count(), 'GPU')} for more processes",
                where="torchrun",
                do="start one process a GPU (--nproc-per-node)",
            )
        torch.cuda.set_device(gpu)
        device = f"cuda:{gpu}"
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    try:
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
        yield Processes(device, rank, size)
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise TrainingError(
            "another process of this training has ended",
            where=f"process {rank} of {size}",
            do="see what it said, and run the same command again to go on",
        ) from error
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
