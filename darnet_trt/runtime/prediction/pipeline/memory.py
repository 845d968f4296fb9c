"""Divide memory among the engine, the processes that read scans, and what waits for either."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import UsageError
from darnet_trt.machine.memory import free_memory, shown
from darnet_trt.scan.isolated import MEMORY

OF_A_WORKER: Final = 120 * 10**6
"""Bytes of a process that reads scans, after its imports."""
LEAST_SHARE: Final = 200 * 10**6
"""Bytes that reading takes at least: a slice of 512 x 512 in a few forms, and a study's headers."""
LEAST_OF_OBJECTS: Final = 400 * 10**6
"""The same where DICOM objects are made: highdicom takes half of it."""
_RESULTS: Final = 4
"""Results for each worker that may wait for their objects while the engine goes on. Judgement."""
_PICTURE: Final = 4 * 10**6
"""Bytes of the picture among them."""
_OF_THIS_PROCESS: Final = 300 * 10**6
"""Bytes of this process with its packages, without the engine."""
_ACTIVATIONS: Final = 4
"""The largest activation is kept so many times, counted in float32. Judgement."""
_ROUNDED: Final = 64 * 2**20
"""More bytes than `shown` rounds off at 1 GiB and above."""


@dataclass(frozen=True)
class Plan:
    """How much may run and wait at once.

    Attributes:
        workers: Processes that read scans.
        share: Bytes that each may take beyond what it has after its imports.
        whole: The same for one that runs alone.
        inputs: How many inputs wait.
        input_size: Bytes of each.
        ahead: How many studies wait to be loaded.
        engine: Bytes for this process with the engine; estimated.
        results: How many results wait for their DICOM objects.
    """

    workers: int
    share: int
    whole: int
    inputs: int
    input_size: int
    ahead: int
    engine: int
    results: int

    @property
    def most(self) -> int:
        """Return the bytes of everything."""
        return (
            self.engine
            + self.workers * (OF_A_WORKER + self.share)
            + self.inputs * self.input_size
            + self.results * _of_result(self.input_size)
        )

    def __str__(self) -> str:
        """Return a line for a person."""
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        parts = [
            f"engine {shown(self.engine)}",
            f"{workers} of {shown(OF_A_WORKER + self.share)}",
            f"{self.inputs} inputs of {shown(self.input_size)}",
        ]
        if self.results:
            size = shown(_of_result(self.input_size))
            parts.append(f"{self.results} results with DICOM objects of {size}")
        return f"memory: at most {shown(self.most)}: {', '.join(parts)}"


def _of_result(input_size: int) -> int:
    """Return the bytes of a result that waits: its input, and the objects that come of it."""
    return 2 * input_size + _PICTURE


def input_bytes(bundle: Bundle) -> int:
    """Return the bytes of the network's input."""
    return 4 * math.prod(bundle.manifest.preprocessing.size)


def activation_bytes(bundle: Bundle) -> int:
    """Return the bytes that an engine takes for the activations of one volume; estimated."""
    activation = input_bytes(bundle) * bundle.manifest.model.width // 4  # the stem halves h and w
    return _ACTIVATIONS * activation


def planned(
    bundle: Bundle,
    artifact: Artifact,
    workers: int,
    memory: int | None,
    free: Callable[[], int] = free_memory,
    *,
    objects: bool = False,
) -> Plan:
    """Return the plan: fewer workers, and smaller shares, where there is little memory.

    Args:
        bundle: What is to run.
        artifact: Its engine.
        workers: Most workers.
        memory: Most bytes of this process and the workers; None: as the system has free.
        free: Returns how many bytes these are.
        objects: Whether DICOM objects are made.

    Raises:
        UsageError: So little that not even one worker fits.
    """
    input_size = input_bytes(bundle)
    files = sum((bundle.path / file).stat().st_size for file in artifact.files)
    engine = _OF_THIS_PROCESS + 2 * files + activation_bytes(bundle)
    spare = 2 * max(1, artifact.batch[1] if artifact.target != "cpu" else 1)
    room = (free() if memory is None else memory) - engine - spare * input_size
    of_results = _RESULTS * _of_result(input_size) if objects else 0
    least_share = LEAST_OF_OBJECTS if objects else LEAST_SHARE
    beside = OF_A_WORKER + input_size + of_results
    least = beside + least_share
    if memory is not None and room < least:
        raise UsageError(
            f"{shown(memory)} are too little for this engine and one process that reads scans",
            where="--memory",
            do=f"give at least {shown(memory - room + least + _ROUNDED)}",
        )
    workers = max(1, min(workers, room // least))
    share = max(least_share, min(MEMORY, room // workers - beside))
    whole = workers * (OF_A_WORKER + share) - OF_A_WORKER
    results = _RESULTS * workers if objects else 0
    return Plan(workers, share, whole, workers + spare, input_size, 2 * workers, engine, results)
