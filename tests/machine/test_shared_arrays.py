"""Memory that several processes see and that no file name leads to."""

import errno
import os
from pathlib import Path

from darnet_trt.machine.shared_arrays import SharedMemory


def test_slots_hold_an_array_each_and_may_be_written_again():
    memory = SharedMemory()
    slots = memory.slots(3, (2, 3))
    for number, slot in enumerate(slots):
        memory.take(slot).array()[:] = number
    slots[1].array()[:] = 7
    assert [slot.array().tolist() for slot in slots] == [[[n] * 3] * 2 for n in (0, 7, 2)]
    memory.close()


def test_it_has_no_name_and_is_given_back():
    before = set(Path("/dev/shm").iterdir()), set(Path("/proc/self/fd").iterdir())
    memory = SharedMemory()
    (slot,) = memory.slots(1, (1000, 1024))
    (descriptor,) = memory.inherited
    assert os.fstat(descriptor).st_size == 0
    memory.take(slot).array()[:] = 1
    assert set(Path("/dev/shm").iterdir()) == before[0]
    assert os.fstat(descriptor).st_size == 4_096_000
    memory.clear()
    assert os.fstat(descriptor).st_size == 0
    (slot,) = memory.slots(1, (10,))
    memory.take(slot).array()[:] = 1
    memory.close()
    assert set(Path("/proc/self/fd").iterdir()) == before[1]


def test_a_system_without_it_has_no_slots(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    memory = SharedMemory()
    assert memory.slots(2, (100,)) == [None, None]
    assert memory.take(None) is None
    assert memory.inherited == ()
    memory.clear()
    memory.close()


def test_a_system_with_too_little_memory_has_no_slots(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    memory = SharedMemory()
    assert [memory.take(slot) for slot in memory.slots(2, (100,))] == [None, None]
    memory.close()
