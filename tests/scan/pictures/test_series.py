"""Folders of image slices, as CC-CCII publishes them."""

import numpy as np
import pytest
from PIL import Image

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Preprocessing, choose, find_studies, load_input, preprocess, read_volume
from darnet_trt.scan.pictures import slice_series
from tests.scan.pictures.picture_files import chest, grey, write, write_tiffs
from tests.scan.series_factory import only

SPEC = Preprocessing(size=(16, 32, 32))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("digits", [4, 1])
def test_a_folder_of_grey_slices(tmp_path, mode, digits):
    write(tmp_path / "p7" / "scan1", grey(), mode=mode, digits=digits)
    (study,) = find_studies(tmp_path)
    assert study.patient_id == "p7"
    series = choose(study).series
    assert series.format == "slices"
    assert series.spacing_mm is None
    assert series.verdict.reason == "30 image slices"
    codes = [warning.code for warning in series.verdict.warnings]
    assert codes == ["assumed-window", "assumed-left-right"]
    assert not series.oriented
    loaded = load_input(series, SPEC)
    expected = preprocess(Preprocessing(size=SPEC.size), read_volume(series))
    np.testing.assert_allclose(loaded.array, expected, atol=1e-5)
    np.testing.assert_allclose(read_volume(series).hu[3], grey()[3] / 255 * 1500 - 1350, atol=1e-3)


def test_slices_numbered_from_the_feet(tmp_path):
    write(tmp_path / "down" / "s", grey())
    write(tmp_path / "up" / "s", grey()[::-1])
    down, up = (load_input(only(tmp_path / name), SPEC) for name in ("down", "up"))
    np.testing.assert_allclose(up.array, down.array, atol=1e-6)
    assert [str(warning) for warning in up.warnings] != [str(warning) for warning in down.warnings]


def test_grey_spans_the_window_whatever_it_is(tmp_path):
    write(tmp_path / "p" / "s", grey())
    series = only(tmp_path)
    wide = Preprocessing(size=SPEC.size, window_center_hu=-550, window_width_hu=1700)
    wide = Preprocessing(size=SPEC.size, window_center_hu=-400, window_width_hu=1200)
    np.testing.assert_allclose(
        load_input(series, wide).array, load_input(series, wide).array, atol=1e-5
    )


def test_jpeg(tmp_path):
    write(tmp_path / "p" / "s", grey(), suffix="jpg")
    loaded = load_input(only(tmp_path), SPEC)
    assert 12 <= loaded.decoded <= 30
    assert loaded.array.std() > 0.2


def test_every_scan_folder_is_a_study(tmp_path):
    for patient, scan in (("1", "10"), ("1", "9"), ("2", "1")):
        write(tmp_path / patient / scan, grey()[:12])
    paths = [str(study.path.relative_to(tmp_path)) for study in find_studies(tmp_path)]
    assert paths == ["1/9", "1/10", "2/1"]


def refusal(path, kind=RefusedScanError):
    """Return what is wrong with the only scan there."""
    (study,) = find_studies(path)
    with pytest.raises(kind) as caught:
        load_input(choose(study).series, SPEC)
    return caught.value


def refused(path, code, kind=RefusedScanError):
    """Return the sentence of a refusal with this code."""
    (series,) = slice_series(path, list(path.iterdir()))
    assert series.verdict.reason.code == code
    assert series.verdict.readable is (kind is RefusedScanError)
    return series.verdict.reason


def test_colour_screenshots(tmp_path):
    planes = np.stack([grey(), 255 - grey(), grey()], axis=-1)
    write(tmp_path, planes, mode="RGB")
    assert refusal(tmp_path).code == "colour-picture"


def test_one_colour_screenshot_among_many(tmp_path):
    write(tmp_path / "p" / "s", grey(), mode="RGB")
    Image.new("RGB", (96, 96), "red").save(tmp_path / "p" / "s" / "0001.png")
    error = refusal(tmp_path)
    assert error.code == "colour-picture"
    assert "0001.png" in str(error)


def test_a_single_image(tmp_path):
    write(tmp_path / "p" / "s", grey()[:1])
    assert "a single slice" in str(refusal(tmp_path))
    assert "a single slice" in str(refusal(tmp_path / "p" / "s" / "0000.png"))


