"""A bundle's arrays: whatever is wrong with their file is one error that names it."""

import numpy as np
import pytest

from darnet_trt.bundle.arrays import read_arrays
from darnet_trt.bundle.reading import open_bundle, sha256_of
from darnet_trt.bundle.reference import read_reference
from darnet_trt.errors import BundleError
from darnet_trt.runtime.prediction.pipeline.familiarity import read_familiarity
from darnet_trt.runtime.training_scans import training_scans_of
from tests.tiny_bundle import change_manifest, write_bundle

READERS = {
    "training_scans": training_scans_of,
    "familiarity": read_familiarity,
    "reference": read_reference,
}


def not_an_archive(path):
    path.write_bytes(b"not an archive")


def empty(path):
    path.write_bytes(b"")


def beginning_of_an_archive(path):
    np.savez(path, means=np.zeros(1000))
    path.write_bytes(path.read_bytes()[:1000])


def changed_byte(path):
    np.savez(path, inputs=np.ones(1000), means=np.ones(1000), slices_of_scan=np.ones(1000))
    content = path.read_bytes()
    path.write_bytes(content.replace(np.float64(1).tobytes(), np.float64(2).tobytes()))


def one_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def other_arrays(path):
    np.savez(path, other=np.zeros(3))


def other_shapes(path):
    names = ("means", "precision", "threshold", "slices", "slices_of_scan", "inputs", "logits")
    np.savez(path, **dict.fromkeys(names, np.ones((2, 3))))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "damage",
    [not_an_archive, empty, beginning_of_an_archive, changed_byte, one_array, other_arrays,
     other_shapes],
)  # fmt: skip
def test_damage_of_every_kind_is_one_error(tmp_path, reader, damage):
    bundle = write_bundle(tmp_path / "bundle")
    file = bundle / "arrays.npz"
    damage(file)
    more = {"scans": 1, "source": "phantoms"} if reader == "reference" else {}
    entry = {"file": file.name, "sha256": sha256_of(file), **more}
    change_manifest(bundle, **{reader: entry})
    with pytest.raises(BundleError, match=r"arrays\.npz: cannot be read .*build the bundle again"):
        READERS[reader](open_bundle(bundle))


def test_what_is_made_of_the_arrays_is_returned(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    np.savez(bundle / "arrays.npz", slices=np.arange(3))
    entry = {"file": "arrays.npz", "sha256": sha256_of(bundle / "arrays.npz")}
    change_manifest(bundle, training_scans=entry)
    found = read_arrays(open_bundle(bundle), "arrays.npz", lambda arrays: arrays["slices"].sum())
    assert found == 3
