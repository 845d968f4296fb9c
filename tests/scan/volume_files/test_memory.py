"""No volume file makes the reader take more than 1.5 GB, whatever its header claims."""

import bz2
import gzip
import json
import subprocess
import sys
import zlib

import nibabel
import numpy as np
import pytest

from tests.scan.series_factory import chest

LIMIT = 1.5e9
READ = """
import json, sys
from pathlib import Path
from darnet_trt.errors import ScanError
from darnet_trt.scan import Preprocessing, find_studies, load_input
from tests.machine.peak import peak_bytes
try:
    series = find_studies(Path(sys.argv[1]))[0].series[0]
    loaded = series.verdict.usable and load_input(series, Preprocessing(size=(8, 32, 32)))
    code = series.verdict.reason.code
except ScanError as error:
    code = error.code
print(json.dumps([code, peak_bytes()]))
"""


def read(path):
    """Return the code of what is found, and the peak memory in bytes of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=True
    )
    code, peak = json.loads(done.stdout)
    assert done.stderr == ""
    return code, peak


def nifti_header(size, dtype="i2", order=(0, 1, 2)):
    """Return a header whose axes i j k lie along the patient's axes of these numbers."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header["dim"][: len(size) + 1] = len(size), *size
    steps = np.diag([-0.3, -0.3, 0.5, 1])[:, [*order, 3]]
    header.set_sform(steps, 1)
    header["pixdim"][1:4] = np.abs(steps[:3, :3]).sum(axis=0)
    header["vox_offset"] = 352
    return header.binaryblock + bytes(4)


META = (
    "NDims = 3\nDimSize = {}\nElementType = MET_SHORT\nElementSpacing = .3 .3 .5\nOffset = 1 2 3\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nCompressedData = {}\nElementDataFile = LOCAL\n"
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: {}\nendian: little\n"
    "space directions: (.3,0,0) (0,.3,0) (0,0,.5)\nencoding: {}\n\n"
)
BILLIONS = "3000 3000 1200"


def zeros_gz(megabytes, first=b""):
    """Return zeros packed a thousandfold by gzip: members of 16 MB, one behind the other."""
    return gzip.compress(first) + gzip.compress(bytes(1 << 24)) * (megabytes // 16)


BOMBS = {
    "a.nii": lambda: nifti_header((3000, 3000, 1200)) + bytes(1000),
    "a.nii.gz": lambda: zeros_gz(2500, nifti_header((3000, 3000, 1200))),
    "many.nii.gz": lambda: zeros_gz(100, nifti_header((32767,) * 7)),
    "far.nii.gz": lambda: zeros_gz(
        100, nifti_header((512, 512, 100)).replace(*(np.float32([v]).tobytes() for v in (352, 9e9)))
    ),
    "behind.nii.gz": lambda: zeros_gz(2500, nifti_header((64, 64, 24))),
    "a.mha": lambda: META.format(BILLIONS, "False").encode() + bytes(1000),
    "z.mha": lambda: META.format(BILLIONS, "True").encode() + zlib.compress(bytes(1 << 24)),
    "gz.mha": lambda: META.format(BILLIONS, "True").encode() + zeros_gz(2500),
    "many.mha": lambda: META.format(f"{10**17} 1 1", "True").encode() + zlib.compress(bytes(99)),
    "a.nrrd": lambda: NRRD.format(BILLIONS, "raw").encode() + bytes(1000),
    "gz.nrrd": lambda: NRRD.format(BILLIONS, "gzip").encode() + zeros_gz(2500),
    "bz2.nrrd": lambda: NRRD.format(BILLIONS, "bzip2").encode() + bz2.compress(bytes(1 << 24)) * 99,
    "lines.nrrd": lambda: NRRD.format("20 20 20", "raw\nline skip: 5").encode() + bytes(1 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path, name):
    (tmp_path / name).write_bytes(BOMBS[name]())
    code, peak = read(tmp_path / name)
    assert code != "usable"
    assert peak < 0.3e9


@pytest.mark.parametrize(
    ("size", "dtype", "order", "fits"),
    [
        ((512, 512, 1000), "f8", (2, 0, 1), True),
        ((1024, 1024, 800), "i2", (0, 1, 2), False),
    ],
)
def test_the_largest_scans(tmp_path, size, dtype, order, fits):
    """In sparse files, so that the disk holds nothing of them."""
    header = nifti_header([size[axis] for axis in order], dtype, order=order)
    with (tmp_path / "a.nii").open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + int(np.prod(size)) * np.dtype(dtype).itemsize)
    code, peak = read(tmp_path / "a.nii")
    assert (code != "too-large") == fits  # what is read is refused: all its voxels are 0
    assert peak < LIMIT


def test_a_large_packed_scan(tmp_path):
    members = [gzip.compress(nifti_header((512, 512, 1000), "f4"))]
    for hu in chest(40).repeat(8, 1).repeat(8, 2):
        members += [gzip.compress(hu.astype("<f4").tobytes(), 1)] * 25
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members))
    code, peak = read(tmp_path / "a.nii.gz")
    assert code == "usable"
    assert peak < LIMIT
