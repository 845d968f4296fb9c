"""The text about a refused study."""

from dataclasses import replace

import pytest

from tests.runtime.delivery.objects.answers import REFUSED, answer, read
from tests.scan.series_factory import chest, only, write_series

ENDED = "\n\x1b[31mscan\udcff\\of 7.dcm" + "x" * 80
REASONS = {"plain": REFUSED.reason, "odd": ENDED}


@pytest.fixture(params=REASONS)
def refused(request, tmp_path):
    write_series(tmp_path, chest(8), PatientID="4711", SeriesDescription="Thorax")
    result = REFUSED.model_copy(update={"reason": REASONS[request.param]})
    return replace(answer(only(tmp_path)), result=result)


def test_it_is_a_basic_text_of_the_study(refused):
    ds = read(refused.made(("refusal",))["refusal"])
    assert ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.88.11"
    assert (ds.PatientID, ds.StudyInstanceUID) == ("4711", "1.2.3.1")
    assert "Research use only" in ds.SeriesDescription
    assert "Research use only" in ds.ConceptNameCodeSequence[0].CodeMeaning
    assert (ds.PreliminaryFlag, ds.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert len(evidence.ReferencedSOPSequence) == 8


def test_it_gives_the_reason_and_its_code(refused):
    ds = read(refused.made(("refusal",))["refusal"])
    codes = [item.ConceptCodeSequence[0] for item in ds.ContentSequence if item.ValueType == "CODE"]
    assert codes[-1].LongCodeValue == "not-a-chest-at-all"
    said = " ".join(item.TextValue for item in ds.ContentSequence if item.ValueType == "TEXT")
    for word in refused.result.reason.replace("\\", " ").split():
        shown = "".join(c for c in word if c.isprintable())
        assert shown[-80:] in said
