"""The same lungs give the same input, whatever the scan shows besides."""

import numpy as np
import pytest

from benchmarks.scans.bodies import below, longer
from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Preprocessing, load_input, load_study, preprocess, read_volume
from darnet_trt.scan.preprocessing import NEW
from tests.scan.series_factory import chest, only, write_series, write_study

SPEC = NEW.model_copy(update={"size": (16, 32, 32)})
WHOLE = Preprocessing(size=SPEC.size)


def written(folder, hu, step_mm, **attributes):
    write_series(folder, hu, step_mm=step_mm, **attributes)
    return only(folder)


@pytest.mark.data
@pytest.mark.parametrize("mm", [400, 1400])
def test_slices_below_a_real_chest_change_nothing(data_dir, tmp_path, mm):
    volume = read_volume(only(data_dir / "chest-4mm-64px"))
    step, pixel = volume.spacing_mm[0], list(volume.spacing_mm[1:])
    extra = round(mm / step)
    feet = np.stack([volume.hu[j % 6] + np.int16(j % 3) for j in range(extra)])
    alone = load_input(written(tmp_path / "a", volume.hu, step, PixelSpacing=pixel), SPEC)
    series = written(tmp_path / "b", np.concatenate([feet, volume.hu]), step, PixelSpacing=pixel)
    long = load_input(series, SPEC)
    np.testing.assert_allclose(long.array, alone.array, atol=1e-6)
    assert long.decoded <= alone.decoded
    assert [i - extra for i in long.sampled.indices] == list(alone.sampled.indices)
    assert long.sampled.left_out_mm == pytest.approx(
        alone.sampled.left_out_mm + extra * step, abs=1
    )
    assert "lungs-small-share" not in {w.code for w in long.warnings}
    (warning,) = (w for w in load_input(series, WHOLE).warnings if w.code == "lungs-small-share")
    assert "%" in warning


@pytest.fixture(scope="module")
def body():
    volume = synthesize("normal", 3, matrix=64, slices=(48, 48))
    return longer(volume, feet=below(volume, 500, 1))


def test_the_result_says_which_slices_were_used(tmp_path, body):
    series = written(tmp_path, body.hu, body.spacing_mm[0], PixelSpacing=list(body.spacing_mm[1:]))
    loaded = load_input(series, SPEC)
    sampled = loaded.sampled
    assert len(sampled.indices) == len(sampled.positions_mm) == len(sampled.sop_uids)
    assert loaded.decoded == len(sampled.indices)
    assert sampled.covered[0] <= sampled.indices[0] < sampled.lungs[0]
    assert sampled.lungs[1] < sampled.indices[-1] <= sampled.covered[1]
    for index, mm, uid in zip(sampled.indices, sampled.positions_mm, sampled.sop_uids, strict=True):
        assert mm == pytest.approx(index * body.spacing_mm[0], abs=0.01)
        assert uid == series.headers[index].get("SOPInstanceUID")
    assert sampled.left_out == pytest.approx(
        1 - (sampled.covered[1] - sampled.covered[0] + 1) / series.slices
    )
    np.testing.assert_allclose(loaded.array, preprocess(SPEC, read_volume(series)), atol=2e-6)


def test_a_whole_scan_without_lungs_in_sight_is_refused_as_before(tmp_path, body):
    series = written(tmp_path, body.hu[:40], 10.0)
    with pytest.raises(Exception, match="not a chest"):
        load_input(series, SPEC)


def test_the_series_that_shows_the_lungs_whole_is_chosen(tmp_path):
    hu = chest(24)
    cut = hu[:16]  # without the apex
    found = write_study(
        tmp_path, cut, hu, SeriesDescription=("Upper", ""), ConvolutionKernel=("B30f", "B70f")
    )
    choice, _ = load_study(found, SPEC)
    assert choice.series.number == 2
    assert "both lungs whole" in choice.why
    assert "series 1 (Upper)" in choice.why
