"""An archive that holds the scans shows their objects in the same patient and study."""

import subprocess
import sys
import urllib.request
from io import BytesIO

import pytest
from pydicom import dcmread

from tests.runtime.delivery.examined.studies import bare, changed, japanese
from tests.runtime.delivery.orthanc import needs_orthanc
from tests.tiny_bundle import write_bundle

pytestmark = needs_orthanc


def tilted(ds):
    x, y, z = map(float, ds.ImagePositionPatient)
    ds.ImagePositionPatient = [x, round(y + 0.3 * z, 4), z]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    changed(folder / "japanese", japanese)
    changed(folder / "tilted", tilted, "T")
    bare(folder / "enhanced", enhanced=True)
    return folder


def fetched(archive, path):
    url = f"http://127.0.0.1:{archive.http}{path}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


@pytest.mark.parametrize("way", ["ae", pytest.param("web", marks=pytest.mark.slow)])
def test_objects_lie_beside_their_scans(archive, scans, tmp_path, way):
    for file in sorted(scans.rglob("*.dcm")):  # the archive has the scans already
        url = f"http://127.0.0.1:{archive.http}/instances"
        urllib.request.urlopen(urllib.request.Request(url, file.read_bytes()), timeout=20).close()
    patients, studies = archive.get("/patients"), archive.get("/studies")
    held = archive.instances()
    out = tmp_path / "out"
    words = ["predict", write_bundle(tmp_path / "bundle"), scans, "-o", out]
    words += ["--dicom", "sr,pm,sc", "--send", getattr(archive, way), "--send-refusals"]
    command = [sys.executable, "-m", "darnet_trt", *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    files = {str(dcmread(f).SOPInstanceUID): f for f in (out / "dicom").rglob("*.dcm")}
    assert len(files) == 2 * 3 + 1
    assert archive.instances() == sorted([*held, *files])
    assert sorted(archive.get("/patients")) == sorted(patients)
    assert sorted(archive.get("/studies")) == sorted(studies)
    series = [len(study["Series"]) for study in archive.get("/studies?expand")]
    assert sorted(series) == [2, 4, 4]
    for instance in archive.get("/instances?expand"):
        if own := files.get(instance["MainDicomTags"]["SOPInstanceUID"]):
            stored = dcmread(BytesIO(fetched(archive, f"/instances/{instance['ID']}/file")))
            assert stored == dcmread(own)
