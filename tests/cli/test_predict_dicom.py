import json
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.cli.test_predict import errors_in_one_line


@pytest.fixture
def predict(command):
    return partial(command, "predict")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dicom", "sr"], "--dicom: needs a folder for the results; add -o OUT"),
        (["--dicom", "sr,seg", "-o", "out"], "no kind of DICOM object 'seg'; choose from sr, pm"),
    ],
)
def test_words_that_cannot_work(predict, tiny, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    errors_in_one_line(predict(tiny, tiny, *words), says)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_said_before_any_work(predict, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    outcome = predict(tiny, tiny, "--dicom", "sr", "-o", tmp_path / "out")
    errors_in_one_line(outcome, "highdicom is not installed; pip install 'darnet-trt[dicom]'")
    assert not (tmp_path / "out").exists()


def test_objects_of_results_that_lie_among_the_scans(predict, tiny, phantom_series, tmp_path):
    archive, out = tmp_path / "archive", tmp_path / "archive" / "out"
    archive.mkdir()
    (archive / "scan").symlink_to(phantom_series)
    words = (tiny, archive, "-o", out, "--dicom", "sr, pm,sc,refusal,sr")

    def line() -> dict:
        (found,) = map(json.loads, (out / "results.jsonl").read_text().splitlines())
        return found

    code, _, err = predict(*words)
    assert code == 0
    assert "3 DICOM objects" in err
    first = line()
    assert [Path(one["file"]).name for one in first["dicom"]] == ["sr.dcm", "pm.dcm", "sc.dcm"]
    assert len(list(out.rglob("*.dcm"))) == 3
    assert ",3," in (out / "results.csv").read_text().splitlines()[1]

    code, _, err = predict(*words, "--resume")
    assert "nothing left to do" in err
    (out / first["dicom"][0]["file"]).unlink()
    code, _, err = predict(*words, "--resume")
    assert (code, line()["dicom"], line()["finished"]) == (0, first["dicom"], first["finished"])

    code, _, err = predict(*words, "--resume", "--artifact", "onnxruntime-fp32")
    assert code == 0
    other = line()
    assert "several-places" not in err
    assert not {o["sop_uid"] for o in other["dicom"]} & {o["sop_uid"] for o in first["dicom"]}
    assert other["predecessor"]["sop_uid"] == first["dicom"][0]["sop_uid"]
    assert {str(f.relative_to(out)) for f in out.rglob("*.dcm")} == {
        one["file"] for one in other["dicom"]
    }
