"""What the objects say is what the result says, of the study that was read."""

from datetime import datetime, timedelta

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import UID

from darnet_trt.runtime.prediction.results.result import INTENDED_USE
from tests.runtime.delivery.examined.made import made_objects
from tests.runtime.delivery.examined.read_back import (
    code,
    everything,
    items,
    probabilities_by_highdicom,
    probabilities_by_pydicom,
    references,
)
from tests.runtime.delivery.examined.studies import bare, changed, japanese
from tests.tiny_bundle import write_bundle

PAPER_CLASSES = ("covid-19", "common-pneumonia", "normal")
COVID = ("882784691000119100", "SCT")
NORMAL = ("17621005", "SCT")
SOP_CLASSES = {
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "pm": "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "sc": "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
}
TAKEN_OVER = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    changed(folder / "japanese", named)
    bare(folder / "enhanced", enhanced=True)
    return folder


def named(ds):
    japanese(ds)
    ds.AccessionNumber, ds.ReferringPhysicianName = "A 1", "Doe^Jane"
    ds.PatientBirthDate = "19700201"


@pytest.fixture(scope="module")
def made(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return made_objects(write_bundle(folder / "bundle"), scans, folder / "out")


@pytest.fixture(params=["japanese", "enhanced"])
def one(request, made):
    (found,) = (m for name, m in made.items() if name.startswith(request.param))
    return found


@pytest.fixture
def slices(one, scans):
    """The headers of the study's slices."""
    place = scans / one.line["scan"]
    files = [place] if place.is_file() else sorted(place.iterdir())
    return [dcmread(file, stop_before_pixels=True) for file in files]


@pytest.fixture
def objects(one):
    return {kind: dcmread(file) for kind, file in one.files.items()}


def test_each_kind_is_its_sop_class_and_little_endian_without_compression(objects):
    assert {kind: ds.SOPClassUID for kind, ds in objects.items()} == SOP_CLASSES
    for ds in objects.values():
        assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_patient_and_study_are_those_of_the_scan(objects, slices):
    for ds in objects.values():
        for keyword in TAKEN_OVER:
            assert (ds.get(keyword) or "") == (slices[0].get(keyword) or ""), keyword
    assert objects["pm"].FrameOfReferenceUID == slices[0].FrameOfReferenceUID


def test_uids_are_valid_and_each_kind_is_a_series_of_its_own(objects, slices):
    uids = [uid for ds in objects.values() for uid in (ds.SOPInstanceUID, ds.SeriesInstanceUID)]
    assert len({*uids, slices[0].SeriesInstanceUID}) == 7
    for ds in objects.values():
        for keyword, value in everything(ds):
            if keyword.endswith("UID"):
                assert UID(value).is_valid, keyword
    assert len({ds.SeriesNumber for ds in objects.values()} - {slices[0].SeriesNumber}) == 3


def test_probabilities_are_those_of_the_line(one):
    by_pydicom = probabilities_by_pydicom(one.files["sr"])
    assert by_pydicom == probabilities_by_highdicom(one.files["sr"])
    said = one.line["probabilities"]
    assert list(said) == list(PAPER_CLASSES)
    assert by_pydicom.pop(COVID) == said["covid-19"]
    assert by_pydicom.pop(NORMAL) == said["normal"]
    ((other, probability),) = by_pydicom.items()
    assert other[1] == "99DARNET"
    assert probability == said["common-pneumonia"]


def test_the_report_is_preliminary_and_not_verified(objects):
    report = objects["sr"]
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.CompletionFlag == "COMPLETE"
    assert code(report.ConceptNameCodeSequence[0]) == ("126000", "DCM")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (procedure,) = items(report, "121058", "DCM")
    assert code(procedure.ConceptCodeSequence[0]) == ("25045-6", "LN")


def test_the_report_names_the_bundle_and_the_engine(one, objects):
    report = objects["sr"]
    (serial,) = items(report, "121016", "DCM")
    assert serial.TextValue == one.line["bundle_sha256"]
    (measured,) = items(report, "126010", "DCM")
    for group in items(measured, "125007", "DCM"):
        (site,) = items(group, "363698007", "SCT")
        assert code(site.ConceptCodeSequence[0]) == ("39607008", "SCT")
        (version,) = items(group, "111003", "DCM")
        assert version.TextValue == one.line["toolkit"]
        parameters = " ".join(i.TextValue for i in items(group, "111002", "DCM"))
        for said in ("bundle_sha256", "artifact", "precision", "trained_on"):
            assert one.line[said] in parameters


def test_tracking_uids_differ(one):
    report = hd.sr.srread(one.files["sr"])
    groups = report.content.get_image_measurement_groups()
    assert len({group.tracking_uid for group in groups}) == len(PAPER_CLASSES)


def test_all_files_of_the_series_are_evidence_and_few_slices_are_in_the_library(one, slices):
    report = dcmread(one.files["sr"])
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == slices[0].StudyInstanceUID
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    listed = [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in series.ReferencedSOPSequence
    ]
    assert sorted(listed) == sorted((ds.SOPClassUID, ds.SOPInstanceUID) for ds in slices)
    (library,) = items(report, "111028", "DCM")
    (group,) = items(library, "126200", "DCM")
    images = [item for item in group.ContentSequence if item.ValueType == "IMAGE"]
    assert 1 <= len(images) <= 12
    telling = [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images]
    assert set(telling) <= set(one.line["series"]["sampled"]["sop_uids"])


def test_references_are_to_instances_of_the_scan_and_their_frames(objects, slices):
    classes = {ds.SOPInstanceUID: ds.SOPClassUID for ds in slices}
    frames = slices[0].get("NumberOfFrames")
    for kind, ds in objects.items():
        found = list(references(ds))
        assert found or kind == "sc"
        for item in found:
            assert classes[item.ReferencedSOPInstanceUID] == item.ReferencedSOPClassUID
            for number in np.atleast_1d(item.get("ReferencedFrameNumber", [])):
                assert 1 <= int(number) <= frames
    if frames:
        (library,) = items(objects["sr"], "111028", "DCM")
        assert all("ReferencedFrameNumber" in item for item in references(library))


def test_each_object_says_research_use_only(objects):
    for kind, ds in objects.items():
        assert "Research use only" in ds.SeriesDescription, kind
        texts = [str(value) for _, value in everything(ds) if isinstance(value, str)]
        assert any(INTENDED_USE in text for text in texts), kind


def test_the_map_is_a_heatmap_of_class_activation(objects):
    ds = objects["pm"]
    assert ds.ContentLabel == "HEATMAP"
    assert ds.ImageType[:2] == ["DERIVED", "PRIMARY"]
    quantities = {(keyword, value) for keyword, value in everything(ds) if keyword == "CodeValue"}
    assert ("CodeValue", "130402") in quantities


def test_the_private_scheme_is_identified_in_each_object_that_uses_it(objects):
    for kind, ds in objects.items():
        schemes = {value for key, value in everything(ds) if key == "CodingSchemeDesignator"}
        identified = {
            item.CodingSchemeDesignator: item
            for item in ds.get("CodingSchemeIdentificationSequence", [])
        }
        private = {scheme for scheme in schemes if scheme.startswith("99")}
        assert private <= identified.keys(), kind
        for scheme in private:
            assert identified[scheme].CodingSchemeName, kind
            assert identified[scheme].CodingSchemeResponsibleOrganization, kind


def test_the_content_is_of_the_moment_of_the_result(one, objects):
    finished = datetime.fromisoformat(one.line["finished"])
    for kind, ds in objects.items():
        offset = ds.get("TimezoneOffsetFromUTC", "+0000")
        seconds = ds.ContentTime.partition(".")[0]
        at = datetime.strptime(f"{ds.ContentDate}{seconds}{offset}", "%Y%m%d%H%M%S%z")
        assert abs(at - finished) < timedelta(seconds=1), kind


def test_the_secondary_capture_is_a_picture_in_colour(objects):
    ds = objects["sc"]
    assert ds.PhotometricInterpretation == "RGB"
    assert ds.ConversionType
    assert ds.BurnedInAnnotation == "YES"
    assert ds.pixel_array.std() > 10


def test_nothing_says_where_the_scan_lay(scans, made):
    for one in made.values():
        for kind, file in one.files.items():
            assert str(scans.parent.name).encode() not in file.read_bytes(), kind
