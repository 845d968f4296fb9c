"""What a scanner did not reconstruct is air, declared or not, in every format."""

import numpy as np
import pytest

from darnet_trt.scan import Preprocessing, find_studies, load_study
from tests.scan.series_factory import chest, save, slice_dataset
from tests.scan.written_scans import VOLUME_FILES, Stored

SPEC = Preprocessing(size=(16, 56, 56))
OUTSIDE = np.hypot(*(np.indices((64, 64)) - 31.5)) > 32
ORIGIN = np.array([-190.0, -190.0, 5.0])


def scan(padding_hu):
    """A chest in a circle of reconstruction."""
    hu = chest().clip(-1024)
    hu[:, OUTSIDE] = padding_hu
    return hu


def write_dicom(folder, hu, **attributes):
    for index, values in enumerate(hu):
        at = (*ORIGIN[:2], ORIGIN[2] + 10 * index)
        stored = (values.astype(np.int32) + 1024).astype(np.int16)
        ds = slice_dataset(stored, at, RescaleIntercept="-1024", **attributes)
        save(ds, folder / f"{index:03}.dcm")
    return folder


def load(path):
    (study,) = find_studies(path)
    return load_study(study, SPEC)[1].array


@pytest.mark.parametrize("padding_hu", [-3024, -2048, -1025])
@pytest.mark.parametrize("declared", [False, True])
def test_dicom_and_volume_files_give_one_input(tmp_path, padding_hu, declared):
    expected = load(write_dicom(tmp_path / "plain", scan(-1024)))
    hu = scan(padding_hu)
    says = {"PixelPaddingValue": padding_hu + 1024} if declared else {}
    np.testing.assert_allclose(load(write_dicom(tmp_path / "padded", hu, **says)), expected)
    stored = Stored(hu, (10.0, 6.0, 6.0), np.eye(3)[::-1], ORIGIN)
    for name in ("a.nii", "a.nrrd", "a.mha"):
        path = VOLUME_FILES[name](stored, tmp_path / name)
        np.testing.assert_allclose(load(path), expected, atol=1e-6)
