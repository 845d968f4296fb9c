"""Series sorted and judged; every defect ends in a verdict that names it."""

import numpy as np
import pytest
from pydicom.uid import generate_uid

from darnet_trt.scan import find_studies
from tests.scan.series_factory import chest, only, save, series_of, slice_dataset, write_series

TURNED_12_DEG = (0.9781476, -0.2079117)
"""cos 12° and −sin 12°"""


def test_a_plain_series(tmp_path):
    files = write_series(tmp_path)
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.verdict.reason == "24 axial slices, 240 mm"
    assert series.verdict.warnings == ()
    assert series.files == tuple(files)
    assert series.spacing_mm == (10, 6, 6)
    assert series.matrix == (64, 64)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "CR"}, "a radiograph (modality CR), not a CT"),
        ({"Modality": "DX"}, "a radiograph"),
        ({"Modality": "MR"}, "modality MR, not CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "PerFrameFunctionalGroupsSequence has 0"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "derived images"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MIP"]}, "derived images"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour images"),
        ({"ImagePositionPatient": None}, "no valid ImagePositionPatient"),
        ({"PixelSpacing": None}, "no valid PixelSpacing"),
        ({"RescaleIntercept": None}, "no valid RescaleIntercept"),
        ({"RescaleSlope": "0"}, "RescaleSlope is 0"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not axial"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"RescaleSlope": "1e-300"}, "RescaleSlope is 1e-300"),
        ({"ImagePositionPatient": [0, 0, 1e30]}, "no valid ImagePositionPatient"),
        ({"PixelSpacing": [20, 16]}, "1280×1024 mm (at most 1000 mm)"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, *TURNED_12_DEG]}, "gantry tilted by 12.0°"),
    ],
)
def test_what_is_not_an_axial_ct_is_refused_with_its_reason(tmp_path, attributes, reason):
    write_series(tmp_path, **attributes)
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert verdict.readable
    assert reason in verdict.reason


def test_one_slice_at_no_place_in_the_world(tmp_path):
    files = write_series(tmp_path)
    save(slice_dataset(chest()[7], (0, 0, 1e30)), files[7])
    reasons = [series.verdict.reason for series in series_of(tmp_path)]
    assert any(reason.startswith("1 slice is missing: 20 mm between") for reason in reasons)
    assert any(reason == "no valid ImagePositionPatient in the header" for reason in reasons)


def test_a_missing_slice(tmp_path):
    files = write_series(tmp_path)
    files[7].unlink()
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert verdict.reason == (
        "1 slice is missing: 20 mm between z = 60.0 and 80.0 mm where the others lie 10 mm apart "
        "(copy or export the series again)"
    )
    files[12].unlink()
    files[13].unlink()
    assert only(tmp_path).verdict.reason.startswith(
        "3 slices are missing in 2 places, the widest: 30 mm between z = 110.0 and 140.0 mm"
    )


def test_the_place_of_a_missing_slice_is_where_the_patient_s_z_says(tmp_path):
    """A patient who lies 10° askew: slices 10 mm apart along their normal."""
    tilt = np.radians(10)
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    for index, stored in enumerate(chest()):
        ds = slice_dataset(
            stored,
            np.array([-190, -190, 500]) + 10 * index * normal,
            ImageOrientationPatient=[1, 0, 0, 0, float(np.cos(tilt)), float(np.sin(tilt))],
        )
        if index != 10:
            save(ds, tmp_path / f"{index}.dcm")
    assert "20 mm between z = 588.6 and 608.3 mm" in only(tmp_path).verdict.reason


def test_a_truncated_slice_inside_and_at_the_end(tmp_path):
    files = write_series(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:-10])
    series, lost = series_of(tmp_path)
    assert (lost.path, lost.verdict.readable) == (files[-1], False)
    verdict = series.verdict
    assert verdict.usable
    assert verdict.readable
    assert verdict.reason.startswith("23 axial slices")
    assert "IM0023.dcm (truncated: 8182 of 8192 bytes" in verdict.warnings[0]
    files[7].write_bytes(files[7].read_bytes()[:-10])
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert not verdict.readable
    assert "1 slice is missing" in verdict.reason
    assert "IM0007.dcm" in verdict.reason


def test_all_truncated(tmp_path):
    for file in write_series(tmp_path, chest(12)):
        file.write_bytes(file.read_bytes()[:-10])
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert not verdict.readable
    assert "12 of 12 files" in verdict.reason


def test_a_file_broken_in_its_header_is_named_beside_its_neighbours(tmp_path):
    files = write_series(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:140])
    (tmp_path / "IM9999.dcm").write_text("this is text")
    verdict = series_of(tmp_path)[0].verdict
    assert verdict.usable
    assert "IM0023.dcm" in verdict.warnings[0]
    assert "1 more" in verdict.warnings[0]


def test_uneven_spacing(tmp_path):
    for index, z in enumerate([*np.arange(0, 120, 10), *np.arange(124, 200, 7)]):
        save(slice_dataset(chest(1)[0], (0, 0, z)), tmp_path / f"{index}.dcm")
    assert "unevenly spaced (7 to 14 mm)" in only(tmp_path).verdict.reason


@pytest.mark.parametrize(
    ("count", "step_mm", "reason"),
    [(1, 10, "a single slice"), (5, 10, "5 slices"), (24, 15, "15 mm apart")],
)
def test_too_few_or_too_far_apart(tmp_path, count, step_mm, reason):
    write_series(tmp_path, chest()[:count], step_mm=step_mm)
    assert reason in only(tmp_path).verdict.reason


def test_series_of_one_study(tmp_path):
    for number in (2, 1):
        write_series(tmp_path / str(number), SeriesInstanceUID=generate_uid(), SeriesNumber=number)
    (study,) = find_studies(tmp_path)
    assert study.path == tmp_path
    assert study.patient_id == "P1"
    assert [s.number for s in study.series] == [1, 2]


def test_sideways_shift(tmp_path):
    for index, stored in enumerate(chest(24)):
        position = (-190 + (40 if index in (8, 9) else 0), -190, index * 10)
        save(slice_dataset(stored, position), tmp_path / f"{index}.dcm")
    assert "shifted sideways" in only(tmp_path).verdict.reason


@pytest.mark.usefixtures("obeyed_permissions")
def test_a_file_without_permission(tmp_path):
    files = write_series(tmp_path)
    files[-1].chmod(0)
    assert "cannot be opened (Permission denied)" in series_of(tmp_path)[0].verdict.warnings[0]


@pytest.mark.data
def test_the_real_series(data_dir):
    verdicts = {s.path.name: s.verdict for s in series_of(data_dir)}
    assert {name for name, verdict in verdicts.items() if verdict.usable} == {
        "abdomen-j2k", "chest-4mm-64px", "sharp", "soft",
    }  # fmt: skip
    for fact in ("tilted by 18.5°", "unevenly spaced (1.08 to 7 mm)", "thicknesses", "(4, 7 mm)"):
        assert fact in verdicts["head-tilted"].reason
