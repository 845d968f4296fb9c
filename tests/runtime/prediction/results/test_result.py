import json

import pytest
from pydantic import ValidationError

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.results.result import (
    INTENDED_USE,
    SCHEMA_VERSION,
    Result,
    SeriesUsed,
    SlicesUsed,
    StageTimes,
    json_line,
    json_schema,
    now,
    undecided,
)

SERIES = SeriesUsed(
    uid="1.2.3.4",
    number=3,
    description="Thorax",
    slices=79,
    matrix=(512, 512),
    spacing_mm=(4.0, 0.7, 0.7),
    why="the only one",
    sampled=SlicesUsed(
        indices=(5, 6),
        positions_mm=(-80.0, -76.0),
        sop_uids=("1.2.3.4.5", "1.2.3.4.6"),
        lungs=(10, 70),
        covered=(3, 77),
        left_out=0.05,
        left_out_mm=16.0,
    ),
)


def result(scan: str = "scans/a", status: str = "ok", **changes: object) -> Result:
    fields = {
        "scan": scan,
        "key": f"study:{scan}",
        "content": "c1",
        "study_uid": "1.2.3",
        "status": status,
        "reason": "" if status == "ok" else "gantry tilted by 18.5°",
        "code": "" if status == "ok" else "tilted",
        "predicted": "normal" if status == "ok" else None,
        "probabilities": {"covid-19": 0.25, "normal": 0.75} if status == "ok" else {},
        "series": SERIES,
        "warnings": (Finding("thick-slices", "slices of 8 mm"), Finding("few-slices", "30 slices")),
        "stages_ms": StageTimes(find=1, read=2, preprocess=3, infer=4),
        "finished": "2026-11-29T06:40:07.123Z",
        "bundle_sha256": "b" * 64,
        "artifact": "openvino-fp32",
        "precision": "fp32",
        "trained_on": "phantoms",
    }
    return Result(**{**fields, **changes})


def test_a_line_holds_the_class_and_what_it_is_based_on():
    content = json.loads(json_line(result()))
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["class"] == "normal"
    assert content["probabilities"] == {"covid-19": 0.25, "normal": 0.75}
    assert content["stages_ms"]["total"] == 10
    assert content["intended_use"] == INTENDED_USE
    assert content["trained_on"] == "phantoms"
    assert content["code"] == ""
    assert content["undecided"] is False
    assert content["warnings"][1] == {"code": "few-slices", "text": "30 slices"}


def test_codes_are_kept_where_a_line_is_read_again():
    again = Result.model_validate(json.loads(json_line(result(status="refused"))))
    assert (again.code, [w.code for w in again.warnings]) == (
        "tilted",
        ["thick-slices", "few-slices"],
    )


def test_a_line_has_exactly_the_fields_of_its_schema():
    schema, line = json_schema(), json.loads(json_line(result()))
    assert list(schema["properties"]) == list(line)
    assert schema["required"] == list(line)
    for part, fields in (
        ("SeriesUsed", line["series"]),
        ("StageTimes", line["stages_ms"]),
        ("SlicesUsed", line["series"]["sampled"]),
    ):
        assert list(schema["$defs"][part]["properties"]) == list(fields)
    warning = schema["properties"]["warnings"]["items"]
    assert list(warning["properties"]) == list(line["warnings"][0])
    every = [schema, warning, *schema["$defs"].values()]
    assert all("description" in field for part in every for field in part["properties"].values())


def test_digits_of_noise_are_not_written():
    odd = result(probabilities={"covid-19": 1 / 3, "normal": 2 / 3}, stages_ms={"find": 1.23456})
    content = json.loads(json_line(odd))
    assert content["probabilities"] == {"covid-19": 0.333333, "normal": 0.666667}
    assert content["stages_ms"]["find"] == content["stages_ms"]["total"] == 1.23


def test_a_class_that_hardly_leads_is_undecided():
    near = {"covid-19": 0.339, "common-pneumonia": 0.32, "normal": 0.341}
    doubt = undecided(near)
    assert doubt == "undecided: normal 34.1 %, covid-19 33.9 %, common-pneumonia 32.0 %"
    assert undecided({**near, "normal": 0.45}) is None
    assert result(probabilities=near).undecided
    assert not result(status="refused").undecided


def test_text_of_megabytes_is_cut():
    """DICOM's text attributes hold any length where a header is broken."""
    series = SERIES.model_copy(update={"sampled": None})
    wide = {**series.model_dump(), "description": "ä" * 2_000_000, "number": 10**30}
    long = result(
        series=wide, warnings=(Finding("odd", "w" * 2_000_000),), patient_id="7" * 2_000_000
    )
    assert len(json_line(long)) < 20_000
    assert long.warnings[0].code == "odd"
    assert long.series.number is None


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", "", "a\0b"])
def test_an_overlay_lies_in_its_folder(name):
    with pytest.raises(ValidationError):
        result(overlay=name)


@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-01T00:00:00.000Z", "2026-11-29T06:40"])
def test_the_finish_is_a_time_in_utc(time):
    assert result(finished=now()).finished.endswith("Z")
    with pytest.raises(ValidationError):
        result(finished=time)
