"""A synthetic scan as a NIfTI file, or as a folder of windowed slices like CC-CCII's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from darnet_trt.phantom.files.defects import Defect, slice_name
from darnet_trt.phantom.files.placement import as_stored
from darnet_trt.phantom.synthesis import Scan
from darnet_trt.scan.preprocessing import Preprocessing


def write_nifti(scan: Scan, path: Path) -> None:
    """Write one compressed NIfTI file.

    Raises:
        OSError: It cannot be written.
    """
    import nibabel

    hu, origin_mm, direction = as_stored(scan)
    lps = np.eye(4)
    lps[:3, :3] = (direction * scan.volume.spacing_mm)[:, ::-1]
    lps[:3, 3] = origin_mm
    image = nibabel.Nifti1Image(hu.T, np.diag([-1, -1, 1, 1]) @ lps)  # RAS
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_slices(scan: Scan, folder: Path, defect: Defect) -> None:
    """Write 0000.png …, 8 bits over the default window, into a folder.

    Args:
        scan: What to write.
        folder: Where to.
        defect: Which slice each file shows, and whether only the lungs.

    Raises:
        OSError: A file cannot be written.
    """
    from PIL import Image

    spec = Preprocessing()
    low = spec.window_center_hu - spec.window_width_hu / 2
    hu, lungs = scan.volume.hu[::-1], scan.regions[::-1] > 0
    for number, index in enumerate(defect.slices):
        grey = np.clip((hu[index].astype(np.float32) - low) * (255 / spec.window_width_hu), 0, 255)
        if defect.segmented:
            grey *= lungs[index]
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
        image.save(folder / slice_name(number), compress_level=1)
