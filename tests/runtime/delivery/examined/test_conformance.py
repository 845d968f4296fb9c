"""Other projects' checkers find no fault in any object of any study."""

import pytest

from tests.runtime.delivery.checkers import (
    dciodvfy,
    dsrdump,
    has_dciodvfy,
    has_dsrdump,
    has_pixelmed,
    pixelmed,
    strictly_read,
)
from tests.runtime.delivery.examined import studies
from tests.runtime.delivery.examined.made import made_objects
from tests.runtime.delivery.examined.studies import REAL, bare, changed, lacking, spoiled
from tests.tiny_bundle import write_bundle

HEADERS = {
    "nothing of patient and study": studies.without_any,
    "no frame of reference": lacking("FrameOfReferenceUID", "SpecificCharacterSet"),
    "japanese": studies.japanese,
    "chinese": studies.chinese,
    "cyrillic": studies.cyrillic,
    "an unknown character set": {
        "SpecificCharacterSet": b"ISO_IR 999",
        "PatientName": b"M\xfcller^A",
        "PatientSex": b"male",
        "PatientAge": b"44",
    },
    "utf-8 that is not declared": {
        "SpecificCharacterSet": b"",
        "PatientName": "Ж^Ö".encode(),
        "PixelSpacing": b"5.2217360000000001\\5.221736",
        "SliceThickness": b"7.711866666666667",
    },
    "bytes outside the set": {
        "SpecificCharacterSet": b"ISO_IR 192",
        "PatientName": b"A\xff\xfe^B",
        "PatientBirthDate": b"1970.02.01",
        "StudyDate": b"2020-01-01",
        "StudyTime": b"12:30:00",
    },
    "padding": {
        "PatientName": b"A^B\0\0",
        "PatientSex": b"F\0",
        "StudyID": b"7\0",
        "PatientID": b"4\0",
        "PatientBirthDate": b"19700231",
        "StudyDate": b"UNKNOWN",
        "StudyTime": b"9999",
    },
    "long texts": {
        "PatientName": b"N" * 70,
        "StudyID": b"S" * 20,
        "AccessionNumber": b"A" * 20,
        "StudyDescription": b"D" * 70,
    },
    "control characters": {"PatientName": b"A\r\nB^C", "StudyID": b"1\x1b"},
    "backslashes": {"PatientName": b"A\\B", "StudyID": b"1\\2"},
}
"""What the headers of a study lack, or hold: a change of each, or bytes."""


FEW = ["nothing of patient and study", "no frame of reference", "japanese", "padding"]


@pytest.fixture(
    scope="module",
    params=[FEW, pytest.param([n for n in HEADERS if n not in FEW], marks=pytest.mark.slow)],
    ids=["few", "others"],
)
def made(request, tmp_path_factory):
    """The objects of studies."""
    folder = tmp_path_factory.mktemp("made")
    scans = folder / "scans"
    bare(scans / "enhanced", enhanced=True)
    for number, name in enumerate(request.param):
        change = HEADERS[name]
        write = spoiled if isinstance(change, dict) else changed
        write(scans / name, change, f"H{number:04d}")
    return made_objects(write_bundle(folder / "bundle"), scans, folder / "out")


def each_file(made):
    return [
        (f"{name}: {kind}", file) for name, one in made.items() for kind, file in one.files.items()
    ]


@has_dciodvfy
def test_dciodvfy_has_no_error(made):
    found = {name: dciodvfy(file) for name, file in each_file(made)}
    maps = sum(name.endswith(": pm") for name in found)
    assert maps == len(made) - ("no frame of reference" in made)
    assert len(found) == 2 * len(made) + maps
    assert {name: errors for name, errors in found.items() if errors} == {}


def test_values_suit_their_representation(made):
    for _, file in each_file(made):
        strictly_read(file)


@has_dsrdump
def test_dsrdump_prints_each_report(made):
    for one in made.values():
        said = dsrdump(one.files["sr"])
        assert "Research use only" in said
        assert "PRELIMINARY" in said
        assert "UNVERIFIED" in said
        for probability in one.line["probabilities"].values():
            assert f'"{probability:g}"' in said


@has_pixelmed
def test_pixelmed_has_no_complaint(made):
    named = ["japanese"] if "japanese" in made else list(made)
    found = {name: pixelmed(made[name].files["sr"]) for name in named}
    assert {name: complaints for name, complaints in found.items() if complaints} == {}


@pytest.mark.slow
@pytest.mark.data
@has_pixelmed
def test_pixelmed_has_no_complaint_about_real_series(data_dir, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "soft").symlink_to(data_dir / "chest-8mm" / "soft")
    bundle = write_bundle(tmp_path / "bundle")
    made = made_objects(bundle, tmp_path / "scans", tmp_path / "out", ["sr"])
    assert pixelmed(made["soft"].files["sr"]) == []


@pytest.mark.data
@has_dciodvfy
def test_real_series(data_dir, tmp_path):
    for number, name in enumerate(REAL):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / str(number)).symlink_to(data_dir / name)
        made = made_objects(
            write_bundle(tmp_path / f"bundle{number}"),
            tmp_path / "scans" / str(number),
            tmp_path / "out" / str(number),
        )
        for which, file in each_file(made):
            assert dciodvfy(file) == set(), which
