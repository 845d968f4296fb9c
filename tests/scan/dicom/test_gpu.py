"""A series decoded on a GPU has the CPU's pixels, or the CPU decodes it.

`make gpu ONLY=decoding` runs the tests marked `gpu`. Where the extra gpu-decode is installed, the
same library decodes unsigned slices on the CPU.
"""

import os

import imagecodecs
import numpy as np
import pytest

from darnet_trt.errors import ScanError
from darnet_trt.machine.hardware import package_version
from darnet_trt.machine.worker import Worker, WorkerDied
from darnet_trt.scan import Preprocessing, find_studies, isolated, load_study
from darnet_trt.scan.dicom.encoding import gpu
from darnet_trt.scan.dicom.encoding.gpu import FEWEST, Gpu, decode_series, nvimagecodec
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice, decode_slices
from tests.scan.series_factory import chest, save, slice_dataset

LOSSLESS, LOSSY, HTJ2K, JPEG = (f"1.2.840.10008.1.2.4.{part}" for part in (90, 91, 201, 70))
HU = chest(FEWEST + 4)
INSTALLED = package_version("nvidia-nvimgcodec-cu13") is not None


def stored(dtype, bits):
    """The chest in some bits, with all of their range."""
    low = -(1 << bits - 1) if dtype[0] == "i" else 0
    values = (HU.astype(int) + (0 if dtype[0] == "i" else 1024)) >> max(0, 12 - bits)
    values[:, 0, :2] = low, low + (1 << bits) - 1
    return values.clip(low, low + (1 << bits) - 1).astype(dtype)


def j2k(pixels, bits=None, **options):
    options = {"codecformat": "j2k", "reversible": True, "level": 0, **options}
    return imagecodecs.jpeg2k_encode(pixels, bitspersample=bits, **options)


def write(folder, slices, codes, syntax=LOSSLESS, **attributes):
    """Return the headers of a series."""
    for i, (pixels, code) in enumerate(zip(slices, codes, strict=True)):
        ds = slice_dataset(
            pixels, (-190.0, -190.0, 10.0 * i), InstanceNumber=i + 1, TransferSyntaxUID=syntax,
            PixelData=code, **attributes,
        )  # fmt: skip
        save(ds, folder / f"{i:02}.dcm")
    return [header for path in sorted(folder.iterdir()) for header in read_headers(path)]


def series(folder, dtype="i2", bits=16, **attributes):
    slices = stored(dtype, bits)
    own = bits if bits not in (8, 16) else None
    if own is not None and dtype[0] == "i":  # imagecodecs keeps no sign in 12 bits
        codes = [j2k((one & ((1 << bits) - 1)).astype(f"u{dtype[1]}"), own) for one in slices]
    else:
        codes = [j2k(one, own) for one in slices]
    return write(folder, slices, codes, BitsStored=bits, HighBit=bits - 1, **attributes)


class Decoder:
    """Decodes as the CPU does, and what comes out of it is changed."""

    def __init__(self, change=lambda found: found):
        self.change, self.calls = change, []

    def __call__(self, codestreams):
        self.calls.append(len(codestreams))
        return self.change([imagecodecs.jpeg2k_decode(code) for code in codestreams])


def fail(found):
    raise RuntimeError("no memory")


def same(headers, indices, on_gpu=None):
    """Check that both ways give the same slices, of one type, in one order."""
    found = list(decode_series(headers, indices, on_gpu))
    expected = list(decode_slices(headers, indices, decode_slice))
    assert [i for i, _ in found] == [i for i, _ in expected] == list(indices)
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


KINDS = [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)]


@pytest.mark.parametrize(("dtype", "bits"), KINDS)
def test_one_call_for_a_series(tmp_path, dtype, bits, capfd):
    headers = series(tmp_path, dtype, bits, PixelPaddingValue=int(stored(dtype, bits)[0, 0, 0]))
    decoder = Decoder()
    same(headers, range(len(headers))[::-1], Gpu(decoder))
    assert decoder.calls == [len(headers)]
    assert capfd.readouterr().err == ""


def test_the_order_of_the_frames_counts(tmp_path):
    headers = series(tmp_path)
    decoder = Decoder(lambda found: found[::-1])
    same(headers, range(len(headers)), Gpu(decoder))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: [found[0] ^ 1, *found[1:]],
        lambda found: [one.astype(np.int32) for one in found],
        lambda found: [one[:32] for one in found],
    ],
)
def test_after_a_difference_the_gpu_is_not_asked_again(tmp_path, change, capfd):
    headers, decoder = series(tmp_path), Decoder(change)
    used = Gpu(decoder)
    for _ in range(2):
        same(headers, range(len(headers)), used)
    assert decoder.calls == [len(headers)]
    assert capfd.readouterr().err.count("other pixels than the CPU") == 1


@pytest.mark.parametrize(
    "change", [fail, lambda found: [*found[:-1], None], lambda found: found[1:], lambda found: []]
)
def test_a_series_that_the_gpu_cannot_decode(tmp_path, change, capfd):
    headers, decoder = series(tmp_path), Decoder(change)
    used = Gpu(decoder)
    for _ in range(2):
        same(headers, range(len(headers)), used)
    assert decoder.calls == [len(headers)] * 2
    assert capfd.readouterr().err.count("decoded on the CPU") == 1
    decoder.change = lambda found: found
    assert used.decode(headers) is not None
    decoder.change = lambda found: [~one for one in found]
    same(headers, range(len(headers)), used)
    assert "other pixels than the CPU" in capfd.readouterr().err


