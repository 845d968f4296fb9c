import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt.errors import Finding, OutputError, UsageError
from darnet_trt.runtime.prediction.results.folder import ResultFolder, overlay_name
from darnet_trt.runtime.prediction.results.result import (
    INTENDED_USE,
    SCHEMA_VERSION,
    Result,
    SeriesUsed,
    SlicesUsed,
    StageTimes,
    json_line,
    json_schema,
    undecided,
)
from tests.full_disk import files_up_to

SERIES = SeriesUsed(
    uid="1.2.3.4",
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


def result(scan: str = "/scans/a", status: str = "ok", **changes: object) -> Result:
    fields = {
        "scan": scan,
        "study_uid": "1.2.3",
        "status": status,
        "reason": "" if status == "ok" else "gantry tilted by 18.5°",
        "code": "" if status == "ok" else "tilted",
        "predicted": "normal" if status == "ok" else None,
        "probabilities": {"covid-19": 0.25, "normal": 0.75} if status == "ok" else {},
        "series": SERIES,
        "warnings": (Finding("thick-slices", "slices of 8 mm"), Finding("few-slices", "30 slices")),
        "stages_ms": StageTimes(find=1, read=2, preprocess=3, infer=4),
        "bundle": "b" * 64,
        "artifact": "openvino-fp32",
        "precision": "fp32",
        "trained_on": "phantoms",
    }
    return Result(**{**fields, **changes})


def lines(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def rows(folder):
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_line_holds_the_class_and_what_it_is_based_on():
    content = json.loads(json_line(result()))
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["class"] == "normal"
    assert content["probabilities"] == {"covid-19": 0.25, "normal": 0.75}
    assert content["stages_ms"]["total"] == 10
    assert content["intended_use"] == INTENDED_USE
    assert content["trained_on"] == "phantoms"
    assert content["code"] == ""
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


def test_each_line_is_written_at_once_and_the_csv_at_the_end(tmp_path):
    with ResultFolder(tmp_path / "out", resume=False) as folder:
        folder.add(result(status="refused"))
        assert len(lines(tmp_path / "out")) == 1
        folder.add(result("/scans/b"))
    refused, ok = rows(tmp_path / "out")
    assert (refused["status"], refused["class"]) == ("refused", "")
    assert (refused["reason"], refused["code"]) == ("gantry tilted by 18.5°", "tilted")
    assert (ok["class"], ok["probability_covid-19"], ok["spacing_d_mm"]) == (
        "normal",
        "0.25",
        "4.0",
    )
    assert ok["warnings"] == "slices of 8 mm; 30 slices"


def test_a_resumed_run_skips_ok_results_and_repeats_failed_and_cut_off_ones(tmp_path):
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result("/scans/torn", status="failed"))
        folder.add(result("/scans/ok"))
        folder.add(result("/scans/tilted", status="refused"))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"scan": "/scans/half')
    with ResultFolder(tmp_path, resume=True) as folder:
        done = folder.finished("b" * 64, "openvino-fp32")
        assert done == {("/scans/ok", "1.2.3")}
        assert not folder.finished("c" * 64, "openvino-fp32")
        folder.add(result("/scans/torn"))
    assert [line["scan"] for line in lines(tmp_path)] == [
        "/scans/ok",
        "/scans/tilted",
        "/scans/torn",
    ]
    assert [row["status"] for row in rows(tmp_path)] == ["ok", "refused", "ok"]


def test_a_scan_keeps_only_its_newest_result(tmp_path):
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result("/scans/a"))
        folder.add(result("/scans/b"))
        folder.add(result("/scans/a", study_uid="another study in the same folder"))
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.add(result("/scans/a", artifact="openvino-int8"))
    assert [(r["scan"], r["artifact"]) for r in lines(tmp_path)] == [
        ("/scans/b", "openvino-fp32"),
        ("/scans/a", "openvino-fp32"),
        ("/scans/a", "openvino-int8"),
    ]
    assert [r["artifact"] for r in rows(tmp_path)] == [r["artifact"] for r in lines(tmp_path)]


