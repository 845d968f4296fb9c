"""What the Parametric Map shows lies where it is in the patient."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from pydicom import dcmread
from scipy.spatial.transform import Rotation

from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.synthesis import synthesize_scan
from darnet_trt.scan import Volume
from tests.runtime.delivery.examined.made import made_objects
from tests.runtime.delivery.examined.marked_scans import (
    mark_slices,
    marked,
    metal_bundle,
    places_of,
)
from tests.runtime.delivery.examined.read_back import map_by_highdicom, map_by_pydicom, references
from tests.scan.written_scans import AXIAL_ORDERS, stored, write_classic, write_enhanced

CLOSE = 0.15  # of a cell; a cell taken for the middle of equal parts is off by half a cell
PHANTOM = synthesize_scan("normal", 3, matrix=64, slices=(30, 30))


def within(volume: Volume, *share: float) -> np.ndarray:
    """Return the place at these shares of the way along d, h and w."""
    steps = (np.array(volume.hu.shape) - 1) * share * volume.spacing_mm
    return volume.origin_mm + volume.direction @ steps


def named(folder, number):
    """Make a study of its own of the slices in a folder."""
    for file in folder.iterdir():
        ds = dcmread(file)
        ds.StudyInstanceUID = f"2.25.1.{number}"
        ds.SeriesInstanceUID = f"2.25.1.{number}.1"
        ds.FrameOfReferenceUID = f"2.25.1.{number}.2"
        ds.SOPInstanceUID = f"2.25.1.{number}.3.{ds.InstanceNumber}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(file)


def check(files, truths, axes=None):
    """Compare each study's map, read in two ways, with the place of its ball."""
    assert files.keys() == truths.keys()
    off = {}
    for name, truth in truths.items():
        by_pydicom = map_by_pydicom(files[name].files["pm"])
        by_highdicom = map_by_highdicom(files[name].files["pm"])
        for read in (by_pydicom, by_highdicom):
            assert np.linalg.norm(read.hottest - truth) < np.linalg.norm(read.steps_mm), name
        assert np.allclose(by_pydicom.centre, by_highdicom.centre, atol=0.01), name
        away = by_pydicom.centre - truth if axes is None else axes.T @ (by_pydicom.centre - truth)
        off[name] = np.round(away / by_pydicom.steps_mm[[2, 1, 0]], 2).tolist()
    wrong = {name: away for name, away in off.items() if np.abs(away).max() > CLOSE}
    assert not wrong


def test_every_orientation_of_phantoms(tmp_path):
    volume, truth = marked(PHANTOM.volume, within(PHANTOM.volume, 0.6, 0.45, 0.3))
    scans, truths = tmp_path / "scans", {}
    for number, flips in enumerate(product((False, True), repeat=3)):
        acquisition = replace(PHANTOM.acquisition, flips=flips)
        folder = scans / str(number)
        folder.mkdir(parents=True)
        scan = replace(PHANTOM, volume=volume, acquisition=acquisition)
        write_dicom(scan, folder, f"P{number}", 0, "marked")
        truths[str(number)] = truth
    bundle = metal_bundle(tmp_path / "bundle", extent="lungs")
    check(made_objects(bundle, scans, tmp_path / "out", ["pm"]), truths)


@pytest.mark.parametrize(
    ("write", "orders"),
    [
        pytest.param(write_classic, AXIAL_ORDERS, marks=pytest.mark.slow),
        (write_classic, AXIAL_ORDERS[2::5]),
        (write_enhanced, AXIAL_ORDERS[3::6]),
    ],
    ids=["all", "classic", "enhanced"],
)
def test_every_order_of_rows_columns_and_slices(write, orders, tmp_path):
    whole = PHANTOM.volume
    cut = replace(whole, hu=whole.hu[:, 4:56], origin_mm=within(whole, 0, 4 / 63, 0))
    volume, truth = marked(cut, within(cut, 0.35, 0.5, 0.7))
    scans, truths = tmp_path / "scans", {}
    for number, (axes, flips) in enumerate(orders):
        named(write(stored(volume, axes, flips), scans / str(number)), number)
        truths[str(number)] = truth
    check(made_objects(metal_bundle(tmp_path / "b"), scans, tmp_path / "out", ["pm"]), truths)


