"""The header walker gives what pydicom gives, on every file."""

import imagecodecs
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, HTJ2KLossless

from darnet_trt.errors import ScanError, UnreadableScanError
from darnet_trt.scan.dicom.attributes import WANTED, plain_value
from darnet_trt.scan.dicom.encoding.meta import EXPLICIT, IMPLICIT
from darnet_trt.scan.dicom.fitness import unfit
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice
from tests.scan.enhanced_factory import enhanced_dataset
from tests.scan.series_factory import chest, save, slice_dataset


def read(path):
    (header,) = read_headers(path)
    return header


def as_written(values):
    """Return the slice's place as pydicom writes it: the walker keeps its text."""
    place = values.get("SliceLocation")
    return {} if place is None else {"SliceLocation": str(float(place))}


def agree(path):
    walked, ds = read(path), pydicom.dcmread(path, force=True)
    values = {keyword: plain_value(ds, tag) for tag, keyword in WANTED.items() if tag in ds}
    assert {**walked.values, **as_written(walked.values)} == {
        k: v for k, v in values.items() if v is not None
    }
    assert walked.transfer_syntax == ds.file_meta.TransferSyntaxUID
    return walked


def test_keywords_are_the_dictionary_s():
    assert {tag: keyword_for_tag(tag) for tag in WANTED} == WANTED


@pytest.mark.data
def test_every_real_file_as_pydicom_reads_it(data_dir):
    files = [f for f in data_dir.rglob("*") if f.is_file() and f.suffix != ".md"]
    assert len(files) > 180
    for path in files:
        walked = agree(path)
        assert not walked.defect
        ds = pydicom.dcmread(path)
        stored = b"".join(path.read_bytes()[o : o + n] for o, n in walked.pixels)
        if ds.file_meta.TransferSyntaxUID.is_compressed:
            assert stored == next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
        else:
            assert stored == ds.PixelData


text = st.text("ABCdef 0123_äß", max_size=12)
numbers = st.floats(-1e4, 1e4, allow_nan=False).map(lambda v: f"{v:.6g}")


@st.composite
def items(draw, depth=2):
    ds = Dataset()
    ds.CodeMeaning = draw(text)
    if depth and draw(st.booleans()):
        ds.ProcedureCodeSequence = draw(sequences(depth - 1))
    if draw(st.booleans()):
        # Inside a sequence, what is wanted at the top level must not be taken for it.
        ds.SeriesDescription, ds.Rows = "NESTED", 7
    ds.is_undefined_length_sequence_item = draw(st.booleans())
    return ds


@st.composite
def sequences(draw, depth=2):
    return Sequence(draw(st.lists(items(depth), max_size=3)))


@settings(max_examples=60)
@given(data=st.data())
def test_generated_files_as_pydicom_reads_them(tmp_path_factory, data):
    draw = data.draw
    ds = slice_dataset(
        chest(1, 16)[0],
        (0, 0, 0),
        TransferSyntaxUID=draw(st.sampled_from([EXPLICIT, IMPLICIT, ExplicitVRBigEndian])),
        SpecificCharacterSet=draw(st.sampled_from(["ISO_IR 100", "ISO_IR 192"])),
    )
    ds.SeriesDescription = draw(text)
    ds.ConvolutionKernel = draw(st.one_of(st.just("B40f"), st.lists(st.just("B"), max_size=3)))
    ds.SliceThickness = draw(numbers)
    ds.PixelPaddingValue = draw(st.integers(-2000, 2000))
    if draw(st.booleans()):
        ds.AcquisitionNumber = None
    for keyword in ("ReferencedImageSequence", "RequestAttributesSequence"):
        if draw(st.booleans()):
            setattr(ds, keyword, draw(sequences()))
            ds[keyword].is_undefined_length = draw(st.booleans())
    block = ds.private_block(0x0029, "DARNET TEST", create=True)
    block.add_new(0x10, "OB", bytes(draw(st.sampled_from([0, 2, 70_000, 300_000]))))
    if draw(st.booleans()):
        block.add_new(0x11, "SQ", draw(sequences()))
        block[0x11].is_undefined_length = draw(st.booleans())
    path = save(ds, tmp_path_factory.mktemp("walk") / "file.dcm")
    walked = agree(path)
    assert walked.get("Rows") == 16
    ((offset, length),) = walked.pixels
    assert path.read_bytes()[offset : offset + length] == ds.PixelData


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings(tmp_path, syntax):
    ds = slice_dataset(chest(1, 16)[0], (0, 0, 0), TransferSyntaxUID=syntax)
    if syntax == ExplicitVRBigEndian:
        ds["PixelData"].VR = "OW"
    walked = agree(save(ds, tmp_path / "file.dcm"))
    assert walked.get("Rows") == 16
    assert b"".join(walked.read_pixels())[:512] == ds.PixelData


