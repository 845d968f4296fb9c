"""A `pycuda` on the host: names and arguments as in pycuda 2026.1's src/wrapper/wrap_cudadrv.cpp.

pycuda builds only where a driver is. Streams and events are those of `host_gpu`, so that order is
checked too. Every call needs a current context, as in CUDA.
"""

from __future__ import annotations

import ctypes
import weakref
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np

from tests.runtime.engines.host_gpu import STREAMS, HostDevice, HostStream

_host = HostDevice()
_host.inside = 1  # the contexts below check it
_stack: list[Context] = []
_alive: weakref.WeakSet = weakref.WeakSet()


class Error(Exception):
    pass


class MemoryError(Error):
    pass


def _needs_context():
    if not _stack:
        raise Error("invalid device context")


class Context:
    def push(self):
        _stack.append(self)

    @staticmethod
    def pop():
        _stack.pop()


_primary = Context()


class Device:
    def __init__(self, number):
        assert number == 0

    @staticmethod
    def count():
        return 1

    def name(self):
        return "Host"

    def compute_capability(self):
        return (8, 9)

    def retain_primary_context(self):
        return _primary


class _Allocation:
    def __init__(self, size):
        _needs_context()
        if size == 0:
            raise Error("cuMemAlloc failed: invalid argument")
        if size > 1 << 40:
            raise MemoryError("cuMemAlloc failed: out of memory")
        self._memory = np.full(size, 0xFF, np.uint8)
        _alive.add(self)

    def __int__(self):
        return self._memory.ctypes.data


class Stream:
    def __init__(self, flags=0):
        _needs_context()
        self.host = HostStream(late=True)
        self.handle = id(self.host)
        STREAMS[self.handle] = self.host
        _alive.add(self)

    def synchronize(self):
        _host.finish(self.host)

    def wait_for_event(self, event):
        _host.wait(self.host, event.host)


class Event:
    def __init__(self, flags=0):
        _needs_context()
        self.host = _host.event()
        _alive.add(self)

    def record(self, stream=None):
        _host.record(self.host, stream.host)
        return self

    def synchronize(self):
        _host.synchronize(self.host)
        return self

    def time_since(self, event):
        return _host.elapsed_ms(event.host, self.host)


def init(flags=0):
    pass


def get_driver_version():
    return 13000


def mem_alloc(bytes):
    return _Allocation(bytes)


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    _needs_context()
    return np.empty(shape, dtype, order)


def _address(buffer):
    return np.frombuffer(buffer, np.uint8).ctypes.data  # contiguous, or an error, as in pycuda


def _copy(dest, src, size, stream):
    _needs_context()
    assert isinstance(dest, int)
    assert isinstance(src, int)
    stream.host.add(lambda: ctypes.memmove(dest, src, size))


def memcpy_htod_async(dest, src, stream=None):
    _copy(dest, _address(src), src.nbytes, stream)


def memcpy_dtoh_async(dest, src, stream=None):
    _copy(_address(dest), src, dest.nbytes, stream)


def memcpy_dtod_async(dest, src, size, stream=None):
    _copy(dest, src, size, stream)


def alive():
    """Return how many allocations, streams and events were not freed."""
    return len(_alive)


def as_package() -> dict[str, ModuleType]:
    """Return it as entries of `sys.modules`."""
    import sys

    package = ModuleType("pycuda")
    package.__spec__ = ModuleSpec("pycuda", None)
    package.driver = sys.modules[__name__]  # type: ignore[attr-defined]
    return {"pycuda": package, "pycuda.driver": package.driver}