@pytest.fixture(scope="module")
def real(data_dir, tmp_path_factory):
    """Real series with a ball each, and its places."""
    folder, truths = tmp_path_factory.mktemp("real"), {}
    for number, name in enumerate(("chest-4mm-64px", "chest-8mm/soft")):
        slices = [dcmread(file) for file in (data_dir / name).iterdir()]
        slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
        low, high = places_of(slices[0])[0, 0], places_of(slices[-1])[-1, -1]
        truths[str(number)] = mark_slices(slices, low + (high - low) * [0.3, 0.45, 0.55], 18)
        (folder / str(number)).mkdir()
        for place, ds in enumerate(slices):
            ds.save_as(folder / str(number) / f"{place}.dcm")
    return folder, truths


@pytest.mark.data
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"extent": "scan"}, marks=pytest.mark.slow),
        {"extent": "lungs", "depth_snap": 0.2, "resolution": "half"},
    ],
)
def test_real_series(real, spec, tmp_path):
    scans, truths = real
    bundle = metal_bundle(tmp_path / "bundle", **spec)
    check(made_objects(bundle, scans, tmp_path / "out", ["pm"]), truths)


@pytest.mark.parametrize("enhanced", [False, True], ids=["classic", "enhanced"])
def test_the_report_names_slices_that_show_the_ball(enhanced, tmp_path):
    volume, truth = marked(PHANTOM.volume, within(PHANTOM.volume, 0.7, 0.5, 0.35))
    axes, flips = AXIAL_ORDERS[4]  # stored from the head down
    write = write_enhanced if enhanced else write_classic
    named(write(stored(volume, axes, flips), tmp_path / "scans" / "0"), 0)
    bundle = metal_bundle(tmp_path / "b", extent="lungs")
    made = made_objects(bundle, tmp_path / "scans", tmp_path / "out", ["sr"])
    heights = {}
    for file in (tmp_path / "scans" / "0").iterdir():
        ds = dcmread(file)
        frames = ds.get("PerFrameFunctionalGroupsSequence")
        for number, own in enumerate(frames or [ds], 1):
            place = own.PlanePositionSequence[0] if frames else own
            which = ds.SOPInstanceUID, number if frames else None
            heights[which] = float(place.ImagePositionPatient[2])
    report = dcmread(made["0"].files["sr"])
    shown = [
        heights[item.ReferencedSOPInstanceUID, item.get("ReferencedFrameNumber")]
        for item in references(report.ContentSequence[-1])
    ]
    assert shown
    cell_mm = 8 * (max(heights.values()) - min(heights.values())) / 64
    assert min(abs(mm - truth[2]) for mm in shown) < cell_mm / 2 + volume.spacing_mm[0]
    assert max(abs(mm - truth[2]) for mm in shown) < 2 * cell_mm


def test_oblique_slices(tmp_path):
    volume, truth = marked(PHANTOM.volume, within(PHANTOM.volume, 0.6, 0.5, 0.35))
    turn = Rotation.from_euler("xyz", (9, -8, 5), degrees=True).as_matrix()
    named(write_classic(stored(volume), tmp_path / "scans" / "0"), 0)
    for file in (tmp_path / "scans" / "0").iterdir():
        ds = dcmread(file)
        cosines = np.array(ds.ImageOrientationPatient, float).reshape(2, 3) @ turn.T
        ds.ImageOrientationPatient = [f"{v:.10g}" for v in cosines.ravel()]
        place = turn @ np.array(ds.ImagePositionPatient, float)
        ds.ImagePositionPatient = [f"{v:.10g}" for v in place]
        ds.save_as(file)
    made = made_objects(metal_bundle(tmp_path / "b"), tmp_path / "scans", tmp_path / "out", ["pm"])
    check(made, {"0": turn @ truth}, turn)
