"""Memory that several processes see and that no file name leads to."""

import os
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.machine.shared_arrays import SharedMemory


def test_slots_hold_an_array_each_and_may_be_written_again():
    memory = SharedMemory()
    slots = memory.slots(3, 4 * 6)
    for number, slot in enumerate(slots):
        slot.write(np.full((2, 3), number, np.float32))
    slots[1].write(np.full((2, 3), 7, np.float32))
    found = np.empty((3, 2, 3), np.float32)
    for slot, array in zip(slots, found, strict=True):
        slot.read(array)
    assert [set(array.flat) for array in found] == [{0}, {7}, {2}]
    memory.close()


def test_it_has_no_name_and_is_given_back():
    before = set(Path("/dev/shm").iterdir()), set(Path("/proc/self/fd").iterdir())
    memory = SharedMemory()
    (slot,) = memory.slots(1, 4_000_000)
    (descriptor,) = memory.inherited
    slot.write(np.ones(1_000_000, np.float32))
    assert set(Path("/dev/shm").iterdir()) == before[0]
    assert os.fstat(descriptor).st_size == 4_000_000
    memory.clear()
    assert os.fstat(descriptor).st_size == 0
    slot.write(np.ones(10, np.float32))
    memory.close()
    assert set(Path("/proc/self/fd").iterdir()) == before[1]


def test_a_system_without_it_has_no_slots(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    memory = SharedMemory()
    assert memory.slots(2, 100) == [None, None]
    assert memory.inherited == ()
    memory.clear()
    memory.close()


@pytest.mark.parametrize("order", ["C", "F"])
def test_only_contiguous_arrays_are_taken(order):
    memory = SharedMemory()
    (slot,) = memory.slots(1, 100)
    array = np.zeros((4, 4), np.float32, order=order)[:, ::2]
    with pytest.raises((TypeError, ValueError)):
        slot.write(array)
    memory.close()
