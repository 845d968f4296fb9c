import csv
import json
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.prediction.results import tables
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from tests.runtime.prediction.results.test_result import SERIES, result

ODD = b"\xff\n".decode("utf-8", "surrogateescape")


@pytest.fixture
def written(tmp_path):
    """Return a function that writes results and reads their CSV and Parquet."""

    def write(*results):
        with ResultFolder(tmp_path, parquet=True, identifiers=True) as folder:
            for r in results:
                folder.add(r)
        with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file)), pq.read_table(tmp_path / "results.parquet")

    return write


def test_the_tables_hold_the_results_flat(written):
    (refused, ok), table = written(result("a", "refused", patient_id="0042"), result("b"))
    assert (refused["status"], refused["class"]) == ("refused", "")
    assert (refused["reason"], refused["code"]) == ("gantry tilted by 18.5°", "tilted")
    assert (ok["class"], ok["probability_covid-19"], ok["undecided"]) == ("normal", "0.25", "false")
    assert (ok["spacing_d_mm"], ok["series_number"], ok["total_ms"]) == ("4.0", "3", "10.0")
    assert (ok["warnings"], ok["warning_codes"]) == (
        "slices of 8 mm; 30 slices",
        "thick-slices few-slices",
    )
    assert ok["sop_uids"] == "1.2.3.4.5 1.2.3.4.6"
    assert (ok["schema_version"], ok["finished"]) == ("3", "2026-11-29T06:40:07.123Z")
    assert table.column_names == list(ok)
    first, second = table.to_pylist()
    assert (first["patient_id"], first["class"], first["probability_normal"]) == (
        "0042",
        None,
        None,
    )
    assert second["warning_codes"] == ["thick-slices", "few-slices"]
    assert second["sop_uids"] == ["1.2.3.4.5", "1.2.3.4.6"]
    assert second["undecided"] is False
    assert second["probability_covid-19"] == 0.25
    assert second["finished"] == datetime(2026, 11, 29, 6, 40, 7, 123000, UTC)
    assert table.schema.metadata[b"darnet_trt.schema_version"] == b"3"


def test_every_field_of_a_line_is_in_the_tables(written):
    rows, _ = written(result())
    line = json.loads(result().model_dump_json(by_alias=True))
    flattened = {
        "probabilities",
        "logits",
        "series",
        "stages_ms",
        "dicom",
        "dicom_unmade",
        "predecessor",
    }
    assert set(line) - flattened <= set(rows[0])
    assert {f"{stage}_ms" for stage in line["stages_ms"]} <= set(rows[0])


def test_a_class_of_another_bundle_has_a_column(written):
    (one, two), table = written(
        result("a"), result("b", probabilities={"normal": 0.2, "tumour": 0.8}, predicted="tumour")
    )
    assert (one["probability_tumour"], two["probability_tumour"]) == ("", "0.8")
    assert table["probability_covid-19"].to_pylist() == [0.25, None]


def test_more_rows_than_a_group(written, monkeypatch):
    monkeypatch.setattr(tables, "_ROWS", 2)
    rows, table = written(*(result(f"{i}") for i in range(5)))
    assert [r["scan"] for r in rows] == table["scan"].to_pylist() == list("01234")


@pytest.mark.parametrize("text", ['=HYPERLINK("http://evil")', "+1", "-1", "@a", "\t=1"])
def test_dicom_text_is_no_formula_in_a_spreadsheet(written, text):
    series = SERIES.model_copy(update={"description": text})
    rows, table = written(result(series=series))
    assert rows[0]["series_description"] == f"'{text}"
    assert table["series_description"].to_pylist() == [text]


def test_a_cell_cannot_end_its_row(written):
    text = 'a,"b\r\nc\0d'
    rows, table = written(result(text, series=None))
    assert [r["scan"] for r in rows] == ['a,"b\\x0d\nc\\x00d']
    assert table["scan"].to_pylist() == [text]


def test_any_path_is_written(written):
    rows, table = written(result(ODD))
    assert rows[0]["scan"] == table["scan"].to_pylist()[0] == "\\udcff\n"


def test_parquet_is_kept_up_to_date(written, tmp_path):
    written(result("a"))
    with ResultFolder(tmp_path, resume=True, identifiers=True) as folder:
        folder.add(result("b"))
    assert pq.read_table(tmp_path / "results.parquet")["scan"].to_pylist() == ["a", "b"]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="parquet"):
        ResultFolder(tmp_path / "out", parquet=True)
    assert not (tmp_path / "out").exists()
