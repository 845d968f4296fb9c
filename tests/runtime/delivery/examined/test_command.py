"""`predict --dicom` writes the objects that its lines name, and no others."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.phantom.files.images import write_nifti
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import source_of
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.scan import find_studies
from darnet_trt.scan.loading.load import load_study
from tests.runtime.delivery.checkers import (
    dciodvfy,
    dsrdump,
    has_dciodvfy,
    has_dsrdump,
    strictly_read,
)
from tests.runtime.delivery.examined.studies import PHANTOM, bare, changed, phantom
from tests.tiny_bundle import write_bundle

KINDS = ["sr", "pm", "sc"]
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def tilted(ds):
    x, y, z = map(float, ds.ImagePositionPatient)
    ds.ImagePositionPatient = [x, round(y + 0.3 * z, 4), z]


def of_its_own_series(ds):
    ds.SeriesInstanceUID = f"{ds.SeriesInstanceUID[:50]}.{ds.InstanceNumber}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Studies, a bundle, and the results in `out`."""
    folder = tmp_path_factory.mktemp("command")
    scans = folder / "scans"
    phantom(scans / "whole")
    bare(scans / "enhanced", enhanced=True)
    changed(scans / "tilted", tilted, "T")
    changed(scans / "joined", of_its_own_series, "J")
    changed(scans / "no frame of reference", lambda ds: delattr(ds, "FrameOfReferenceUID"), "N")
    (scans / "nifti").mkdir()
    write_nifti(PHANTOM, scans / "nifti" / "scan.nii.gz")
    write_bundle(folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def lines(folder):
    return run(folder)


def run(folder, *more, **environment):
    """Run the command; return the lines by the name of the study."""
    words = ["predict", folder / "bundle", folder / "scans", "-o", folder / "out"]
    words += ["--dicom", "sr,pm,sc,refusal", *more]
    ran = subprocess.run(
        [sys.executable, "-m", "darnet_trt", *map(str, words)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    text = (folder / "out" / "results.jsonl").read_text()
    every = [json.loads(line) for line in text.splitlines()]
    return {Path(line["scan"]).parts[0]: line for line in every}


def files(folder, line):
    return {each["kind"]: folder / "out" / each["file"] for each in line["dicom"]}


def test_each_study_has_the_objects_that_it_can_have(lines):
    kinds = {name: [each["kind"] for each in line["dicom"]] for name, line in lines.items()}
    assert kinds == {
        "whole": KINDS,
        "enhanced": KINDS,
        "joined": KINDS,
        "no frame of reference": ["sr", "sc"],
        "tilted": ["refusal"],
        "nifti": [],
    }
    for name in ("nifti", "no frame of reference"):
        assert "no-dicom-objects" in [each["code"] for each in lines[name]["warnings"]]
    assert lines["nifti"]["status"] == "ok"


def test_the_lines_name_all_files_and_only_their_owner_may_read_them(folder, lines):
    named = [file for line in lines.values() for file in files(folder, line).values()]
    assert sorted(named) == sorted((folder / "out" / "dicom").rglob("*.dcm"))
    for file in named:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_lines_name_the_instances(folder, lines):
    for line in lines.values():
        for each in line["dicom"]:
            ds = dcmread(folder / "out" / each["file"])
            said = each["sop_class"], each["sop_uid"], each["series_uid"]
            assert said == (ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID)
            assert ds.StudyInstanceUID == line["study_uid"]


def test_the_files_are_what_the_stored_line_gives(folder, lines):
    bundle = open_bundle(folder / "bundle")
    spec = bundle.manifest.preprocessing
    places = [folder / "scans" / name for name in ("whole", "enhanced")]
    for again in predict(bundle, places, evidence=True):
        line = next(line for line in lines.values() if line["key"] == again.key)
        (study,) = find_studies(folder / "scans" / line["scan"])
        choice, loaded = load_study(study, spec)
        low, high = loaded.sampled.covered
        source = source_of(choice.series, spec, (low, high + 1))
        stored = Result.model_validate(line)
        for made in make_objects(stored, again.evidence, source, KINDS, bundle.manifest.model, {}):
            assert made.content == files(folder, line)[made.kind].read_bytes()


@has_dciodvfy
def test_dciodvfy_has_no_error(folder, lines):
    for name, line in lines.items():
        for kind, file in files(folder, line).items():
            assert dciodvfy(file) == set(), (name, kind)
            strictly_read(file)


def test_slices_of_many_series_are_evidence_of_each(folder, lines):
    report = dcmread(files(folder, lines["joined"])["sr"])
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    listed = [
        (series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    slices = [dcmread(f, stop_before_pixels=True) for f in (folder / "scans" / "joined").iterdir()]
    assert sorted(listed) == sorted((ds.SeriesInstanceUID, ds.SOPInstanceUID) for ds in slices)


@has_dsrdump
def test_a_refusal_says_why(folder, lines):
    line = lines["tilted"]
    file = files(folder, line)["refusal"]
    assert dcmread(file).SOPClassUID == BASIC_TEXT_SR
    said = dsrdump(file)
    assert line["status"] == "refused"
    assert line["reason"] in said
    assert line["code"] in said
    assert "Research use only" in said
    assert "PRELIMINARY" in said


@pytest.mark.slow
def test_files_that_are_gone_are_made_again_as_they_were(folder, lines):
    before = {f: f.read_bytes() for f in (folder / "out" / "dicom").rglob("*.dcm")}
    for name in ("whole", "tilted"):
        for file in files(folder, lines[name]).values():
            file.unlink()
    again = run(folder, "--resume", TZ="Asia/Tokyo", PYTHONHASHSEED="7", LC_ALL="C")
    assert {f: f.read_bytes() for f in (folder / "out" / "dicom").rglob("*.dcm")} == before
    assert {name: line["finished"] for name, line in again.items()} == {
        name: line["finished"] for name, line in lines.items()
    }


@pytest.mark.slow
def test_a_grown_study_names_the_report_before(folder, lines, tmp_path):
    own = tmp_path
    whole = phantom(own / "kept", "G")
    (own / "scans" / "grown").mkdir(parents=True)
    shutil.copytree(folder / "bundle", own / "bundle")
    every = sorted(whole.iterdir())
    for file in every[:-4]:
        shutil.copy(file, own / "scans" / "grown")
    first = run(own)["grown"]
    for file in every[-4:]:
        shutil.copy(file, own / "scans" / "grown")
    second = run(own, "--resume")["grown"]
    report = dcmread(files(own, second)["sr"])
    assert report.SOPInstanceUID != first["dicom"][0]["sop_uid"]
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (item,) = series.ReferencedSOPSequence
    said = (study.StudyInstanceUID, series.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
    before = first["dicom"][0]
    assert said == (first["study_uid"], before["series_uid"], before["sop_uid"])
    assert item.ReferencedSOPClassUID == before["sop_class"]
    left = sorted((own / "out" / "dicom").rglob("*.dcm"))
    assert left == sorted(files(own, second).values())
