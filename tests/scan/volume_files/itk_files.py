"""Write volume files with ITK, and compare our reading of a file with ITK's."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from hypothesis import strategies as st

from darnet_trt.scan.volume_files.voxels import check_file, read_hu
from tests.scan.series_factory import chest

VALUES = chest(12, 20)
IMAGES = {
    "compressed": st.booleans(),
    "dtype": st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    "spacing": st.tuples(*[st.floats(0.1, 20)] * 3),
    "origin": st.tuples(*[st.floats(-900, 900)] * 3),
    "angles": st.tuples(*[st.floats(-3, 3)] * 3),
}
"""Arguments of `write_image`, as hypothesis draws them."""


def write_image(path, *, compressed, dtype, spacing, origin, angles):
    """Write `VALUES` as the name of the file asks for."""
    image = sitk.GetImageFromArray(VALUES.clip(-128 if dtype == "i1" else 0, 127).astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix())
    sitk.WriteImage(image, path, useCompression=compressed)
    return path


def stored_values(read_header, path):
    """Return the stored order: (k, j, i)."""
    header = read_header(path)
    check_file(header.voxels, header.size)
    return read_hu(header.voxels, header.size, (0, 1, 2))


def agree_with_itk(read_header, path, **origin_tolerance):
    """Compare our reading of a file with ITK's."""
    image = sitk.ReadImage(path)
    header = read_header(path)
    assert header.size == image.GetSize()
    direction = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(header.steps_mm, direction * image.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(header.origin_mm, image.GetOrigin(), **origin_tolerance)
    np.testing.assert_array_equal(stored_values(read_header, path), sitk.GetArrayFromImage(image))
