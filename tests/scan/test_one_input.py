"""One scan gives one network input, whatever format it is stored in and whatever its axes."""

import functools

import numpy as np
import pytest

from darnet_trt.phantom.synthesis import synthesize
from darnet_trt.scan import Preprocessing, Volume, choose, find_studies, load_study, read_volume
from tests.scan import written_scans as writers
from tests.scan.written_scans import AXIAL_ORDERS, EVERY_ORDER, SYNTAXES, VOLUME_FILES, stored
from tests.short import SHORT

SPEC = Preprocessing(size=(16, 56, 56), extent="lungs")
FEW_WAYS = [((0, 1, 2), ()), ((2, 0, 1), (True, False, True))]
REAL = ("chest-4mm-64px", "chest-8mm/sharp", "chest-8mm/soft")
FORMS = [*VOLUME_FILES, *SYNTAXES, "enhanced", "zip", "gzip"]


def name(order):
    axes, flips = order
    return "".join("dhw"[a].upper() if flips and flips[a] else "dhw"[a] for a in axes)


def load(path, spec=SPEC):
    (study,) = find_studies(path)
    return load_study(study, spec)[1].array


@functools.cache
def phantom():
    """Return a chest whose spacing and place binary floats hold exactly."""
    volume = synthesize("normal", 3, matrix=64, slices=(32, 32))
    return Volume(volume.hu.clip(-1024), (9.5, 5.5, 5.5), (-171.25, -169.5, 12.75))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the input of the phantom, read from the plainest DICOM series."""
    array = load(writers.write_classic(stored(phantom()), tmp_path_factory.mktemp("plain")))
    assert array.std() > 0.2
    return array


@pytest.mark.parametrize("order", EVERY_ORDER, ids=name)
@pytest.mark.parametrize("file", ["a.nii", "a.nrrd", "a.mha"])
def test_every_order_of_the_axes(tmp_path, expected, file, order):
    path = VOLUME_FILES[file](stored(phantom(), *order), tmp_path / file)
    np.testing.assert_allclose(load(path), expected, atol=1e-6)


@pytest.mark.parametrize("order", FEW_WAYS, ids=name)
@pytest.mark.parametrize("file", VOLUME_FILES)
def test_every_volume_file(tmp_path, expected, file, order):
    path = VOLUME_FILES[file](stored(phantom(), *order), tmp_path / file)
    np.testing.assert_allclose(load(path), expected, atol=1e-6)
    np.testing.assert_allclose(load(path.parent), expected, atol=1e-6)


@pytest.mark.parametrize("order", AXIAL_ORDERS, ids=name)
@pytest.mark.parametrize("write", [writers.write_classic, writers.write_enhanced])
def test_every_order_of_axial_slices(tmp_path, expected, write, order):
    folder = write(stored(phantom(), *order), tmp_path / "a")
    np.testing.assert_allclose(load(folder), expected, atol=1e-6)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("write", [writers.write_classic, writers.write_enhanced])
def test_every_lossless_transfer_syntax(tmp_path, expected, write, syntax):
    folder = write(stored(phantom()), tmp_path / "a", syntax)
    np.testing.assert_allclose(load(folder), expected, atol=1e-6)


@pytest.mark.parametrize("syntax", ["explicit", "deflated", "jpeg-2000"])
@pytest.mark.parametrize("write", [writers.write_classic, writers.write_enhanced])
def test_packed_dicom(tmp_path, expected, write, syntax):
    folder = write(stored(phantom()), tmp_path / "a", syntax)
    packed = [writers.packed(folder, tmp_path / "a.zip"), writers.gzipped(folder, tmp_path / "gz")]
    for path in packed:
        np.testing.assert_allclose(load(path), expected, atol=1e-6)


@pytest.mark.parametrize("file", VOLUME_FILES)
def test_packed_volume_files(tmp_path, expected, file):
    folder = VOLUME_FILES[file](stored(phantom()), tmp_path / "a" / file).parent
    packed = writers.packed(folder, tmp_path / "a.zip")
    np.testing.assert_allclose(load(packed), expected, atol=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(
    ("form", "series"),
    [
        # Each form with one series; the others with each are slow.
        pytest.param(form, series, marks=[pytest.mark.slow] * ((n - of) % len(REAL) != 0))
        for n, form in enumerate(FORMS)
        for of, series in enumerate(REAL)
        if not SHORT or n % len(REAL) == of
    ],
)
def test_real_series(data_dir, tmp_path, series, form):
    reference, volume = _real(data_dir / series)
    scan = stored(volume)
    if form in VOLUME_FILES:
        path = VOLUME_FILES[form](scan, tmp_path / form)
    elif form in SYNTAXES:
        path = writers.write_classic(scan, tmp_path / "a", form)
    elif form == "enhanced":
        path = writers.write_enhanced(scan, tmp_path / "a")
    elif form == "zip":
        path = writers.packed(data_dir / series, tmp_path / "a.zip")
    else:
        path = writers.gzipped(data_dir / series, tmp_path / "a")
    np.testing.assert_allclose(load(path), reference, atol=1e-6)


@functools.cache
def _real(folder):
    """Return the input of a real series, and its voxels."""
    (study,) = find_studies(folder)
    return load(folder), read_volume(choose(study).series)
