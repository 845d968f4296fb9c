"""Folders of image slices, as CC-CCII publishes them."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import Preprocessing, choose, find_studies, load_input, preprocess, read_volume
from darnet_trt.scan.pictures import natural_key
from tests.scan.series_factory import chest, only

SPEC = Preprocessing(size=(16, 32, 32))


def grey():
    return np.rint((chest(24, 96) + 1350) / 1500 * 255).clip(0, 255).astype(np.uint8)


def write(folder, planes, suffix="png", mode="L", digits=4):
    folder.mkdir(parents=True)
    for index, plane in enumerate(planes[::-1]):  # head first
        Image.fromarray(plane).convert(mode).save(folder / f"{index:0{digits}d}.{suffix}")


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("digits", [4, 1])
def test_a_folder_of_grey_slices(tmp_path, mode, digits):
    write(tmp_path / "p7" / "scan1", grey(), mode=mode, digits=digits)
    (study,) = find_studies(tmp_path)
    assert study.patient_id == "p7"
    series = choose(study).series
    assert series.format == "slices"
    assert series.spacing_mm is None
    assert series.verdict.reason == "24 image slices"
    assert len(series.verdict.warnings) == 2
    loaded = load_input(series, SPEC)
    expected = preprocess(Preprocessing(size=SPEC.size), read_volume(series))
    np.testing.assert_allclose(loaded.array, expected, atol=1e-5)
    np.testing.assert_allclose(read_volume(series).hu[3], grey()[3] / 255 * 1500 - 1350, atol=1e-3)


def test_grey_spans_the_window_whatever_it_is(tmp_path):
    write(tmp_path / "p" / "s", grey())
    series = only(tmp_path)
    narrow = Preprocessing(size=SPEC.size, window_center_hu=-500, window_width_hu=1000)
    wide = Preprocessing(size=SPEC.size, window_center_hu=-400, window_width_hu=1200)
    np.testing.assert_allclose(
        load_input(series, narrow).array, load_input(series, wide).array, atol=1e-5
    )


def test_jpeg(tmp_path):
    write(tmp_path / "p" / "s", grey(), suffix="jpg")
    loaded = load_input(only(tmp_path), SPEC)
    assert 12 <= loaded.decoded <= 24
    assert loaded.array.std() > 0.2


def test_every_scan_folder_is_a_study(tmp_path):
    for patient, scan in (("1", "10"), ("1", "9"), ("2", "1")):
        write(tmp_path / patient / scan, grey()[:12])
    paths = [str(study.path.relative_to(tmp_path)) for study in find_studies(tmp_path)]
    assert paths == ["1/9", "1/10", "2/1"]


def refusal(path, kind=RefusedScanError):
    (study,) = find_studies(path)
    with pytest.raises(kind) as caught:
        load_input(choose(study).series, SPEC)
    return str(caught.value)


def test_colour_screenshots(tmp_path):
    planes = np.stack([grey(), 255 - grey(), grey()], axis=-1)
    write(tmp_path / "p" / "s", planes, mode="RGB")
    assert "a colour image" in refusal(tmp_path)


def test_one_colour_screenshot_among_many(tmp_path):
    write(tmp_path / "p" / "s", grey(), mode="RGB")
    Image.new("RGB", (96, 96), "red").save(tmp_path / "p" / "s" / "0001.png")
    assert "0001.png: is a colour image" in refusal(tmp_path)


def test_a_single_image(tmp_path):
    write(tmp_path / "p" / "s", grey()[:1])
    assert "a single image" in refusal(tmp_path)
    assert "a single image" in refusal(tmp_path / "p" / "s" / "0000.png")


def test_a_missing_number(tmp_path):
    write(tmp_path / "p" / "s", grey())
    (tmp_path / "p" / "s" / "0007.png").unlink()
    assert "1 slice is missing from the numbering, after 6" in refusal(tmp_path)
    (tmp_path / "p" / "s" / "0012.png").unlink()
    assert "2 slices are missing from the numbering, the first after 6" in refusal(tmp_path)


def test_sizes_that_differ(tmp_path):
    write(tmp_path / "p" / "s", grey())
    Image.new("L", (50, 60)).save(tmp_path / "p" / "s" / "0003.png")
    assert "different sizes (1 of 60×50, 23 of 96×96)" in refusal(tmp_path)


def test_broken_and_deep_images(tmp_path):
    write(tmp_path / "a" / "s", grey())
    (tmp_path / "a" / "s" / "0003.png").write_text("text")
    assert "0003.png is not an image" in refusal(tmp_path / "a", UnreadableScanError)
    for index in range(24):
        (tmp_path / "a" / "s" / f"{index:04}.png").write_text("text")
    assert "24 of 24 images" in refusal(tmp_path / "a", UnreadableScanError)
    (tmp_path / "b" / "s").mkdir(parents=True)
    for index in range(12):
        deep = Image.fromarray(np.full((64, 64), 3000, np.uint16))
        deep.save(tmp_path / "b" / "s" / f"{index}.png")
    assert "more than 8 bits" in refusal(tmp_path / "b")


def test_no_lung(tmp_path):
    write(tmp_path / "p" / "s", np.where(grey() < 140, 0, grey()).astype(np.uint8))
    assert "not a chest" in refusal(tmp_path)


def test_numbers_sort_as_numbers(tmp_path):
    names = ["10.png", "9.png", "1.png", "img2.png", "img11.png"]
    ordered = [p.name for p in sorted((tmp_path / n for n in names), key=natural_key)]
    assert ordered == ["1.png", "9.png", "10.png", "img2.png", "img11.png"]


def test_a_picture_larger_than_any_slice_is_not_decoded(tmp_path):
    write(tmp_path / "p" / "s", grey())
    file = tmp_path / "p" / "s" / "0003.png"
    data = bytearray(file.read_bytes())
    data[16:24] = struct.pack(">2I", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    file.write_bytes(data)
    assert "0003.png cannot be read (Image size" in refusal(tmp_path, UnreadableScanError)


def test_pictures_that_are_all_cut_short_have_failed(tmp_path):
    write(tmp_path / "p" / "s", grey())
    for file in (tmp_path / "p" / "s").iterdir():
        file.write_bytes(file.read_bytes()[:-200])
    assert ".png cannot be read" in refusal(tmp_path, UnreadableScanError)
