"""The README's commands run as printed, in its order, from an empty folder."""

import pytest

from darnet_trt import open_bundle, predict
from tests.pages import commands, run_each
from tests.test_examples import assert_example_agrees

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def test_every_command_under_use_runs(tmp_path):
    found = commands("README.md", "Use")
    assert [words[1] for words in found] == [
        "doctor", "phantom", "inspect", "train", "export", "build", "calibrate", "build",
        "bundle", "bundle", "predict", "predict", "report", "bench",
    ]  # fmt: skip
    run_each(found, tmp_path)
    assert len((tmp_path / "results" / "results.jsonl").read_text().splitlines()) == 12
    assert len(list((tmp_path / "results").glob("*.png"))) == 12
    bundle = tmp_path / "bundle"
    scan = tmp_path / "cohort" / "P0001" / "1"
    (result,) = predict(open_bundle(bundle), scan, artifact="onnxruntime-fp32")
    assert_example_agrees(bundle, scan.parent, result)
