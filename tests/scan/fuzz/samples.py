"""Small good scans of every format, to be damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Volume
from tests.scan import written_scans as writers
from tests.scan.pictures.picture_files import write_tiffs

Files = dict[str, bytes]
"""Name → content of the files of one scan."""


def make_samples(folder: Path) -> dict[str, Files]:
    """Write the scans below a folder; return the files of each by the name of its format."""
    phantom = synthesize("normal", 3, matrix=48, slices=(30, 30))
    volume = Volume(phantom.hu.clip(-1024), (9.5, 7.0, 7.0), (-171.25, -169.5, 12.75))
    scan = writers.stored(volume)
    for name, write in writers.VOLUME_FILES.items():
        write(scan, folder / name / name)
    for syntax in writers.SYNTAXES:
        writers.write_classic(scan, folder / f"classic-{syntax}", syntax)
        writers.write_enhanced(scan, folder / f"enhanced-{syntax}", syntax)
    writers.gzipped(folder / "classic-explicit", folder / "gzip")
    for packed in ("classic-explicit", "a.nii", "a.mhd"):
        (folder / f"zip-{packed}").mkdir()
        writers.packed(folder / packed, folder / f"zip-{packed}" / "a.zip")
    grey = np.rint((volume.hu + 1350.0) / 1500 * 255).clip(0, 255).astype(np.uint8)
    for form in ("png", "jpg", "tif"):
        (folder / form).mkdir()
        for index, plane in enumerate(grey[::-1]):
            Image.fromarray(plane).save(folder / form / f"P1_2_{index:04d}.{form}")
    write_tiffs(folder / "tiff-int16", volume.hu)
    write_tiffs(folder / "tiff-uint16", (volume.hu + 1024).astype(np.uint16), deflate=True)
    return {
        kind.name: {file.name: file.read_bytes() for file in sorted(kind.iterdir())}
        for kind in sorted(folder.iterdir())
    }