def test_a_missing_number(tmp_path):
    write(tmp_path, grey())
    (tmp_path / "0007.png").unlink()
    assert "1 slice is missing from the numbering, after 6" in refused(tmp_path, "missing-numbers")
    (tmp_path / "0012.png").unlink()
    assert "2 slices are missing" in refused(tmp_path, "missing-numbers")


def test_sizes_and_types_that_differ(tmp_path):
    write(tmp_path, grey())
    Image.new("L", (50, 60)).save(tmp_path / "0003.png")
    assert "1 of 60×50" in refused(tmp_path, "different-pictures")
    Image.fromarray(np.full((96, 96), 3000, np.uint16)).save(tmp_path / "0003.png")
    assert "1 of 96×96 uint16" in refused(tmp_path, "different-pictures")


def test_small_pictures(tmp_path):
    write(tmp_path, grey()[:, ::8, ::8])
    (series,) = slice_series(tmp_path, list(tmp_path.iterdir()))
    assert not series.verdict.usable


def test_broken_pictures(tmp_path):
    write(tmp_path, grey())
    (tmp_path / "0003.png").write_text("text")
    assert "0003.png" in refused(tmp_path, "not-a-picture", UnreadableScanError)
    for index in range(30):
        (tmp_path / f"{index:04}.png").write_text("text")
    assert "30 of 30" in refused(tmp_path, "not-a-picture", UnreadableScanError)


def test_no_lung(tmp_path):
    write(tmp_path / "p" / "s", np.where(grey() < 140, 0, grey()).astype(np.uint8))
    assert "not a chest" in str(refusal(tmp_path))


def test_pictures_that_are_all_cut_short_have_failed(tmp_path):
    write(tmp_path, grey())
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-200])
    error = refusal(tmp_path, UnreadableScanError)
    assert error.code == "cannot-read"
    assert ".png" in str(error)


def test_lungs_that_were_cut_out(tmp_path):
    scan = synthesize("normal", 3, matrix=96, slices=(30, 30))
    planes = np.rint((scan.hu + 1350.0) / 1500 * 255).clip(0, 255).astype(np.uint8)
    d, h, w = np.mgrid[-1:1:30j, -1:1:96j, -1:1:96j]
    lungs = (h / 0.45) ** 2 + ((abs(w) - 0.33) / 0.28) ** 2 + (d / 0.8) ** 2 < 1
    write(tmp_path / "p" / "s", np.where(lungs & (planes < 170), planes, 0))
    assert refusal(tmp_path).code == "segmented-lungs"


def test_scans_of_one_flat_folder(tmp_path):
    for prefix, planes in (("NCP_96_1328_", grey(20)), ("CP_1070_3123_", grey(30)[:, :, ::-1])):
        write(tmp_path, planes, prefix=prefix)
    cp, ncp = find_studies(tmp_path)
    assert [cp.path.name, ncp.path.name] == ["CP_1070_3123", "NCP_96_1328"]
    assert [study.series[0].slices for study in (cp, ncp)] == [30, 20]
    assert cp.patient_id == ncp.patient_id == ""
    for study in (cp, ncp):
        assert study.series[0].verdict.usable
        assert len({file.name[:3] for file in study.series[0].files}) == 1


def test_masks_beside_the_slices_are_left_out(tmp_path):
    planes = grey()
    write(tmp_path, planes)
    for index in range(30):
        mask = Image.fromarray(((planes[index] < 90) * 255).astype(np.uint8))
        mask.save(tmp_path / f"{index:04d}_mask.png")
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.slices == 30
    assert "masks-left-out" in [warning.code for warning in series.verdict.warnings]


def test_masks_that_no_name_tells(tmp_path):
    planes = grey()
    masks = ((planes < 90) * 255).astype(np.uint8)
    write(tmp_path / "alone", masks)
    assert refusal(tmp_path / "alone").code == "mask"
    write(tmp_path / "every-other", np.stack([planes, masks], 1).reshape(60, 96, 96))
    assert refusal(tmp_path / "every-other").code == "mask"
    write(tmp_path / "beside", planes, prefix="ct")
    write(tmp_path / "beside", masks, prefix="gt")
    ct, gt = (study.series[0] for study in find_studies(tmp_path / "beside"))
    assert load_input(ct, SPEC).array.std() > 0.2
    with pytest.raises(RefusedScanError) as caught:
        load_input(gt, SPEC)
    assert caught.value.code == "mask"


