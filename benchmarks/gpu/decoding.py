"""Time the decoding of a lossless JPEG 2000 series of 128 slices: the CPU's threads, and a GPU.

    python -m benchmarks.gpu.decoding [--on-cpu]

Needs the extra gpu-decode. With `--on-cpu` nvImageCodec decodes on the CPU too, to try the script.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cpu.reading.preprocess import JPEG_2000, chest, write_series
from benchmarks.gpu.measuring import skip
from darnet_trt.scan.dicom.encoding.gpu import Gpu, nvimagecodec
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slices

SLICES = 128  # the most of one call
ROUNDS = 5  # in turns


def main() -> None:
    """Decode in turns, and print the fastest of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on-cpu", action="store_true", help="try the script without a GPU")
    on_cpu = parser.parse_args().on_cpu
    try:
        gpu = Gpu(nvimagecodec(on_cpu=on_cpu))
    except (ImportError, RuntimeError) as error:
        skip(str(error))
    with TemporaryDirectory() as folder:
        write_series(Path(folder) / "series", chest(SLICES), JPEG_2000)
        files = sorted(Path(folder, "series").iterdir())
        headers = [header for file in files for header in read_headers(file)]
        cpu_s, gpu_s = [], []
        for _ in range(ROUNDS + 1):  # the first one fetches what the others have
            start = time.perf_counter()
            list(decode_slices(headers, range(SLICES)))
            middle = time.perf_counter()
            if gpu.decode(headers) is None:
                raise SystemExit("nvImageCodec did not give the CPU's pixels")
            cpu_s.append(middle - start)
            gpu_s.append(time.perf_counter() - middle)
    ours, theirs = (min(times[1:]) / SLICES * 1e3 for times in (cpu_s, gpu_s))
    name = "nvImageCodec on the CPU" if on_cpu else "GPU"
    print(f"a slice of 512×512: CPU {ours:.2f} ms, {name} {theirs:.2f} ms, {ours / theirs:.1f}×")


if __name__ == "__main__":
    main()
