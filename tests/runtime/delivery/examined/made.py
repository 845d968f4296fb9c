"""Objects of scans, made as `predict --dicom` makes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.delivery.objects.make import make_objects
from darnet_trt.runtime.delivery.source import Source, source_of
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import json_line
from darnet_trt.scan import find_studies
from darnet_trt.scan.loading.load import load_study


@dataclass(frozen=True)
class Made:
    """The objects of a study.

    Attributes:
        line: Its result, as `results.jsonl` has it.
        files: Kind → file.
    """

    line: dict[str, Any]
    files: dict[str, Path]


def made_objects(
    bundle: Path, scans: Path, out: Path, kinds: Sequence[str] = ("sr", "pm", "sc")
) -> dict[str, Made]:
    """Classify every study under a folder; return the objects of each by its folder in there."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    studies = {study.uid: study for study in find_studies(scans)}
    made = {}
    for result in predict(opened, scans, evidence=True):
        line = json.loads(json_line(result))
        assert result.status == "ok", line
        choice, loaded = load_study(studies[result.study_uid], manifest.preprocessing)
        low, high = loaded.sampled.covered
        source = source_of(choice.series, manifest.preprocessing, (low, high + 1))
        assert isinstance(source, Source), source
        files = {}
        for one in make_objects(result, result.evidence, source, kinds, manifest.model, {}):
            files[one.kind] = out / result.scan / f"{one.kind}.dcm"
            files[one.kind].parent.mkdir(parents=True, exist_ok=True)
            files[one.kind].write_bytes(one.content)
        made[Path(result.scan).parts[0]] = Made(line, files)
    return made
