"""Voxels come from a regular file inside the header's folder, and from nowhere else."""

import os

import numpy as np
import pytest

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies, read_volume
from tests.scan.series_factory import chest, only

HEADERS = {
    "a.mhd": (
        "NDims = 3\nDimSize = 20 20 12\nElementType = MET_SHORT\nOffset = 1 2 3\n"
        "ElementSpacing = 4 4 9\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nElementDataFile = {}\n"
    ),
    "a.nhdr": (
        "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 20 20 12\nendian: little\n"
        "space directions: (4,0,0) (0,4,0) (0,0,9)\nencoding: raw\ndata file: {}\n"
    ),
}
VALUES = chest(12, 20)


def write(folder, name, voxels):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(HEADERS[name].format(voxels))
    return folder / name


@pytest.fixture(params=HEADERS)
def name(request):
    return request.param


@pytest.mark.parametrize("place", ["a.raw", "./a.raw", "sub/a.raw"])
def test_a_file_in_the_folder(tmp_path, name, place):
    path = write(tmp_path, name, place)
    (tmp_path / "sub").mkdir()
    (tmp_path / place).write_bytes(VALUES.tobytes())
    np.testing.assert_array_equal(read_volume(only(path)).hu, VALUES)


def test_a_link_to_a_file_in_the_folder(tmp_path, name):
    path = write(tmp_path, name, "link.raw")
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "link.raw").symlink_to("a.raw")
    np.testing.assert_array_equal(read_volume(only(path)).hu, VALUES)


def test_a_folder_that_is_reached_by_a_link(tmp_path, name):
    write(tmp_path / "real", name, "a.raw")
    (tmp_path / "real" / "a.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "link").symlink_to("real")
    np.testing.assert_array_equal(read_volume(only(tmp_path / "link" / name)).hu, VALUES)


@pytest.mark.parametrize(
    "voxels",
    ["../a.raw", "sub/../../a.raw", "{}/a.raw", "/dev/zero", "link.raw", "up/a.raw", "C:\\a.raw",
     "..\\a.raw", "."],
)  # fmt: skip
def test_a_file_outside_the_folder(tmp_path, name, voxels):
    path = write(tmp_path / "scan", name, voxels.format(tmp_path))
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    (tmp_path / "scan" / "sub").mkdir()
    (tmp_path / "scan" / "link.raw").symlink_to(tmp_path / "a.raw")
    (tmp_path / "scan" / "up").symlink_to(tmp_path)
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == "voxel-file-elsewhere"
    assert caught.value.where == str(path)


def test_what_is_not_a_regular_file(tmp_path, name):
    path = write(tmp_path, name, "a.raw")
    os.mkfifo(tmp_path / "a.raw")  # opening it would wait for a writer
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == "voxel-file-elsewhere"
    (tmp_path / "a.raw").unlink()
    (tmp_path / "a.raw").mkdir()
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == "voxel-file-elsewhere"


@pytest.mark.parametrize("voxels", ["none.raw", "none/none.raw", "a\0b", "x" * 250, "ü\udcff" * 99])
def test_a_file_that_is_not_there(tmp_path, name, voxels):
    path = tmp_path / name
    path.write_bytes(HEADERS[name].format(voxels).encode("utf-8", "surrogateescape"))
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == "no-voxel-file"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "voxels",
    ["LIST", "LIST 2", "list\na.raw\nb.raw", "a%03d.raw 1 12 1"],
)
def test_several_files(tmp_path, name, voxels):
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(write(tmp_path, name, voxels))
    assert caught.value.code == "several-voxel-files"
