"""Results that nobody had to compute, for the tests of the page."""

from pathlib import Path

from PIL import Image

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.results.result import Result, SeriesUsed, StageTimes, json_line

PAPER_CLASSES = ("covid-19", "common-pneumonia", "normal")


def result(number=0, **changes):
    """A scan classified as covid-19, finished `number` seconds after midnight."""
    fields = {
        "scan": f"P{number:05d}/1",
        "key": f"study:{number}",
        "content": "0",
        "study_uid": f"1.2.{number}",
        "status": "ok",
        "reason": "",
        "code": "",
        "predicted": "covid-19",
        "probabilities": dict(zip(PAPER_CLASSES, (0.8, 0.15, 0.05), strict=True)),
        "series": SeriesUsed(
            uid=f"1.3.{number}", description="Chest", slices=30, matrix=(8, 8), spacing_mm=None,
            why="the only series",
        ),
        "warnings": (),
        "stages_ms": StageTimes(find=1, read=20, preprocess=3, infer=100),
        "finished": f"2026-11-29T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:"
        f"{number % 60:02d}.000Z",
        "bundle_sha256": "ab" * 32,
        "artifact": "openvino-bf16",
        "precision": "bf16",
        "trained_on": "3 scans",
    }  # fmt: skip
    return Result(**{**fields, **changes})


def refused(number=0, **changes):
    return result(
        number,
        **{
            "status": "refused", "code": "too-few-slices", "reason": "it has 3 slices",
            "predicted": None, "probabilities": {}, "stages_ms": StageTimes(find=1), **changes,
        },
    )  # fmt: skip


def written(folder: Path, results) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_text("".join(map(json_line, results)))
    return folder


def overlay(folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(folder / name)
    return name


WARNED = (Finding("undecided", "undecided: covid-19 40 %"),)