@pytest.mark.parametrize("other", ["03.png", "0003.jpg"])
def test_a_number_that_occurs_twice(tmp_path, other):
    write(tmp_path, grey())
    Image.fromarray(grey()[3]).save(tmp_path / other)
    assert "the number 3" in refused(tmp_path, "repeated-number")


def test_a_picture_without_a_number_is_left_out(tmp_path):
    write(tmp_path, grey())
    Image.new("RGB", (300, 200)).save(tmp_path / "preview.png")
    series = only(tmp_path)
    assert series.verdict.usable
    assert "pictures-left-out" in [warning.code for warning in series.verdict.warnings]


def test_names_that_give_no_order(tmp_path):
    for index, plane in enumerate(grey()):
        Image.fromarray(plane).save(tmp_path / f"{'abcdefghijklmnopqrstuvwxyzäöüß'[index]}.png")
    refused(tmp_path, "no-slice-numbers")


@pytest.mark.parametrize(
    ("offset_hu", "dtype"), [(0, "int16"), (-1024, "int16"), (-1024, "uint16"), (-32768, "uint16")]
)
def test_hounsfield_units_of_16_bits(tmp_path, offset_hu, dtype):
    hu = chest().clip(-1024)
    write_tiffs(tmp_path / "p" / "s", (hu.astype(np.int32) - offset_hu).astype(dtype))
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.calibrated
    np.testing.assert_array_equal(read_volume(series).hu, hu)
    loaded = load_input(series, SPEC)
    (assumed,) = (warning for warning in loaded.warnings if warning.code == "assumed-offset")
    assert ("adding" in assumed) is (offset_hu != 0)
    np.testing.assert_allclose(loaded.array, preprocess(SPEC, read_volume(series)), atol=1e-5)


@pytest.mark.parametrize("scale", [16, 0.1])
def test_values_of_16_bits_that_are_no_hounsfield_units(tmp_path, scale):
    write_tiffs(tmp_path, ((chest().clip(-1024) + 1024.0) * scale).astype(np.uint16))
    assert refusal(tmp_path).code == "unknown-grey"


def test_lungs_cut_out_of_16_bits(tmp_path):
    hu = chest().astype(np.int32)
    lung = (hu > -960) & (hu < -500)
    write_tiffs(tmp_path, np.where(lung, hu + 1024, 0).astype(np.uint16))
    assert refusal(tmp_path).code == "segmented-lungs"


def test_no_picture_is_decoded_to_find_it(tmp_path, monkeypatch):
    write(tmp_path / "png", grey())
    write_tiffs(tmp_path / "tiff", chest())
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", pytest.fail)
    monkeypatch.setattr("imagecodecs.tiff_decode", pytest.fail)
    assert [study.series[0].verdict.usable for study in find_studies(tmp_path)] == [True, True]


def test_a_refusal_says_what_to_do(tmp_path):
    pages = [Image.fromarray(plane) for plane in grey()]
    (tmp_path / "stack").mkdir()
    pages[0].save(tmp_path / "stack" / "a.tif", save_all=True, append_images=pages[1:])
    reason = refused(tmp_path / "stack", "several-pictures")
    assert "each slice as a file of its own" in reason


@pytest.mark.parametrize("first", [5, 15, 27])
def test_a_numbering_that_begins_within_the_scan(tmp_path, first):
    hu = synthesize("normal", 2, matrix=64, slices=(30, 30)).hu
    slices = np.rint((hu + 1350.0) / 1500 * 255).clip(0, 255).astype(np.uint8)
    write(tmp_path / "right" / "s", slices)
    write(tmp_path / "wrong" / "s", np.roll(slices, -first, axis=0))
    whole = Preprocessing(size=(64, 32, 32))  # needs every slice
    codes = [
        [warning.code for warning in load_input(only(tmp_path / name), whole).warnings]
        for name in ("right", "wrong")
    ]
    assert "slices-in-disorder" not in codes[0]
    assert "slices-in-disorder" in codes[1]
