"""One picture: what it is, and its grey values."""

import os

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan.pictures.decoding import decode_grey, picture_kind, read_header
from darnet_trt.scan.plausibility.grid import MAX_MATRIX
from tests.scan.pictures.picture_files import grey, resized_png, write_tiff

PLANE = grey()[15]
HU = np.arange(-1024, 2048, dtype=np.int16).reshape(64, 48)


def refused(path, code, kind=RefusedScanError, read=decode_grey):
    with pytest.raises(kind) as caught:
        read(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
def test_a_picture_is_what_its_content_says(tmp_path, form):
    path = tmp_path / "slice.txt"
    Image.fromarray(PLANE).save(path, format=form)
    assert picture_kind(path.read_bytes()[:8]) == form
    assert read_header(path) == ((96, 96), "uint8")
    np.testing.assert_allclose(decode_grey(path), PLANE, atol=60 if form == "jpeg" else 0)


@pytest.mark.parametrize("form", ["gif", "bmp", "webp", "ppm", "jpeg2000"])
def test_other_pictures_are_none(tmp_path, form):
    path = tmp_path / "slice.png"
    Image.fromarray(PLANE).save(path, format=form)
    assert picture_kind(path.read_bytes()[:8]) is None
    refused(path, "not-a-picture", UnreadableScanError)


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("deflate", [False, True])
def test_tiff_of_16_bits_as_another_reader_reads_it(tmp_path, dtype, endian, deflate):
    values = HU.astype(dtype)
    write_tiff(tmp_path / "a.tif", values, endian, deflate)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "a.tif"))
    got = decode_grey(tmp_path / "a.tif")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, itk.reshape(values.shape))
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("compressor", ["LZW", "PackBits", "Deflate"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8"])
def test_compressed_tiff(tmp_path, compressor, dtype):
    writer = sitk.ImageFileWriter()
    writer.SetFileName(tmp_path / "a.tif")
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(HU.astype(dtype)))
    np.testing.assert_array_equal(decode_grey(tmp_path / "a.tif"), HU.astype(dtype))


def test_png_of_16_bits(tmp_path):
    values = (HU + 1024).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_grey(tmp_path / "a.png"), values)


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "RGBA"])
def test_grey_in_other_clothes(tmp_path, mode):
    Image.fromarray(PLANE).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_grey(tmp_path / "a.png"), PLANE)


def test_white_as_zero(tmp_path):
    write_tiff(tmp_path / "a.tif", 255 - PLANE, white_is_zero=True)
    np.testing.assert_array_equal(decode_grey(tmp_path / "a.tif"), PLANE)
    write_tiff(tmp_path / "b.tif", HU.view(np.uint16), white_is_zero=True)
    refused(tmp_path / "b.tif", "grey-type")


def test_values_of_other_types(tmp_path):
    for dtype in ("float32", "int32"):
        write_tiff(tmp_path / "a.tif", HU.astype(dtype))
        refused(tmp_path / "a.tif", "grey-type")


def test_colours(tmp_path):
    Image.fromarray(np.stack([PLANE, 255 - PLANE, PLANE], -1)).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "colour-picture")


def test_transparent_pixels(tmp_path):
    picture = Image.fromarray(PLANE).convert("LA")
    picture.putpixel((3, 4), (7, 0))
    picture.save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "transparent-picture")


def test_several_pictures_in_one_file(tmp_path):
    pages = [Image.fromarray(plane) for plane in grey()[:3]]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.tif", "several-pictures", read=read_header)


def test_a_turned_picture(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PLANE).save(tmp_path / "a.jpg", exif=exif)
    refused(tmp_path / "a.jpg", "turned-picture", read=read_header)


@pytest.mark.parametrize("form", ["png", "tiff", "bmp1"])
def test_masks(tmp_path, form):
    mask = Image.fromarray(((PLANE < 90) * 255).astype(np.uint8))
    if form == "bmp1":
        mask.convert("1").save(tmp_path / "a", format="png")
    else:
        mask.save(tmp_path / "a", format=form)
    refused(tmp_path / "a", "mask")


def test_a_mask_as_jpeg_is_one(tmp_path):
    mask = np.zeros((512, 512), np.uint8)
    mask[100:400, 50:250] = 255
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=90)
    refused(tmp_path / "a.jpg", "mask")


def test_maps_of_labels_are_masks(tmp_path):
    labels = np.select([PLANE < 90, PLANE < 200], [127, 0], 255).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "mask")


def test_empty_slices_are_no_masks(tmp_path):
    air = np.random.default_rng(0).integers(0, 20, (96, 96)).astype(np.uint8)
    air[90, 30:60] = 200  # the table
    Image.fromarray(air).save(tmp_path / "table.png")
    np.testing.assert_array_equal(decode_grey(tmp_path / "table.png"), air)
    for values in ([0], [0, 1], [7, 9]):
        plane = np.resize(np.array(values, np.uint8), (32, 32))
        Image.fromarray(plane).save(tmp_path / "a.png")
        np.testing.assert_array_equal(decode_grey(tmp_path / "a.png"), plane)


def test_a_size_that_no_slice_has_is_refused_before_decoding(tmp_path):
    Image.fromarray(PLANE).save(tmp_path / "a.png")
    small = (tmp_path / "a.png").read_bytes()
    for side in (MAX_MATRIX + 1, 20_000, 2**31 - 1):
        (tmp_path / "a.png").write_bytes(resized_png(small, side, 96))
        refused(tmp_path / "a.png", "picture-too-large", read=read_header)


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
def test_cut_files(tmp_path, form):
    Image.fromarray(PLANE).save(tmp_path / "whole", format=form)
    whole = (tmp_path / "whole").read_bytes()
    for length in (9, 40, len(whole) // 2):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut", "cannot-read", UnreadableScanError)


def test_a_file_that_vanished(tmp_path):
    refused(tmp_path / "gone.png", "cannot-open", UnreadableScanError)
    os.mkdir(tmp_path / "folder.png")  # noqa: PTH102
    refused(tmp_path / "folder.png", "cannot-open", UnreadableScanError)
