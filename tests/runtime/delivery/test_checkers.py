"""The checkers accept a sound report, made by highdicom, and find what is wrong with others."""

import warnings
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from tests.runtime.delivery.checkers import (
    dciodvfy,
    dsrdump,
    has_dciodvfy,
    has_dsrdump,
    has_pixelmed,
    pixelmed,
    strictly_read,
)

CT = Code("25045-6", "LN", "CT unspecified body region")


def report(series: Path, file: Path, procedure: Code = CT) -> Path:
    """Write the smallest report of TID 1500 with a probability."""
    slices = [dcmread(slice_) for slice_ in sorted(series.iterdir())[:3]]
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(), identifier="normal"),
        finding_type=Code("17621005", "SCT", "Normal"),
        finding_sites=[hd.sr.FindingSite(Code("39607008", "SCT", "Lung"))],
        algorithm_id=hd.sr.AlgorithmIdentification("hand-made", "1"),
        measurements=[
            hd.sr.Measurement(
                name=Code("122157", "DCM", "Probability"),
                value=0.25,
                unit=Code("1", "UCUM", "no units"),
            )
        ],
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(slices[1])],
    )
    device = hd.sr.ObserverContext(
        observer_type=Code("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(generate_uid()),
    )
    with warnings.catch_warnings():  # a phantom's name is one word
        warnings.simplefilter("ignore", UserWarning)
        hd.sr.Comprehensive3DSR(
            evidence=slices,
            content=hd.sr.MeasurementReport(
                hd.sr.ObservationContext(observer_device_context=device),
                procedure_reported=procedure,
                imaging_measurements=[group],
                title=Code("126000", "DCM", "Imaging Measurement Report"),
            ),
            series_number=900,
            series_instance_uid=generate_uid(),
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="hand-made",
            is_complete=True,
            is_verified=False,
        ).save_as(file)
    return file


@has_dciodvfy
def test_dciodvfy_finds_a_missing_attribute(phantom_series, tmp_path):
    file = report(phantom_series, tmp_path / "sr.dcm")
    assert dciodvfy(file) == set()
    ds = dcmread(file)
    del ds.CompletionFlag
    ds.save_as(file)
    (error,) = dciodvfy(file)
    assert "CompletionFlag" in error


@has_dciodvfy
def test_dciodvfy_finds_a_file_that_is_no_dicom(tmp_path):
    (tmp_path / "sr.dcm").write_bytes(b"")
    assert dciodvfy(tmp_path / "sr.dcm")


@has_dsrdump
def test_dsrdump_prints_values_and_codes_and_fails_for_a_broken_tree(phantom_series, tmp_path):
    file = report(phantom_series, tmp_path / "sr.dcm")
    said = dsrdump(file)
    assert "122157,DCM" in said
    assert '"0.25"' in said
    ds = dcmread(file)
    del ds.ContentSequence[-1].RelationshipType
    ds.save_as(file)
    with pytest.raises(AssertionError):
        dsrdump(file)


def test_pydicom_refuses_a_value_that_its_representation_forbids(phantom_series, tmp_path):
    file = report(phantom_series, tmp_path / "sr.dcm")
    strictly_read(file)
    file.write_bytes(file.read_bytes().replace(b"COMPLETE", b"complete"))
    with pytest.raises(ValueError, match="complete"):
        strictly_read(file)


@pytest.mark.slow
@has_pixelmed
def test_pixelmed_finds_a_code_outside_its_context_group(phantom_series, tmp_path):
    assert pixelmed(report(phantom_series, tmp_path / "sr.dcm")) == []
    other = Code("169069000", "SCT", "CT of chest")
    (said,) = pixelmed(report(phantom_series, tmp_path / "other.dcm", other))
    assert "context group 100" in said


@pytest.mark.slow
@has_pixelmed
def test_pixelmed_is_not_taken_at_its_silence(tmp_path):
    (tmp_path / "sr.dcm").write_bytes(b"")
    with pytest.raises(AssertionError):
        pixelmed(tmp_path / "sr.dcm")