def test_what_the_gpu_is_not_asked_for(tmp_path):
    wide, narrow = stored("u2", 16), stored("u2", 12)
    mixed = [j2k(one, 12 if i == 5 else None) for i, one in enumerate(narrow)]
    signs = [j2k(HU[i] if i == 5 else HU[i].view("u2")) for i in range(len(HU))]
    coarse = [j2k(one, resolutions=1 + (i == 5)) for i, one in enumerate(HU)]
    decoder = Decoder()
    for name, headers in {
        "mixed depths": write(tmp_path / "a", narrow, mixed),
        "mixed signs": write(tmp_path / "b", HU, signs),
        "mixed resolutions": write(tmp_path / "c", HU, coarse),
        "a lossy wavelet": write(
            tmp_path / "d", wide, [j2k(one, reversible=False, level=70) for one in wide]
        ),
        "lossy": write(tmp_path / "e", HU, map(j2k, HU), LOSSY),
        "HTJ2K": write(
            tmp_path / "f", HU, [imagecodecs.htj2k_encode(one, reversible=True) for one in HU],
            HTJ2K,
        ),
        "JPEG lossless": write(
            tmp_path / "g", HU, [imagecodecs.ljpeg_encode(one.view("u2")) for one in HU], JPEG
        ),
    }.items():  # fmt: skip
        same(headers, range(len(headers)), Gpu(decoder))
        assert decoder.calls == [], name
    few = series(tmp_path / "few")
    same(few, range(FEWEST - 1), Gpu(decoder))
    same(few, [], Gpu(decoder))
    assert decoder.calls == []


def test_a_damaged_slice_costs_its_scan_what_it_costs_on_the_cpu(tmp_path):
    headers, decoder = series(tmp_path), Decoder()
    codes = [j2k(one) for one in HU]
    codes[7] = codes[7][:900]
    cut = write(tmp_path / "cut", HU, codes)
    for broken in (cut, [*headers[:7], cut[7], *headers[8:]]):
        with pytest.raises(ScanError) as here:
            list(decode_slices(broken, range(len(broken)), decode_slice))
        with pytest.raises(ScanError) as there:
            list(decode_series(broken, range(len(broken)), Gpu(decoder)))
        assert str(here.value) == str(there.value)
    assert decoder.calls == []


def test_a_long_series_takes_several_calls(tmp_path, monkeypatch):
    headers = series(tmp_path)
    monkeypatch.setattr(gpu, "MOST_BYTES", 9 * HU[0].nbytes)
    decoder = Decoder()
    same(headers, range(len(headers)), Gpu(decoder))
    assert decoder.calls == [9, 9, 2]
    decoder = Decoder(lambda found: found if len(decoder.calls) == 1 else fail(found))
    same(headers, range(len(headers)), Gpu(decoder))
    assert decoder.calls == [9, 9]
    monkeypatch.setattr(gpu, "MOST_BYTES", 1)
    decoder = Decoder()
    same(headers, range(len(headers)), Gpu(decoder))
    assert decoder.calls == [1] * len(headers)


def test_the_networks_input_is_the_same(tmp_path, monkeypatch):
    series(tmp_path)
    (study,) = find_studies(tmp_path)
    for resolution, asked in (("full", True), ("half", False)):
        spec, decoder = Preprocessing(size=(16, 16, 16), resolution=resolution), Decoder()
        monkeypatch.setattr(gpu, "_gpu", None)
        expected = load_study(study, spec)[1].array
        monkeypatch.setattr(gpu, "_gpu", Gpu(decoder))
        np.testing.assert_array_equal(load_study(study, spec)[1].array, expected)
        assert bool(decoder.calls) == asked


def test_a_process_that_reads_says_why_it_has_no_gpu(monkeypatch, caplog):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    child = Worker(isolated.MODULE)
    why = child.call(gpu.why_not, timeout_s=60)
    with pytest.raises(WorkerDied) as died:
        child.call(os._exit, 3, timeout_s=60)
    child.close()
    assert why
    assert ("No module" in why) != INSTALLED
    assert ("finds no GPU" in caplog.text) == INSTALLED
    assert died.value.how == "ended with code 3"  # what the library printed is not its last words


@pytest.mark.skipif(not INSTALLED, reason="the extra gpu-decode is not installed")
@pytest.mark.parametrize(("dtype", "bits"), KINDS)
def test_the_library_on_the_cpu(tmp_path, dtype, bits, capfd):
    headers = series(tmp_path, dtype, bits)
    used = Gpu(nvimagecodec(on_cpu=True))
    # Its decoders for the CPU know no sign. Signed slices of 12 bits are written without one here.
    assert (used.decode(headers) is not None) == ((dtype, bits) != ("i2", 16))
    same(headers, range(len(headers)), used)
    capfd.readouterr()


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "bits"), [*KINDS, ("i1", 8)])
def test_on_a_gpu(tmp_path, dtype, bits):
    try:
        used = Gpu(nvimagecodec())
    except ImportError as error:
        pytest.skip(f"the extra gpu-decode is not installed: {error}")
    except RuntimeError as error:
        pytest.skip(f"no GPU: {error}")
    headers = series(tmp_path, dtype, bits)
    assert (used.decode(headers) is not None) == (dtype != "i1")
    same(headers, range(len(headers)), used)
