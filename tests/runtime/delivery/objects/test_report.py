"""The structured report, read back by highdicom."""

from dataclasses import replace

import pytest

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.errors import Finding
from darnet_trt.runtime.delivery.objects.codes import PRIVATE
from darnet_trt.runtime.prediction.results.result import UNLIKE, DicomDocument
from tests.runtime.delivery.objects.answers import RESULT, answer, read
from tests.scan.series_factory import chest, only, write_series

SLICES = 8


@pytest.fixture
def answered(tmp_path):
    write_series(tmp_path, chest(SLICES), FrameOfReferenceUID="1.2.3.9", PatientID="p 7")
    return answer(only(tmp_path))


def groups(content):
    """The measurement groups, by the meaning of their finding."""
    from highdicom.sr import Comprehensive3DSR

    report = Comprehensive3DSR.from_dataset(read(content))
    found = report.content.get_image_measurement_groups()
    return {group.finding_type.meaning: group for group in found}


def items(dataset, value_type):
    for item in dataset.get("ContentSequence", ()):
        if item.ValueType == value_type:
            yield item
        yield from items(item, value_type)


def test_it_has_the_probabilities_of_the_line(answered):
    found = groups(answered.made(("sr",))["sr"])
    values = [group.get_measurements()[0].value for group in found.values()]
    assert values == [0.712346, 0.2, 0.087654]
    assert list(found) == [
        "Pneumonia caused by SARS-CoV-2",
        "Pneumonia other than COVID-19",
        "Normal",
    ]


def test_it_names_bundle_engine_and_training(answered):
    said = [item.TextValue for item in items(read(answered.made(("sr",))["sr"]), "TEXT")]
    for part in (RESULT.bundle_sha256, "openvino-bf16", "precision bf16", "12 synthetic phantoms"):
        assert len([text for text in said if part in text]) >= 3, part
    assert len([text for text in said if "Research use only" in text]) >= 6
    assert said.count(RESULT.toolkit) == 3


def test_codes_are_identified(answered):
    ds = read(answered.made(("sr",))["sr"])
    findings = [
        item.ConceptCodeSequence[0]
        for item in items(ds, "CODE")
        if item.ConceptNameCodeSequence[0].get("CodeValue") == "121071"
    ]
    covid, other, _ = findings
    assert covid.LongCodeValue == "882784691000119100"  # of more than 16 characters
    assert "CodeValue" not in covid
    assert other.CodingSchemeDesignator == PRIVATE
    (scheme,) = ds.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == PRIVATE


def test_the_bundle_gives_codes(answered):
    codes = {"normal": ClassCode("RID13173", "RADLEX", "Normal, says the bundle")}
    found = groups(answered.made(("sr",), class_codes=codes)["sr"])
    assert "Normal, says the bundle" in found


def test_a_class_of_another_project_has_a_private_code(tmp_path):
    write_series(tmp_path, chest(SLICES))
    names = ["a class with more than sixteen characters, and even more than 64 of them", "b\\c"]
    probabilities = dict(zip(names, (0.75, 0.25), strict=True))
    result = RESULT.model_copy(update={"predicted": names[0], "probabilities": probabilities})
    found = groups(answer(only(tmp_path), result).made(("sr",))["sr"])
    assert list(found) == [names[0][:64], "b/c"]


def test_a_class_of_the_paper_has_its_code_however_it_is_written(tmp_path):
    write_series(tmp_path, chest(SLICES))
    probabilities = {"COVID-19": 0.75, "Normal": 0.25}
    result = RESULT.model_copy(update={"predicted": "Normal", "probabilities": probabilities})
    found = groups(answer(only(tmp_path), result).made(("sr",))["sr"])
    assert list(found) == ["Pneumonia caused by SARS-CoV-2", "Normal"]


def test_the_library_has_the_telling_slices_alone(answered):
    content = answered.made(("sr",))["sr"]
    ds = read(content)
    images = list(items(ds, "IMAGE"))
    named = {image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for image in images}
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    evidence = {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
    assert 0 < len(named) < SLICES
    assert named < evidence
    assert len(evidence) == SLICES


def test_slices_are_named_where_the_evidence_is(answered):
    cam = -abs(answered.evidence.cam)
    cam[0, 1] = 1  # voxel 8 of 16, of slices 1 to 6
    content = answered.with_cam(cam).made(("sr",))["sr"]
    covid, other, _ = groups(content).values()
    image = covid.get_measurements()[0].referenced_images[0]
    uids = [instance.sop_uid for instance in answered.source.instances]
    assert uids.index(image.referenced_sop_instance_uid) in (3, 4)
    assert not other.get_measurements()[0].referenced_images


def test_without_evidence_there_is_no_library(answered):
    ds = read(answered.with_cam(-abs(answered.evidence.cam)).made(("sr",))["sr"])
    assert not list(items(ds, "IMAGE"))


def test_it_is_preliminary_and_for_research(answered):
    ds = read(answered.made(("sr",))["sr"])
    assert (ds.PreliminaryFlag, ds.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert "Research use only" in ds.SeriesDescription


def test_a_scan_unlike_the_training_scans_is_said_of_each_class(answered):
    warning = Finding(UNLIKE, "the scan is unlike the training scans")
    result = answered.result.model_copy(update={"warnings": (warning,)})
    flagged = replace(answered, result=result)
    for one in (answered, flagged):
        texts = [item.TextValue for item in items(read(one.made(("sr",))["sr"]), "TEXT")]
        assert texts.count(warning) == (3 if one is flagged else 0)


def test_it_names_the_report_before(answered):
    before = DicomDocument(
        sop_class="1.2.840.10008.5.1.4.1.1.88.34", sop_uid="1.2.3.4", series_uid="1.2.3"
    )
    ds = read(answered.made(("sr",), predecessor=before)["sr"])
    (study,) = ds.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == ds.StudyInstanceUID
    assert series.SeriesInstanceUID == "1.2.3"
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


def test_times_are_the_study_s(tmp_path):
    write_series(tmp_path, chest(SLICES), TimezoneOffsetFromUTC="+1030")
    for content in answer(only(tmp_path)).made().values():
        ds = read(content)
        assert (ds.ContentDate, ds.ContentTime) == ("20261129", "171007.123000")
        assert ds.TimezoneOffsetFromUTC == "+1030"
