"""From files that come in to results that stand."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.runtime.delivery.dicom_peers import peer
from tests.runtime.delivery.folders import PAPER_CLASSES
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.service import Running, check_promise, running
from tests.tiny_bundle import write_bundle

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[Running]:
    """A service for all these tests; each has a study of its own."""
    folder = tmp_path_factory.mktemp("service")
    bundle, kinds = write_bundle(folder / "bundle"), ("sr", "sc", "refusal")
    with (
        peer(classes=(*PAPER_CLASSES.values(), BASIC_TEXT_SR)) as pacs,
        running(bundle, folder / "state", objects=kinds, send=(pacs.ae,)) as service,
    ):
        yield service
        check_promise(service)
        service.studies.drain(time.monotonic() + 30)
        assert set(Counter(pacs.stored).values()) <= {1}  # nothing was sent twice
        views = service.studies.list(99)
        standing = {one.sop_uid for view in views for r in view.results for one in r.dicom}
        assert standing <= set(pacs.stored)


def evidence_of(report: bytes) -> set[str]:
    """The files that a report names as evidence."""
    (study,) = pydicom.dcmread(io.BytesIO(report)).CurrentRequestedProcedureEvidenceSequence
    return {
        sop.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }


def test_a_study_that_came_in_has_a_result_its_picture_and_its_report(
    tiny, phantom_series, tmp_path
):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 1).iterdir())
    seen = []
    with running(tiny, tmp_path / "state", objects=("sr", "sc"), identifiers=True) as made:
        stop = made.studies.watch(lambda view: seen.append(view.state))
        (study,) = {each.study for each in made.send(*files)}
        view = made.wait(study)
        (result,) = view.results
        assert (result.status, result.study_uid) == ("ok", "2.25.1")
        assert (view.received, view.used, view.left_out, view.refused) == (len(files),) * 2 + (0, 0)
        assert view.first <= view.last
        sent = {pydicom.dcmread(file).SOPInstanceUID for file in files}
        assert evidence_of(made.studies.object(study, "sr")) == sent
        assert {each.sop_uid for each in made.studies.instances(study)} == sent
        assert made.studies.object(study, "pm") is None
        assert Image.open(io.BytesIO(made.studies.overlay(study))).width > 100
        evidence = made.studies.evidence(study)
        assert evidence.volume.shape == (16, 32, 32)
        assert evidence.cam.shape == (3, 2, 2, 2)
        assert 0 <= evidence.volume.min() < evidence.volume.max() <= 1
        bias = np.array([0.5, 0, -0.1])
        e = np.exp(evidence.cam.mean((1, 2, 3)) + bias)
        assert [*result.probabilities.values()] == pytest.approx((e / e.sum()).tolist(), abs=1e-2)
        check_promise(made)
        end = time.monotonic() + 60
        while seen[-1:] != ["done"] and time.monotonic() < end:
            time.sleep(0.05)
        stop()
    assert seen[0] == "receiving"
    assert seen[-1] == "done"
    with running(tiny, tmp_path / "state", identifiers=True) as made:
        again = made.studies.view(study)
        assert again == view
        assert [each.id for each in made.studies.list(5)] == [study]
        check_promise(made)


def test_late_slices_make_a_new_result_that_names_the_old_one(made, phantom_series, tmp_path):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 11).iterdir())
    (study,) = {each.study for each in made.send(*files[:-3])}
    (before,) = made.wait(study).results
    made.send(*files[-3:])
    view = made.wait(study, lambda v: v.state == "done" and v.used == len(files))
    (after,) = view.results
    assert after.key == before.key
    assert after.predecessor.sop_uid == before.dicom[0].sop_uid != after.dicom[0].sop_uid
    assert after.replaces == before.content
    made.send(*files)  # all once more
    assert made.studies.view(study) == view


def test_what_changes_nothing_leaves_the_result_as_it_is(made, phantom_series, tmp_path):
    """A localizer comes late, and another content of a slice: the report stays the same one."""
    files = sorted(write_study(phantom_series, tmp_path / "scan", 12).iterdir())
    localizer = pydicom.dcmread(files[0])
    localizer.SeriesInstanceUID, localizer.SOPInstanceUID = "2.25.12.9", "2.25.12.9.1"
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    localizer.save_as(tmp_path / "localizer.dcm")
    other = pydicom.dcmread(files[0])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other.dcm")
    (study,) = {each.study for each in made.send(*files)}
    (before,) = made.wait(study).results
    made.send(tmp_path / "localizer.dcm")
    (conflict,) = made.send(tmp_path / "other.dcm")
    assert conflict.outcome == "conflict"
    view = made.wait(study, lambda v: v.state == "done" and v.received == len(files) + 2)
    (after,) = view.results
    assert (after.dicom, after.finished) == (before.dicom, before.finished)
    assert after.predecessor is None
    assert (view.used, view.left_out, view.refused) == (len(files), 1, 1)
    whys = {each.fate: (each.sop_uid, each.why) for each in made.studies.instances(study)}
    assert whys["left out"][0] == "2.25.12.9.1"
    assert "localizer" in whys["left out"][1]
    assert whys["refused"][0] == other.SOPInstanceUID


def test_what_cannot_be_read_is_refused_and_harms_nothing_else(made, phantom_series, tmp_path):
    """A file that is cut within its pixels, a report, a thin copy, and a second series."""
    files = sorted(write_study(phantom_series, tmp_path / "scan", 13).iterdir())
    cut = pydicom.dcmread(files[3])
    cut.SOPInstanceUID, cut.InstanceNumber = "2.25.13.7.1", 900
    cut.save_as(tmp_path / "cut.dcm")
    content = (tmp_path / "cut.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[:-1000])
    report = pydicom.dcmread(files[3])
    report.Modality, report.SOPInstanceUID, report.SeriesInstanceUID = (
        "SR",
        "2.25.13.8.1",
        "2.25.13.8",
    )
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    del report.PixelData
    report.save_as(tmp_path / "report.dcm")
    copy = pydicom.dcmread(files[4])
    copy.SOPInstanceUID = "2.25.13.6.1"
    copy.save_as(tmp_path / "copy.dcm")
    second = []
    for number, file in enumerate(files[::3]):
        header = pydicom.dcmread(file)
        header.SeriesInstanceUID, header.SeriesNumber = "2.25.13.5", 5
        header.SOPInstanceUID = f"2.25.13.5.{number}"
        header.SliceThickness = "30"
        header.save_as(tmp_path / f"second{number}.dcm")
        second.append(tmp_path / f"second{number}.dcm")
    more = [tmp_path / f"{name}.dcm" for name in ("cut", "report", "copy")]
    (study,) = {each.study for each in made.send(*files, *more, *second)}
    view = made.wait(study)
    (result,) = view.results
    assert result.status == "ok"
    fates = {each.sop_uid: each for each in made.studies.instances(study)}
    assert fates["2.25.13.7.1"].fate == "refused"
    assert "truncated" in fates["2.25.13.7.1"].why
    assert fates["2.25.13.8.1"].fate == "refused"
    assert "SR" in fates["2.25.13.8.1"].why
    assert fates["2.25.13.6.1"].fate == "left out" or fates[copy.SOPInstanceUID].fate == "used"
    assert {fates[f"2.25.13.5.{n}"].fate for n in range(len(second))} == {"left out"}
    assert view.used == len(files)


def test_a_study_that_is_refused_and_one_that_cannot_be_read_count_all_their_files(
    made, phantom_series, tmp_path
):
    few = sorted(write_study(phantom_series, tmp_path / "few", 14, slices=slice(3)).iterdir())
    broken = sorted(write_study(phantom_series, tmp_path / "broken", 64, slices=slice(3)).iterdir())
    for file in broken:
        header = pydicom.dcmread(file)
        del header.Modality, header.Rows
        header.save_as(file)
        content = file.read_bytes()
        at = content.index(b"\x20\x00\x0e\x00UI")  # SeriesInstanceUID
        file.write_bytes(content[:at] + b"\x20\x00\x0e\x00UI\xff\xff" + content[at + 8 :])
    (one,) = {each.study for each in made.send(*few)}
    (two,) = {each.study for each in made.send(*broken)}
    view = made.wait(one)
    assert [result.status for result in view.results] == ["refused"]
    assert (view.used, view.refused) == (0, 3)
    assert made.studies.object(one, "refusal")
    assert made.studies.evidence(one) is None
    assert made.studies.overlay(one) is None
    view = made.wait(two)
    assert len(view.results) == 1
    assert view.results[0].status in ("refused", "failed")
    assert view.used == 0
    made.send(*sorted(write_study(phantom_series, tmp_path / "more", 14).iterdir()))
    view = made.wait(one, lambda v: v.state == "done" and v.used > 0)
    assert view.results[0].predecessor is not None


def test_a_volume_file_is_a_study_that_waits_for_nothing(made, phantom_series, tmp_path):
    import SimpleITK

    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(phantom_series))
    SimpleITK.WriteImage(SimpleITK.ReadImage(names), tmp_path / "scan.nii.gz")
    received = made.store.keep_volume([(tmp_path / "scan.nii.gz").read_bytes()], peer="")
    view = made.wait(received.study)
    assert (view.results[0].status, view.used) == ("ok", 1)


def test_two_patients_under_one_uid_have_a_result_each(made, phantom_series, tmp_path):
    """The second one comes later, and one more file that names no patient."""
    files = sorted(write_study(phantom_series, tmp_path / "scan", 30).iterdir())
    second = sorted(write_study(phantom_series, tmp_path / "second", 30).iterdir())
    for number, file in enumerate(second):
        header = pydicom.dcmread(file)
        header.PatientID = "another" if number else ""
        header.SeriesInstanceUID = "2.25.30.2"
        header.SOPInstanceUID = f"2.25.30.2.{number}"
        header.save_as(file)
    sent = {pydicom.dcmread(file).SOPInstanceUID for file in files}
    (study,) = {each.study for each in made.send(*files)}
    assert len(made.wait(study).results) == 1
    made.send(*second[1:])
    both = len(files) + len(second) - 1
    view = made.wait(study, lambda v: v.state == "done" and v.received == both)
    assert [result.status for result in view.results] == ["ok", "ok"]
    assert len({result.patient_id for result in view.results}) == 2
    assert view.used == both
    owners = {(each.sop_uid in sent, each.result) for each in made.studies.instances(study)}
    assert len(owners) == len({key for _, key in owners}) == 2
    made.send(second[0])
    view = made.wait(study, lambda v: v.state == "done" and v.received == both + 1)
    assert [result.status for result in view.results] == ["ok", "ok"]


@pytest.mark.slow
def test_results_that_somebody_took_away_are_made_again(made, phantom_series, tmp_path):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 31).iterdir())
    bundle, state = made.settings.bundle, tmp_path / "state"
    with running(bundle, state) as own:
        (study,) = {each.study for each in own.send(*files)}
        before = own.wait(study)
    (state / "results" / "results.jsonl").unlink()
    with running(bundle, state) as own:
        after = own.wait(study)
        assert after.results[0].probabilities == before.results[0].probabilities
        assert after.first == before.first
        check_promise(own)
