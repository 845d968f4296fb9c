"""Gigabytes of zeros, packed."""

from __future__ import annotations

import functools
import gzip
import zlib

CHUNK = 1 << 27


@functools.cache
def _deflated_chunk() -> bytes:
    """Return 128 MiB of zeros as deflate blocks that can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated_zeros(chunks: int, before: bytes = b"") -> bytes:
    """Return raw deflate of `before` and then 128 MiB of zeros for each chunk."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return start + _deflated_chunk() * chunks + end


def gzipped_zeros(chunks: int, before: bytes) -> bytes:
    """Return gzip of the same, as members one after the other."""
    return gzip.compress(before) + _gzip_chunk() * chunks


@functools.cache
def _gzip_chunk() -> bytes:
    return gzip.compress(bytes(CHUNK))
