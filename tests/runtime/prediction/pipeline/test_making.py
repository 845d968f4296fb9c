"""Objects are made beside the engine; what goes wrong with one costs no result."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from darnet_trt.bundle.reading import Bundle, open_bundle
from darnet_trt.errors import MissingPackageError, UsageError
from darnet_trt.runtime.prediction.pipeline import making
from darnet_trt.runtime.prediction.pipeline.classify import Classifier
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.result import Result
from tests.runtime.prediction.pipeline import studies
from tests.runtime.prediction.pipeline.studies import write_study

ALL = ("sr", "pm", "sc")


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def bundle(tiny) -> Bundle:
    return open_bundle(tiny)


def kinds(result: Result) -> list[str]:
    return [made.kind for made in result.made]


def lacking(result: Result) -> list[str]:
    return [warning for warning in result.warnings if warning.code == "no-dicom-objects"]


def test_the_engine_goes_on_while_objects_are_made_and_the_order_stays(
    bundle, phantom_series, tmp_path, monkeypatch
):
    for number in range(6):
        write_study(phantom_series, tmp_path / "scans" / f"{number}", number)
    answered, real = [], Classifier._answers

    def answers(self, count):
        answered.append(count)
        if len(answered) == 6:
            (tmp_path / "all answered").touch()
        return real(self, count)

    monkeypatch.setattr(Classifier, "_answers", answers)
    monkeypatch.setattr(making, "make", partial(studies.make_when, tmp_path / "all answered"))
    found = list(predict(bundle, tmp_path / "scans", dicom=("sr",), workers=2))
    assert [kinds(result) for result in found] == [["sr"]] * 6
    assert [warning for result in found for warning in lacking(result)] == []
    assert sorted(result.scan for result in found) == [f"{number}" for number in range(6)]
    for result in found:
        (made,) = result.made
        assert pydicom.dcmread(BytesIO(made.content)).StudyInstanceUID == f"2.25.{result.scan}"
    assert all(result.evidence is None for result in found)


def test_an_object_that_cannot_be_made_costs_no_result_and_no_other_object(
    bundle, phantom_series, monkeypatch
):
    monkeypatch.setattr(making, "make", studies.make_without_map)
    (result,) = predict(bundle, phantom_series, dicom=ALL, evidence=True)
    assert result.status == "ok"
    assert kinds(result) == ["sr", "sc"]
    assert result.dicom_unmade == ("pm",)
    (why,) = lacking(result)
    assert "pm" in why
    assert "no maps here" in why
    assert result.evidence is not None


def test_a_process_that_dies_of_an_object_costs_no_result(
    bundle, phantom_series, tmp_path, monkeypatch
):
    for place, name in enumerate(("one", "poison", "two")):
        write_study(phantom_series, tmp_path / "scans" / name, place)
    monkeypatch.setattr(making, "make", studies.make_or_die)
    found = {r.scan: r for r in predict(bundle, tmp_path / "scans", dicom=("sr",))}
    assert {name: (r.status, kinds(r)) for name, r in found.items()} == {
        "one": ("ok", ["sr"]),
        "poison": ("ok", []),
        "two": ("ok", ["sr"]),
    }
    (why,) = lacking(found["poison"])
    assert "SIGKILL" in why


def test_what_is_no_dicom_has_no_objects_and_one_warning(bundle, phantom_series, tmp_path):
    import SimpleITK

    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(phantom_series))
    SimpleITK.WriteImage(SimpleITK.ReadImage(names), tmp_path / "scan.nii.gz")
    (result,) = predict(bundle, tmp_path / "scan.nii.gz", dicom=ALL)
    assert (result.status, kinds(result), len(lacking(result))) == ("ok", [], 1)
    assert result.dicom_unmade == ALL


def test_a_refused_study_has_the_report_of_its_refusal_where_that_is_wanted(
    bundle, phantom_series, tmp_path
):
    few = write_study(phantom_series, tmp_path / "few", 1, slices=slice(4))
    (tmp_path / "broken.dcm").write_bytes(b"DICM")
    found = {r.status: r for r in predict(bundle, tmp_path, dicom=("sr", "refusal"))}
    assert kinds(found["refused"]) == ["refusal"]
    assert kinds(found["failed"]) == lacking(found["failed"]) == []
    (result,) = predict(bundle, few, dicom=ALL)
    assert kinds(result) == lacking(result) == [*result.dicom_unmade] == []


def run(bundle: Bundle, scans: Path, out: Path, **options: object) -> list[Result]:
    with ResultFolder(out, resume=True) as folder:
        found = predict(bundle, scans, earlier=folder.result, **options)
        return [folder.add(result) for result in found]


def contents(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.rglob("*.dcm")}


def test_the_same_answer_is_the_same_object_and_another_names_it(bundle, phantom_series, tmp_path):
    out, scans = tmp_path / "out", tmp_path / "scans"
    write_study(phantom_series, scans, 1, slices=slice(24))
    (first,) = run(bundle, scans, out, dicom=("sr", "pm"))
    made = contents(out)
    (again,) = run(bundle, scans, out)
    assert (again.finished, again.dicom) == (first.finished, ())
    (again,) = run(bundle, scans, out, dicom=("sr", "pm"))
    assert again.dicom == first.dicom
    assert contents(out) == made

    write_study(phantom_series, scans, 1)
    (more,) = run(bundle, scans, out, dicom=("sr",))
    assert more.finished > first.finished
    assert more.predecessor.sop_uid == first.dicom[0].sop_uid != more.dicom[0].sop_uid
    made = contents(out)
    report = pydicom.dcmread(BytesIO(made["sr.dcm"]))
    (before,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.dicom[0].sop_uid
    run(bundle, scans, out)
    (again,) = run(bundle, scans, out, dicom=("sr",))
    assert again.predecessor == more.predecessor
    assert contents(out) == made


def test_a_refusal_is_named_by_what_comes_after_it(bundle, phantom_series, tmp_path):
    out, scans = tmp_path / "out", tmp_path / "scans"
    before = []
    for count in (3, 4, 30):
        write_study(phantom_series, scans, 1, slices=slice(count))
        (found,) = run(bundle, scans, out, dicom=("sr", "refusal"))
        (content,) = contents(out).values()
        named = pydicom.dcmread(BytesIO(content)).get("PredecessorDocumentsSequence", ())
        assert [
            sop.ReferencedSOPInstanceUID
            for study in named
            for series in study.ReferencedSeriesSequence
            for sop in series.ReferencedSOPSequence
        ] == before[-1:]
        before += [one.sop_uid for one in found.dicom]
    assert len(before) == 3


def test_other_files_of_the_study_do_not_change_the_object(bundle, phantom_series, tmp_path):
    out, scans = tmp_path / "out", tmp_path / "scans"
    write_study(phantom_series, scans / "chest", 1)
    (first,) = run(bundle, scans, out, dicom=("sr",))
    made = contents(out)
    for file in write_study(phantom_series, scans / "few", 1, slices=slice(4)).iterdir():
        header = pydicom.dcmread(file)
        header.SeriesInstanceUID = "2.25.1.2"
        header.SOPInstanceUID += ".2"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.save_as(file)
    (more,) = run(bundle, scans, out, dicom=("sr",))
    assert more.content != first.content
    assert more.predecessor is None
    assert contents(out) == made


def test_kinds_that_do_not_exist_and_a_package_that_is_missing(bundle, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="seg"):
        next(predict(bundle, tmp_path, dicom=("sr", "seg")))
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(MissingPackageError) as caught:
        next(predict(bundle, tmp_path, dicom=("sr",)))
    assert "dicom" in str(caught.value)
