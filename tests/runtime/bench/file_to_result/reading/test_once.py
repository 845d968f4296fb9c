"""What one way to the input says, of scans in several formats."""

import imagecodecs
import numpy as np
import pytest

from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.file_to_result.reading import once as module
from darnet_trt.runtime.bench.file_to_result.reading.encodings import _SYNTAXES
from darnet_trt.runtime.bench.file_to_result.reading.once import once
from darnet_trt.scan.dicom.encoding.codestreams import COMPRESSED
from darnet_trt.scan.dicom.encoding.meta import NATIVE
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.scan.volume import Volume
from tests.scan.pictures import picture_files as pictures
from tests.scan.series_factory import chest, save, slice_dataset, write_series
from tests.scan.written_scans import stored, write_nifti, write_packed

SPEC = Preprocessing(size=(16, 32, 32))
JPEG_2000, JPEG = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70"


def write_compressed(folder, hu, syntax, **attributes):
    """Replace the first slices of a series, or write one."""
    for index, pixels in enumerate(hu):
        if syntax == JPEG:
            code = imagecodecs.ljpeg_encode(pixels.view(np.uint16), bitspersample=16)
        else:
            code = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True)
        own = {"TransferSyntaxUID": syntax, "PixelData": code, "InstanceNumber": index + 1}
        place = (-190.0, -190.0, index * 10.0)
        save(slice_dataset(pixels, place, **own, **attributes), folder / f"IM{index:04d}.dcm")


def test_the_stages_are_parts_of_the_whole(tmp_path):
    write_series(tmp_path)
    found = once(tmp_path, SPEC, cold=False)
    stages = (found.headers, found.decoding, found.preprocessing)
    assert all(one.ms > 0 and one.cpu_ms >= 0 for one in stages)
    assert sum(one.ms for one in stages) == pytest.approx(found.whole.ms)
    assert sum(one.cpu_ms for one in stages) == pytest.approx(found.whole.cpu_ms)
    assert (found.files, found.series, found.slices, found.decoded) == (24, 1, 24, 24)
    assert found.chosen == ("uncompressed pixels",)
    (part,) = found.parts.values()
    assert (part.slices, part.decoded, part.pixels) == (24, 24, 64 * 64)
    pixels_mb = 24 * 64 * 64 * 2 / 1e6
    assert found.decoding.read_mb >= pixels_mb
    assert part.cost.read_mb == pytest.approx(pixels_mb, rel=0.5)
    assert found.headers.read_mb > 0


def test_a_series_in_two_syntaxes_and_a_worse_one_in_a_third(tmp_path):
    hu = chest(24)
    write_series(tmp_path / "1", hu)
    write_compressed(tmp_path / "1", hu[:10], JPEG_2000)  # an archive that was half converted
    write_compressed(tmp_path / "2", hu[:20], JPEG, SeriesInstanceUID="1.2.3.1.2", SeriesNumber=2)
    found = once(tmp_path, SPEC, cold=False)
    assert found.chosen == ("JPEG 2000 lossless", "uncompressed pixels")
    assert {name: (one.slices, one.decoded) for name, one in found.parts.items()} == {
        "JPEG 2000 lossless": (10, 10),
        "uncompressed pixels": (14, 14),
        "JPEG lossless": (20, 20),
    }
    assert (found.series, found.slices, found.files) == (2, 24, 44)
    assert all(part.cost.ms > 0 for part in found.parts.values())


def test_a_packed_volume_file_is_decoded_whole(tmp_path):
    volume = stored(Volume(chest(40), (5.0, 6.0, 6.0)))
    for path, write, name in (
        (tmp_path / "a.nii.gz", write_nifti, "NIfTI, gzip"),
        (tmp_path / "a.nrrd", write_packed, "NRRD"),
    ):
        found = once(write(volume, path), SPEC, cold=False)
        assert found.chosen == (name,)
        assert (found.files, found.slices, found.decoded) == (1, 40, 40)
        assert found.parts[name].decoded == 40


def test_pictures_are_named_by_their_kind(tmp_path):
    pictures.write(tmp_path, pictures.grey())
    found = once(tmp_path, SPEC, cold=False)
    assert found.chosen == ("PNG pictures",)
    assert (found.slices, found.files) == (30, 30)
    assert found.parts["PNG pictures"].decoded == found.decoded > 16


def test_a_cold_round_decodes_nothing_by_itself(tmp_path, monkeypatch):
    write_series(tmp_path)
    dropped = []
    monkeypatch.setattr(module, "drop_from_cache", dropped.append)
    found = once(tmp_path, SPEC, cold=True)
    assert [one.cost for one in found.parts.values()] == [None]
    assert len(dropped) == 1


def test_several_scans_are_refused(tmp_path):
    write_series(tmp_path / "1")
    write_series(tmp_path / "2", StudyInstanceUID="1.2.3.2", SeriesInstanceUID="1.2.3.2.1")
    with pytest.raises(UsageError, match="2 scans"):
        once(tmp_path, SPEC, cold=False)


def test_every_transfer_syntax_that_is_read_has_a_name():
    assert set(_SYNTAXES) == COMPRESSED | NATIVE
