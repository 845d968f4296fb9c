"""Arrays from child processes, in memory that no file name leads to: nothing stays behind."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


class SharedMemory:
    """Memory that this process and the children that inherit it read and write.

    It is a file without a name (memfd_create(2)): it ends with the last process that has it open,
    whatever ended the processes. It takes no memory before something is written, and grows as far
    as that goes. A system without it (not Linux) has no slots: arrays go through pipes there.
    """

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with suppress(AttributeError, OSError):  # no Linux; too many open files
            self._descriptor = os.memfd_create("darnet-trt")

    @property
    def inherited(self) -> tuple[int, ...]:
        """Return the descriptors that children must inherit, under the same numbers."""
        return () if self._descriptor is None else (self._descriptor,)

    def slots(self, count: int, size: int) -> list[Slot | None]:
        """Return places for arrays, the same ones at each call; None where there is no such memory.

        Args:
            count: How many.
            size: Bytes of each.
        """
        if self._descriptor is None:
            return [None] * count
        return [Slot(self._descriptor, number * size) for number in range(count)]

    def clear(self) -> None:
        """Give the memory back to the system; the slots stay."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Give it back for good, as far as this process has it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@dataclass(frozen=True)
class Slot:
    """A place for one array; the writer may be another process than the reader.

    A call copies at the speed of memory. Mapped pages would spare the copy, and end a process by
    SIGBUS where memory runs out.
    """

    descriptor: int
    offset: int

    def write(self, array: npt.NDArray[Any]) -> None:
        """Copy a contiguous array to here.

        Raises:
            OSError: The system has no memory left.
        """
        rest, offset = array.data.cast("B"), self.offset
        while rest:
            written = os.pwrite(self.descriptor, rest, offset)
            rest, offset = rest[written:], offset + written

    def read(self, array: npt.NDArray[Any]) -> None:
        """Fill a contiguous array with what was written."""
        rest, offset = array.data.cast("B"), self.offset
        while rest:
            filled = os.preadv(self.descriptor, [rest], offset)
            assert filled, "nothing was written here"
            rest, offset = rest[filled:], offset + filled
