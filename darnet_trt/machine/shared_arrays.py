"""Arrays from child processes, in memory that no file name leads to: nothing stays behind."""

from __future__ import annotations

import math
import mmap
import os
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class SharedMemory:
    """Memory that this process and the children that inherit it read and write.

    It is a file without a name (memfd_create(2)): it ends with the last process that has it open,
    whatever ended the processes. A system without it (not Linux) has no slots: arrays go through
    pipes there.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._taken: set[Slot] = set()
        with suppress(AttributeError, OSError):  # no Linux; too many open files
            self._descriptor = os.memfd_create("darnet-trt")

    @property
    def inherited(self) -> tuple[int, ...]:
        """Return the descriptors that children must inherit, under the same numbers."""
        return () if self._descriptor is None else (self._descriptor,)

    def slots(self, count: int, shape: tuple[int, ...]) -> list[Slot | None]:
        """Return places for float32 arrays, the same ones at each call; `take` one before its use.

        Each is None where the system has no such memory.

        Args:
            count: How many.
            shape: Of each array.
        """
        if self._descriptor is None:
            return [None] * count
        step = -(-4 * math.prod(shape) // mmap.PAGESIZE) * mmap.PAGESIZE
        return [Slot(self._descriptor, n * step, step, shape) for n in range(count)]

    def take(self, slot: Slot | None) -> Slot | None:
        """Take a slot's memory, and return the slot; None where the system has too little."""
        if slot is None or slot in self._taken:
            return slot
        try:  # now: a process that touches a mapped page for which there is none is ended by SIGBUS
            os.posix_fallocate(slot.descriptor, slot.start, slot.size)
        except OSError:
            return None
        self._taken.add(slot)
        return slot

    def clear(self) -> None:
        """Give the memory back to the system; no array of a slot may be used any more."""
        if self._descriptor is not None:
            self._unmap()
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Give it back for good, as far as this process has it."""
        if self._descriptor is not None:
            self._unmap()
            os.close(self._descriptor)
            self._descriptor = None

    def _unmap(self) -> None:
        for slot in self._taken:
            _mapped.pop((slot.descriptor, slot.start), None)
        self._taken.clear()


@dataclass(frozen=True)
class Slot:
    """A place for one array; the writer may be another process than the reader."""

    descriptor: int
    start: int
    size: int
    shape: tuple[int, ...]

    def array(self) -> npt.NDArray[np.float32]:
        """Return the array that lies here, to be read or written."""
        place = self.descriptor, self.start
        memory = _mapped.get(place)
        if memory is None or len(memory) < self.size:
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE  # else each page costs a fault
            memory = mmap.mmap(self.descriptor, self.size, flags, offset=self.start)
            _mapped[place] = memory
        return np.frombuffer(memory, np.float32, math.prod(self.shape)).reshape(self.shape)


_mapped: dict[tuple[int, int], mmap.mmap] = {}
"""By descriptor and start: mapping a slot anew would touch each page anew."""
