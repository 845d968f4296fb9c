"""Answers about small series, as an engine would give them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import FileDataset

from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import Source, source_of
from darnet_trt.runtime.prediction.results.result import Evidence, Result, StageTimes
from darnet_trt.scan import Preprocessing, Series

ABOUT = ModelCard(
    attention="both", width=4, parameters=1, checkpoint_sha256="0" * 64, trained_on="phantoms"
)
SPEC = Preprocessing(size=(16, 64, 32))
RESULT = Result(
    scan="ward/7",
    key="study:1.2.3",
    content="0",
    study_uid="1.2.3",
    status="ok",
    reason="",
    code="",
    predicted="covid-19",
    probabilities={"covid-19": 0.7123456, "common-pneumonia": 0.2, "normal": 0.0876544},
    series=None,
    warnings=(),
    stages_ms=StageTimes(),
    finished="2026-11-29T06:40:07.123Z",
    bundle_sha256="ab" * 32,
    artifact="openvino-bf16",
    precision="bf16",
    trained_on="12 synthetic phantoms",
)
REFUSED = RESULT.model_copy(
    update={
        "status": "refused",
        "reason": "not a chest: no lung was found",
        "code": "not-a-chest-at-all",
        "predicted": None,
        "probabilities": {},
    }
)
KINDS = ("sr", "pm", "sc")


@dataclass(frozen=True)
class Answer:
    """What objects are made of."""

    source: Source
    evidence: Evidence
    result: Result = RESULT

    def made(self, kinds: tuple[str, ...] = KINDS, **more: Any) -> dict[str, bytes]:
        """Return the bytes of each kind."""
        result = self.result.model_copy(update={"predecessor": more.pop("predecessor", None)})
        more = {"about": ABOUT, "class_codes": {}, **more}
        objects = make_objects(result, self.evidence, self.source, kinds, **more)
        return {one.kind: one.content for one in objects}

    def with_cam(self, cam: Any) -> Answer:
        return replace(self, evidence=replace(self.evidence, cam=np.asarray(cam, np.float32)))


def answer(series: Series, result: Result = RESULT) -> Answer:
    """Return an answer about a series, whose map has its peak in a corner of each class's own."""
    source = source_of(series, SPEC, (1, series.slices - 1))
    assert isinstance(source, Source), source
    cells = SPEC.size[0] // 8, SPEC.size[1] // 16, SPEC.size[2] // 16
    cam = np.random.default_rng(0).normal(0, 1, (3, *cells)).astype(np.float32)
    return Answer(source, Evidence(np.zeros(SPEC.size, np.float32), cam, True), result)


def read(content: bytes) -> FileDataset:
    from io import BytesIO

    return dcmread(BytesIO(content))


def written(content: bytes, folder: Path, name: str) -> Path:
    file = folder / f"{name}.dcm"
    file.write_bytes(content)
    return file
