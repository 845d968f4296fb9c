"""A NIfTI header that cannot be is named, and ITK is not asked about it."""

import gzip
import re
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies
from tests.scan.series_factory import chest


def write(path, *fields):
    """A NIfTI file with some fields of its header (offset, type, value) changed."""
    sitk.WriteImage(sitk.GetImageFromArray(chest(12)), path)
    data = bytearray(path.read_bytes())
    for at, kind, value in fields:
        struct.pack_into(f"<{kind}", data, at, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ((0, "i", 540), "is NIfTI-2"),
        ((0, "i", 349), "is no NIfTI-1 file"),
        ((40, "h", 0), "has a broken header (0 dimensions, 64 voxels)"),
        ((40, "h", 9), "has a broken header (9 dimensions, 64×64×12×"),
        ((44, "h", -5), "has a broken header (3 dimensions, 64×-5×12 voxels)"),
        ((70, "h", 128), "has data type 128, which no CT has"),
        ((84, "f", np.nan), "has a broken header (its geometry is no number)"),  # pixdim[2]
        ((280, "f", np.inf), "has a broken header (its geometry is no number)"),  # srow_x
        ((268, "f", 1e30), "has a broken header (its geometry is no number)"),  # qoffset_x
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_broken_is_named_once(tmp_path, capfd, field, told, packed):
    path = write(tmp_path / "a.nii", field)
    if packed:
        path = tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    with pytest.raises(UnreadableScanError, match=re.escape(told)):
        find_studies(path)
    assert capfd.readouterr() == ("", "")


def test_what_is_not_in_use_may_be_anything(tmp_path):
    path = write(tmp_path / "a.nii", (254, "h", 0), (280, "f", np.nan))  # sform_code, srow_x
    ((series,),) = (study.series for study in find_studies(path))
    assert series.verdict.usable


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00 no gzip at all"])
def test_what_is_no_nifti_at_all(tmp_path, capfd, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableScanError, match=r"a\.nii\.gz: (is no NIfTI-1|cannot be read)"):
        find_studies(path)
    assert capfd.readouterr() == ("", "")
