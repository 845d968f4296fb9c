"""What objects take over from odd sources: valid, or left out with a reason."""

import shutil
import subprocess
from dataclasses import replace

import pytest
from pydicom import config, dcmread
from pydicom.valuerep import STR_VR, validate_value

from darnet_trt.runtime.delivery.source import Source, source_of
from darnet_trt.runtime.prediction.results.result import NO_OBJECTS
from darnet_trt.scan import find_studies
from tests.runtime.delivery.objects.answers import REFUSED, answer, read, written
from tests.scan.enhanced_factory import enhanced_dataset
from tests.scan.series_factory import chest, only, save, write_series

FRAME = "1.2.3.9"
KANJI = ["", "ISO 2022 IR 87"]
ODD = {  # what the source has, and what its objects have
    "nothing": ({}, {"PatientName": "P^1", "StudyDate": "", "PatientSex": ""}),
    "no name": ({"PatientName": None, "PatientID": None}, {"PatientName": "", "PatientID": ""}),
    "latin": (
        {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller"},
        {"PatientName": "Müller"},
    ),
    "kanji": (
        {"SpecificCharacterSet": KANJI, "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
        {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    ),
    "chinese": (
        {"SpecificCharacterSet": "GB18030", "PatientName": "Wang^X=王^小东", "PatientID": "患者1"},
        {"PatientName": "Wang^X=王^小东", "PatientID": "患者1"},
    ),
    "utf-8": (
        {"SpecificCharacterSet": "ISO_IR 192", "StudyDescription": "胸　部", "PatientSex": "f"},
        {"StudyDescription": "胸　部", "PatientSex": "F"},
    ),
    "too long": (
        {
            "PatientName": "x" * 70 + "^y",
            "StudyDescription": "d" * 70,
            "AccessionNumber": "A" * 17,
            "StudyID": "S" * 17,
            "SliceThickness": "3.000000000000000000001",
        },
        {
            "PatientName": "x" * 64,
            "StudyDescription": "d" * 64,
            "AccessionNumber": "",
            "StudyID": "",
        },
    ),
    "too many": (
        {
            "PatientName": "a^b^c^d^e^f=g=h=i",
            "AccessionNumber": "a\\b",
            "StudyDescription": "a\\b",
            "ReferringPhysicianName": "A\\B",
        },
        {
            "PatientName": "a^b^c^d^e=g=h",
            "AccessionNumber": "",
            "StudyDescription": "a b",
            "ReferringPhysicianName": "A B",
        },
    ),
    "old": (
        {
            "StudyDate": "2020.01.02",
            "StudyTime": "12:30:11",
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": ["a" * 70, "b"],
        },
        {
            "StudyDate": "20200102",
            "StudyTime": "123011",
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": ["a" * 64, "b"],
        },
    ),
    "wrong": (
        {
            "StudyDate": "20201332",
            "StudyTime": "2561",
            "PatientBirthDate": "19500000",
            "PatientAge": "53",
            "PatientSex": "X",
            "TimezoneOffsetFromUTC": "GMT",
            "PatientIdentityRemoved": "YES",
            "SOPClassUID": "1.3.6.1.4.1.9590.100.1.0.1.1",
        },
        {
            "StudyDate": "",
            "StudyTime": "",
            "PatientBirthDate": "",
            "PatientAge": None,
            "PatientSex": "",
            "TimezoneOffsetFromUTC": None,
            "PatientIdentityRemoved": None,
        },
    ),
    "short cosines": ({"ImageOrientationPatient": [0.995, 0, 0, 0, 0.995, 0]}, {}),
    "skew cosines": (
        {"ImageOrientationPatient": [1, 0.004, 0, 0.004, 1, 0], "SliceThickness": None},
        {},
    ),
}
LEFT_OUT = {
    "long id": {"PatientID": "p" * 65},
    "two ids": {"PatientID": "a\\b"},
    "letters": {"StudyInstanceUID": "1.2.abc"},
    "zeros": {"StudyInstanceUID": "1.2.03"},
    "long": {"StudyInstanceUID": "1." + "2" * 63},
    "no series": {"SeriesInstanceUID": "series"},
    "no class": {"SOPClassUID": None},
    "one file": {"SOPInstanceUID": "1.2.3.7"},
}


def series_with(folder, slices=8, **attributes):
    """Write a series whose values may be invalid, and find it."""
    attributes.setdefault("FrameOfReferenceUID", FRAME)
    with config.disable_value_validation():
        write_series(folder, chest(slices), **attributes)
    return only(folder)


def check(answered, folder):
    """Make every object, have other projects check it, and return the report."""
    made = answered.made() | replace(answered, result=REFUSED).made(("refusal",))
    for kind, content in made.items():
        read(content).walk(check_values)
        if shutil.which("dciodvfy"):
            words = ["dciodvfy", "-new", written(content, folder, kind)]
            ran = subprocess.run(words, capture_output=True, text=True, check=False)
            said = (ran.stdout + ran.stderr).splitlines()
            assert not [line for line in said if line.startswith(("Error", "Abort"))], kind
    return made


def check_values(_, element):
    if element.VR in STR_VR:
        for value in element.value if element.VM > 1 else [element.value]:
            validate_value(element.VR, str(value or ""), config.RAISE)


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_taken_over_or_mended(tmp_path, name):
    given, expected = ODD[name]
    made = check(answer(series_with(tmp_path / "scan", **given)), tmp_path)
    assert list(made) == ["sr", "pm", "sc", "refusal"]
    for content in made.values():
        ds = read(content)
        assert {key: ds.get(key) for key in expected} == expected


@pytest.mark.parametrize("name", LEFT_OUT)
def test_without_valid_identifiers_there_is_nothing(tmp_path, name):
    found = source_of(series_with(tmp_path, **LEFT_OUT[name]))
    assert found.code == NO_OBJECTS
    assert "no DICOM objects" in found


@pytest.mark.parametrize(
    ("patients", "expected"),
    [(("", "P7", ""), "P7"), (("P7", "P8", "P9"), "several patients")],
)
def test_the_patient_is_the_one_that_its_slices_name(tmp_path, patients, expected):
    series = series_with(tmp_path)
    values = [dict(header.values) for header in series.headers]
    for number, file in enumerate(series.files):
        ds = dcmread(file)
        ds.PatientID = values[number]["PatientID"] = patients[number % 3]
        ds.save_as(file)
    headers = tuple(
        replace(header, values=own) for header, own in zip(series.headers, values, strict=True)
    )
    found = source_of(replace(series, headers=headers))
    assert expected in (
        str(found) if not isinstance(found, Source) else found.header.decode("latin-1")
    )


def test_what_was_mended_is_named(tmp_path):
    source = source_of(series_with(tmp_path, PatientSex="X", StudyDescription="d" * 70))
    assert {"PatientSex", "StudyDescription", "AccessionNumber"} <= set(source.mended)
    assert "PatientID" not in source.mended
    assert all(keyword in source.remark for keyword in source.mended)


def test_bytes_of_no_character_set_are_named(tmp_path):
    series_with(tmp_path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller")
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(b"ISO_IR 100", b"LATIN_9999"))
    source = source_of(only(tmp_path))
    assert "SpecificCharacterSet" in source.mended


@pytest.mark.parametrize("frames", [{"FrameOfReferenceUID": "none"}, {}])
def test_without_a_frame_of_reference_there_is_no_grid(tmp_path, frames):
    series = series_with(tmp_path, **frames)
    if not frames:  # each slice has one of its own
        for number, file in enumerate(tmp_path.iterdir()):
            ds = dcmread(file)
            ds.FrameOfReferenceUID = f"1.2.3.{number}"
            ds.save_as(file)
        series = only(tmp_path)
    answered = answer(series)
    assert answered.source.grid is None
    assert list(check(answered, tmp_path)) == ["sr", "sc", "refusal"]


def test_frames_of_an_enhanced_file_are_named(tmp_path):
    stored = chest(8)
    save(enhanced_dataset(stored, FrameOfReferenceUID=FRAME), tmp_path / "scan" / "one.dcm")
    answered = answer(only(tmp_path / "scan"))
    assert len(answered.source.instances) == 1
    assert [one.frame for one in answered.source.slices] == list(range(1, 9))
    ds = read(check(answered, tmp_path)["sr"])
    text = str(ds)
    assert "Referenced Frame Number" in text
    assert "Enhanced CT Image Storage" in text


def test_a_scan_in_several_series_is_evidence_of_each(tmp_path):
    series_with(tmp_path / "scan", slices=12)
    for number, file in enumerate(sorted((tmp_path / "scan").iterdir())):
        ds = dcmread(file)
        ds.SeriesInstanceUID = f"1.2.3.{number}"
        ds.save_as(file)
    (study,) = find_studies(tmp_path / "scan")
    (series,) = [one for one in study.series if one.slices == 12]
    ds = read(check(answer(series), tmp_path)["sr"])
    assert len(ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence) == 12


@pytest.mark.parametrize("syntax", ["1.2", "1.2.1", "1.2.1.99", "1.2.2"])
def test_every_syntax_is_read_again(tmp_path, syntax):
    series = series_with(tmp_path, TransferSyntaxUID=f"1.2.840.10008.{syntax}", PatientSex="F")
    assert isinstance(source := source_of(series), Source)
    assert b"PatientSex" not in source.header
    assert b"CS\x02\x00F " in source.header


def test_other_formats_give_no_objects(tmp_path):
    series = replace(series_with(tmp_path), headers=(), format="nifti")
    assert source_of(series).code == NO_OBJECTS