def test_an_old_result_stays_until_the_new_one_is_written(tmp_path):
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result("/scans/a"))
        folder.add(result("/scans/b"))
        folder.add(result("/scans/c", status="failed"))
    program = (
        "import os; from pathlib import Path\n"
        "from tests.runtime.prediction.test_result_folder import ResultFolder, result\n"
        f"folder = ResultFolder(Path({str(tmp_path)!r}), resume=True, asked=[Path('/scans')])\n"
        "folder.add(result('/scans/a', artifact='openvino-int8')); os._exit(9)"
    )
    child = subprocess.run([sys.executable, "-c", program], check=False)
    assert child.returncode == 9
    assert {r["scan"] for r in lines(tmp_path)} == {"/scans/a", "/scans/b", "/scans/c"}
    with ResultFolder(tmp_path, resume=True):
        pass
    assert [(r["scan"], r["artifact"]) for r in lines(tmp_path)] == [
        ("/scans/b", "openvino-fp32"),
        ("/scans/c", "openvino-fp32"),
        ("/scans/a", "openvino-int8"),
    ]


@pytest.mark.parametrize("status", ["failed", "refused"])
def test_a_scan_that_is_gone_is_dropped_where_the_run_looked_for_it(tmp_path, status):
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result("/day1", status, study_uid=""))  # such as a share that was not mounted
        folder.add(result("/day2", status, study_uid=""))
    with ResultFolder(tmp_path, resume=True, asked=[Path("/day1")]) as folder:
        folder.add(result("/day1/patient"))
    assert [r["scan"] for r in rows(tmp_path)] == ["/day2", "/day1/patient"]


def test_an_overlay_is_deleted_with_its_result(tmp_path):
    drawn = result(overlay=overlay_name(result()))
    with ResultFolder(tmp_path, resume=False) as folder:
        (tmp_path / drawn.overlay).write_bytes(b"a picture")
        folder.add(drawn)
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.add(result(artifact="openvino-int8"))
    assert not (tmp_path / drawn.overlay).exists()


def test_results_without_a_schema_version_are_continued(tmp_path):
    old = json.loads(json_line(result("/scans/old")))
    del old["schema_version"]
    (tmp_path / "results.jsonl").write_text(json.dumps(old) + "\n")
    with ResultFolder(tmp_path, resume=True) as folder:
        assert folder.finished("b" * 64, "openvino-fp32") == {("/scans/old", "1.2.3")}
    assert lines(tmp_path) == [{"schema_version": SCHEMA_VERSION, **old}]


@pytest.mark.parametrize(
    "change",
    [{"probabilities": None}, {"scan": []}, {"stages_ms": 3}, {"schema_version": 1}, None],
)
def test_a_line_that_does_not_fit_the_schema_is_not_changed(tmp_path, change):
    other = json.dumps(change and {**json.loads(json_line(result())), **change}) + "\n"
    (tmp_path / "results.jsonl").write_text(other)
    with pytest.raises(UsageError, match="line 1 "):
        ResultFolder(tmp_path, resume=True)
    assert (tmp_path / "results.jsonl").read_text() == other


def test_a_full_disk_leaves_whole_lines(tmp_path):
    def fill():
        with ResultFolder(tmp_path, resume=False) as folder:
            for scan in ("/scans/a", "/scans/b", "/scans/c"):
                folder.add(result(scan))

    room = len(json_line(result())) * 5 // 2
    with files_up_to(room), pytest.raises(OutputError, match="cannot be written") as caught:
        fill()
    assert "\n" not in str(caught.value)
    assert len(lines(tmp_path)) == 2
    assert not list(tmp_path.glob(".*"))


def test_dicom_text_is_no_formula_in_a_spreadsheet(tmp_path):
    series = SERIES.model_copy(update={"description": '=HYPERLINK("http://evil")'})
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result(series=series))
    assert rows(tmp_path)[0]["series_description"].startswith("'=")


def test_a_path_that_is_not_utf8_is_written_and_found_again(tmp_path):
    odd = b"/scans/\xff\xfe".decode("utf-8", "surrogateescape")
    with ResultFolder(tmp_path, resume=False) as folder:
        folder.add(result(odd))
    assert rows(tmp_path)[0]["scan"] == r"/scans/\udcff\udcfe"
    with ResultFolder(tmp_path, resume=True) as folder:
        assert (odd, "1.2.3") in folder.finished("b" * 64, "openvino-fp32")
    assert overlay_name(result(odd)).isascii()


def test_overlay_names_are_safe_and_tell_scans_apart():
    one, two = overlay_name(result("/a/Müller, ../x")), overlay_name(result("/b/Müller, ../x"))
    assert one != two
    assert "/" not in one
    assert overlay_name(result("/cohort/P0001/1")).startswith("P0001-1-")
    assert overlay_name(result("/a/x", study_uid="1")) != overlay_name(
        result("/a/x", study_uid="2")
    )
