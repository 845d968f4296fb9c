"""Values as pickles through a pipe; arrays follow their pickle as they lie in memory."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any


def send(stream: IO[bytes], value: Any) -> None:
    """Write a value."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(pickled), *(array.raw() for array in arrays)]
    stream.write(struct.pack(f"!Q{len(parts)}Q", len(parts), *map(len, parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> list[bytearray]:
    """Read the parts that `send` wrote.

    Raises:
        EOFError: The other end was closed.
    """
    (count,) = struct.unpack("!Q", _filled(stream, 8))
    sizes = struct.unpack(f"!{count}Q", _filled(stream, 8 * count))
    return [_filled(stream, size) for size in sizes]


def unpickled(parts: list[bytearray]) -> Any:
    """Return the value; its arrays can be written to."""
    pickled, *arrays = parts
    return pickle.loads(pickled, buffers=arrays)


def _filled(stream: IO[bytes], size: int) -> bytearray:
    content = bytearray(size)
    if stream.readinto(content) < size:  # type: ignore[attr-defined]
        raise EOFError
    return content
