"""From files that come in to results that stand."""

from __future__ import annotations

import io
import time

import numpy as np
import pydicom
import pytest
from PIL import Image

from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.service import check_promise, running


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


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
        end = time.monotonic() + 10
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
