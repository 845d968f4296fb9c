"""Write slices as pictures."""

import functools
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from darnet_trt.phantom.synthesis import synthesize


@functools.cache
def chest(slices=30, size=96):
    """Return int16 HU (d, h, w), foot to head: a chest of a phantom."""
    return synthesize("normal", 3, matrix=size, slices=(30, 30)).hu[:slices].clip(-1024)


def grey(slices=30, size=96):
    """Return the same as uint8 in the default window."""
    return np.rint((chest(slices, size) + 1350.0) / 1500 * 255).clip(0, 255).astype(np.uint8)


def write(folder, planes, suffix="png", mode="L", digits=4, prefix=""):
    """Number the planes from head to foot."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, plane in enumerate(planes[::-1]):
        name = f"{prefix}{index:0{digits}d}.{suffix}"
        Image.fromarray(plane).convert(mode).save(folder / name)


def write_tiff(path: Path, values, endian="<", deflate=False, white_is_zero=False):
    """Write one strip, by TIFF 6.0: Pillow writes neither int16 nor big endian."""
    data = values.astype(values.dtype.newbyteorder(endian)).tobytes()
    data = zlib.compress(data) if deflate else data
    data += b"\0" * (len(data) % 2)
    h, w = values.shape
    tags = [
        (256, w), (257, h), (258, values.itemsize * 8), (259, 8 if deflate else 1),
        (262, 0 if white_is_zero else 1), (273, 8), (277, 1), (278, h), (279, len(data)),
        (339, "uif".index(values.dtype.kind) + 1),
    ]  # fmt: skip
    entries = b"".join(struct.pack(f"{endian}HHII", tag, 4, 1, value) for tag, value in tags)
    start = (b"II" if endian == "<" else b"MM") + struct.pack(f"{endian}HI", 42, 8 + len(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(start + data + struct.pack(f"{endian}H", len(tags)) + entries + bytes(4))


def write_tiffs(folder, planes, **options):
    for index, plane in enumerate(planes[::-1]):
        write_tiff(folder / f"{index:04d}.tif", plane, **options)


def resized_png(data: bytes, width: int, height: int) -> bytes:
    """Return the same PNG with another size in its header."""
    changed = bytearray(data)
    changed[16:24] = struct.pack(">2I", width, height)
    changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    return bytes(changed)