def test_without_preamble(tmp_path):
    whole = save(
        slice_dataset(chest(1, 16)[0], (0, 0, 0), TransferSyntaxUID=IMPLICIT), tmp_path / "a.dcm"
    ).read_bytes()
    (tmp_path / "b.dcm").write_bytes(whole[whole.index(b"\x08\x00\x08\x00") :])
    assert read(tmp_path / "b.dcm").get("Modality") == "CT"


def test_malformed_values_are_absent_not_an_error(tmp_path):
    ds = slice_dataset(chest(1, 16)[0], (0, 0, 0), SliceThickness="12.5", KVP="120")
    path = save(ds, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"12.5", b"a!.b"))
    assert read(path).get("SliceThickness") is None
    agree(path)


def test_truncation_is_found_wherever_it_is(tmp_path):
    path = save(slice_dataset(chest(1, 64)[0], (0, 0, 0)), tmp_path / "a.dcm")
    whole = path.read_bytes()
    for keep in (len(whole) - 1, len(whole) - 5000):
        path.write_bytes(whole[:keep])
        assert read(path).defect.code == "truncated"
    for keep in range(0, len(whole) - 64 * 64 * 2, 37):
        path.write_bytes(whole[:keep])
        try:
            walked = read(path)
        except UnreadableScanError:
            continue
        assert walked.defect or walked.get("Rows") is None


KINDS = {
    "classic": lambda: slice_dataset(chest(1, 16)[0], (0, 0, 0)),
    "deflated": lambda: slice_dataset(
        chest(1, 16)[0], (0, 0, 0), TransferSyntaxUID=DeflatedExplicitVRLittleEndian
    ),
    "big endian": lambda: enhanced_dataset(chest(3, 16), TransferSyntaxUID=ExplicitVRBigEndian),
    "enhanced": lambda: enhanced_dataset(chest(3, 16)),
    "compressed": lambda: enhanced_dataset(
        chest(3, 16), encode=imagecodecs.htj2k_encode, TransferSyntaxUID=HTJ2KLossless
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_arbitrary_bytes_never_crash_it(tmp_path, kind):
    path = save(KINDS[kind](), tmp_path / "a.dcm")
    whole = bytearray(path.read_bytes())

    @settings(max_examples=80)
    @given(
        st.lists(
            st.tuples(st.integers(132, len(whole) - 1), st.integers(0, 255)),
            min_size=1,
            max_size=6,
        ),
        st.integers(0, 400),
    )
    def survives(changes, inserted):
        broken = bytearray(whole)
        for at, value in changes:
            broken[at] = value
        broken[changes[0][0] : changes[0][0]] = b"\xfe\xff\0\xe0"[: inserted % 5] * (inserted // 5)
        path.write_bytes(broken)
        try:
            for walked in read_headers(path):
                assert isinstance(walked.get("Modality", ""), str)
                if unfit(walked) is None and not walked.defect:
                    assert decode_slice(walked).shape == (walked.get("Rows"), walked.get("Columns"))
        except ScanError:
            return

    survives()


@pytest.mark.parametrize(
    "name", [b"ISO_IR\x00100", b"ISO_IR 9\x00\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff"]
)
def test_a_character_set_that_cannot_be_one(tmp_path, name):
    ds = slice_dataset(chest(1, 16)[0], (0, 0, 0), SpecificCharacterSet="ISO_IR 100")
    ds.SeriesDescription = "Thorax"
    path = save(ds, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", name.ljust(10)))
    assert read(path).get("SeriesDescription") == "Thorax"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", [0, 0, 1e30]),
        ("ImageOrientationPatient", [1e200, 0, 0, 0, 1, 0]),
        ("PixelSpacing", [1e38, 1]),
        ("RescaleSlope", "1e300"),
        ("RescaleIntercept", "-1e38"),
    ],
)
def test_a_value_too_large_to_compute_with_is_absent(tmp_path, keyword, value):
    path = save(slice_dataset(chest(1, 16)[0], (0, 0, 0), **{keyword: value}), tmp_path / "a.dcm")
    assert agree(path).get(keyword) is None
