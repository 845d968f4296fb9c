"""From a series to the network's input."""

import numpy as np
import pytest

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import (
    Preprocessing,
    judge_pixels,
    load_input,
    load_study,
    preprocess,
    read_volume,
)
from tests.scan.series_factory import chest, only, write_series, write_study

SMALL = Preprocessing(size=(16, 32, 32))


NO_CHEST = np.where(chest() < -500, -1000, chest()).astype(np.int16)


@pytest.mark.parametrize("spec", [SMALL, Preprocessing()])
def test_streamed_equals_whole(tmp_path, spec):
    write_series(tmp_path, chest(40), step_mm=6.0)
    series = only(tmp_path)
    loaded = load_input(series, spec)
    assert loaded.array.shape == (1, *spec.size)
    assert loaded.array.dtype == np.float32
    np.testing.assert_allclose(loaded.array, preprocess(spec, read_volume(series)), atol=2e-6)
    assert loaded.decoded == (16 if spec is SMALL else 40)
    pixels, (_, mm, _) = series.matrix[0], series.spacing_mm
    assert loaded.pixel_mm == pytest.approx(mm * max(1, pixels / spec.size[1]))
    assert loaded.read_ms > 0
    assert loaded.preprocess_ms > 0
    assert loaded.warnings == ()


def test_a_slice_that_is_not_needed_is_not_read(tmp_path):
    files = write_series(tmp_path, chest(48), step_mm=5.0)
    series = only(tmp_path)
    files[1].unlink()  # after the headers were read; 48 → 16 takes every third from index 1
    with pytest.raises(UnreadableScanError, match="IM0001"):
        load_input(series, SMALL)
    write_series(tmp_path, chest(48), step_mm=5.0)
    series = only(tmp_path)  # the files have other UIDs, and their pixels another place
    files[2].unlink()
    assert load_input(series, SMALL).decoded == 16


@pytest.mark.parametrize(
    ("hu", "reason"),
    [
        (chest() * 0, "same value"),
        (NO_CHEST, "not a chest"),
        ((chest() + 1024).astype(np.int16), "of them air"),
    ],
)
def test_pixels_that_are_no_chest(tmp_path, hu, reason):
    write_series(tmp_path, hu)
    series = only(tmp_path)
    with pytest.raises(RefusedScanError, match=reason):
        load_input(series, SMALL)
    verdict = judge_pixels(series, SMALL)
    assert not verdict.usable
    assert reason in verdict.reason


def test_a_refused_series_cannot_be_loaded(tmp_path):
    write_series(tmp_path, Modality="MR")
    for load in (lambda s: load_input(s, SMALL), read_volume):
        with pytest.raises(RefusedScanError, match="modality MR"):
            load(only(tmp_path))


def test_pixels_cut_after_the_headers_were_read(tmp_path):
    files = write_series(tmp_path)
    series = only(tmp_path)
    files[4].write_bytes(files[4].read_bytes()[:-100])
    with pytest.raises(UnreadableScanError, match="IM0004"):
        read_volume(series)


def test_the_next_best_series_where_the_first_is_no_chest(tmp_path):
    found = write_study(tmp_path, NO_CHEST, chest(), SeriesDescription=("Thorax", ""))
    choice, loaded = load_study(found, SMALL)
    assert choice.series.number == 2
    assert choice.why == "shows both lungs whole; series 1 (Thorax) shows no lung"
    np.testing.assert_array_equal(loaded.array, load_input(found.series[1], SMALL).array)
    assert loaded.warnings == ()


def test_the_next_best_series_where_a_slice_of_the_first_is_broken(tmp_path):
    found = write_study(tmp_path, chest(), chest())
    found.series[0].files[4].unlink()  # after the headers were read
    _, loaded = load_study(found, Preprocessing())
    (warning,) = loaded.warnings
    assert warning.code == "series-skipped"
    for fact in ("series 1", "IM0004.dcm", "No such file or directory"):
        assert fact in warning


def test_no_series_of_a_study_can_be_used(tmp_path):
    found = write_study(tmp_path, NO_CHEST, chest() * 0, NO_CHEST)
    with pytest.raises(RefusedScanError, match="not a chest") as caught:
        load_study(found, SMALL)
    assert "series 2, series 3" in caught.value.what
    assert caught.value.where == str(found.path)


def test_a_study_of_one_series_raises_its_error(tmp_path):
    found = write_study(tmp_path, chest())
    found.series[0].files[4].unlink()
    with pytest.raises(UnreadableScanError) as caught:
        load_study(found, Preprocessing())
    assert caught.value.where == str(found.series[0].files[4])


@pytest.mark.data
@pytest.mark.parametrize("name", ["chest-4mm-64px", "chest-8mm/sharp", "chest-8mm/soft"])
def test_real_chests_load(data_dir, name):
    series = only(data_dir / name)
    spec = Preprocessing()
    loaded = load_input(series, spec)
    assert loaded.warnings == ()
    np.testing.assert_allclose(loaded.array, preprocess(spec, read_volume(series)), atol=2e-6)
    assert 0.2 < loaded.array.mean() < 0.6


@pytest.mark.data
def test_the_real_volume_as_simpleitk_reads_it(data_dir):
    import SimpleITK

    files = [str(f) for f in only(data_dir / "chest-4mm-64px").files]
    image = SimpleITK.ReadImage(files)
    volume = read_volume(only(data_dir / "chest-4mm-64px"))
    np.testing.assert_array_equal(volume.hu, SimpleITK.GetArrayFromImage(image))
    assert volume.origin_mm == pytest.approx(image.GetOrigin())
    assert volume.spacing_mm[::-1] == pytest.approx(image.GetSpacing(), abs=1e-3)
