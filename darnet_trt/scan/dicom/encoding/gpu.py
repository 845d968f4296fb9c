"""Decode the slices of a JPEG 2000 series on a GPU, many in one call, where that gives the same.

nvImageCodec (extra `gpu-decode`) decodes them, in the processes that read scans. Only lossless JPEG
2000: HTJ2K takes the CPU 3 ms a slice, and its decoder there finds damage; nvImageCodec's JPEG
lossless has open bugs (its issue 50).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import ScanError
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.worker import tell
from darnet_trt.scan.dicom.encoding.codestreams import decode
from darnet_trt.scan.dicom.header import Header
from darnet_trt.scan.dicom.pixels import (
    MOST_THREADS,
    decode_slice,
    decode_slices,
    finished,
    read_codestream,
)

Decoded = npt.NDArray[Any]
Decode = Callable[[Sequence[bytes]], Sequence[Decoded | None]]
"""Takes codestreams; gives the pixels of each, (rows, columns), None where it cannot."""

JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
FEWEST: Final = 16
"""Slices. Fewer are left to the CPU, which decodes the first one anyway. Judgement."""
MOST_BYTES: Final = 1 << 26
"""Pixels of one call: 128 slices of 512×512."""

_ON_CPU: Final = "slices are decoded on the CPU"


class Gpu:
    """A decoder, which is used until its pixels differ from the CPU's.

    Args:
        decode: Decodes many slices.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode: Decode | None = decode
        self._told = False

    def decode(self, headers: Sequence[Header]) -> Iterator[Decoded] | None:
        """Decode slices; None where the CPU must, which also says what is wrong with them.

        All must be of one size, depth and sign, transformed by one reversible wavelet: then the
        standard leaves nothing to the decoder. The first one is decoded on the CPU too.
        """
        if self._decode is None or {h.transfer_syntax for h in headers} != {JPEG_2000_LOSSLESS}:
            return None
        try:
            with ThreadPoolExecutor(_threads()) as pool:
                read = list(pool.map(read_codestream, headers))
        except (ScanError, OSError, EOFError, MemoryError):
            return None
        codestreams, (said, *others) = zip(*read, strict=True)
        if said is None or not said.halves or {said, *others} != {said}:
            return None
        try:
            images = [image for image in self._decode(codestreams) if image is not None]
            if len(images) != len(headers):
                raise ValueError(f"{len(images)} of {len(headers)} slices were decoded")
        except Exception as error:  # whatever the library raises
            if not self._told:
                tell(f"{_ON_CPU}: nvImageCodec failed ({error})")
            self._told = True
            return None
        shape = said.rows, said.columns
        try:
            first = decode(JPEG_2000_LOSSLESS, codestreams[0], shape, images[0].itemsize)
        except (RuntimeError, ValueError, MemoryError):
            return None
        alike = all((image.shape, image.dtype) == (shape, first.dtype) for image in images)
        if not alike or not np.array_equal(images[0], first):
            self._decode = None
            tell(f"{_ON_CPU}: the GPU gives other pixels than the CPU for {headers[0].path}")
            return None
        return (finished(h, said, image) for h, image in zip(headers, images, strict=True))


def decode_series(
    headers: Sequence[Header], indices: Sequence[int], gpu: Gpu | None = None
) -> Iterator[tuple[int, Decoded]]:
    """Decode some slices of a series, in order, as `decode_slices` does, on a GPU if there is one.

    Args:
        headers: Of the series.
        indices: Of the slices.
        gpu: In place of the one of `use_gpu`.
    """
    gpu, done = gpu or _gpu, 0
    if gpu is not None and len(indices) >= FEWEST:
        first = headers[indices[0]]
        pixels = first.get("Rows") * first.get("Columns") * first.get("BitsAllocated") // 8
        step = max(1, MOST_BYTES // pixels)
        while some := indices[done : done + step]:
            found = gpu.decode([headers[index] for index in some])
            if found is None:
                break
            yield from zip(some, found, strict=True)
            done += len(some)
    if done < len(indices):
        yield from decode_slices(headers, indices[done:], decode_slice)


_gpu: Gpu | None = None
_why_not = "no process has tried"


def use_gpu() -> None:
    """Let this process decode on a GPU, where nvImageCodec is installed and finds one.

    For processes that read scans: it also takes stderr from what the library prints meanwhile.
    """
    global _gpu, _why_not
    try:
        with _no_stderr():
            _gpu, _why_not = Gpu(nvimagecodec()), ""
    except ModuleNotFoundError as error:
        _why_not = str(error)
    except Exception as error:  # whatever the library raises
        reason = str(error).partition(" at /")[0]  # what follows is its source file
        _why_not = f"nvImageCodec finds no GPU ({reason})"
        tell(f"{_ON_CPU}: {_why_not}")


def why_not() -> str:
    """Return why this process does not decode on a GPU; empty where it does."""
    return _why_not


def nvimagecodec(*, on_cpu: bool = False) -> Decode:
    """Return nvImageCodec's decoder.

    Args:
        on_cpu: Whether it decodes on the CPU, for tests: unsigned slices only.

    Raises:
        ImportError: It is not installed.
        RuntimeError: It finds no GPU.
    """
    import nvidia.nvimgcodec as nvimgcodec

    # Of one kind only: by default the CPU's decoders would stand in for the GPU's.
    kinds = nvimgcodec.BackendKind
    decoder = nvimgcodec.Decoder(
        device_id=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY if on_cpu else -1,
        max_num_cpu_threads=_threads(),
        backends=[nvimgcodec.Backend(kinds.CPU_ONLY if on_cpu else kinds.GPU_ONLY)],
    )
    params = nvimgcodec.DecodeParams(
        apply_exif_orientation=False,
        color_spec=nvimgcodec.ColorSpec.UNCHANGED,
        allow_any_depth=True,
    )

    def decode_all(codestreams: Sequence[bytes]) -> list[Decoded | None]:
        images = decoder.decode([nvimgcodec.CodeStream(c) for c in codestreams], params=params)
        # An array lives no longer than its image: copied.
        return [None if i is None else np.array(i.cpu())[..., 0] for i in images]

    return decode_all


def _threads() -> int:
    return min(usable_cpus(), MOST_THREADS)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Lose what is printed: nvImageCodec names each of NVIDIA's libraries that it does not find."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
