"""Write results as flat tables, CSV and Parquet, a row at a time."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.util import find_spec
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from darnet_trt.errors import MissingPackageError
from darnet_trt.runtime.prediction.results.result import SCHEMA_VERSION, Result

if TYPE_CHECKING:
    import pyarrow as pa

CSV: Final = "results.csv"
PARQUET: Final = "results.parquet"

# A spreadsheet takes a cell that begins so for a formula; DICOM text may hold anything.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t")

# Readers of CSV take a carriage return for the end of a row, and a zero for the end of the file.
_CONTROLS: Final = {c: f"\\x{c:02x}" for c in range(32) if chr(c) not in "\t\n"}

_ROWS: Final = 200  # in a row group of Parquet: some 10 MB in memory

# What joins a list in a cell. UIDs and codes hold no space.
_BETWEEN: Final = {"warnings": "; ", "warning_codes": " ", "sop_uids": " "}

# Parquet's types; every other column is text.
_INTEGERS: Final = ("schema_version", "series_number", "slices", "dicom_objects")
_FLAGS: Final = ("undecided", "pseudonymous")
_NUMBERS_END: Final = ("_mm", "_ms")


def write_csv(file: BinaryIO, results: Iterable[Result], classes: Iterable[str]) -> None:
    """Write a table for spreadsheets: UTF-8, a line of columns' names, a row a result.

    Args:
        file: Open for writing.
        results: Read once; at least one.
        classes: Of all results.

    Raises:
        OSError: The file cannot be written.
    """
    # Names of files may be no UTF-8.
    writer = csv.writer(codecs.getwriter("utf-8")(file, "backslashreplace"), lineterminator="\n")
    columns, rows = _rows(results, classes)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(cell(name, value) for name, value in row.items())


def _rows(
    results: Iterable[Result], classes: Iterable[str]
) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the columns' names and the rows."""
    classes = tuple(classes)
    rows = (_row(result, classes) for result in results)
    first = next(rows)
    return list(first), chain([first], rows)


def _row(result: Result, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return column → value; a value of several is a list."""
    r = result.model_dump(by_alias=True)
    series = r["series"] or {}
    spacing = series.get("spacing_mm") or (None, None, None)
    return {
        **{k: r[k] for k in ("schema_version", "scan", "key", "content", "study_uid")},
        **{k: r[k] for k in ("patient_id", "accession_number", "study_date", "pseudonymous")},
        **{k: r[k] for k in ("status", "class", "undecided")},
        **{f"probability_{name}": r["probabilities"].get(name) for name in classes},
        **{f"logit_{name}": r["logits"].get(name) for name in classes},
        **{k: r[k] for k in ("reason", "code")},
        "warnings": [str(warning) for warning in result.warnings],
        "warning_codes": [warning.code for warning in result.warnings],
        **{f"series_{k}": series.get(k) for k in ("uid", "number", "description", "why")},
        "slices": series.get("slices"),
        **{f"spacing_{axis}_mm": value for axis, value in zip("dhw", spacing, strict=True)},
        "sop_uids": list((series.get("sampled") or {}).get("sop_uids", ())),
        **{f"{stage}_ms": value for stage, value in r["stages_ms"].items()},
        **{k: r[k] for k in ("finished", "artifact", "precision", "bundle_sha256", "trained_on")},
        "overlay": r["overlay"],
        "dicom_objects": len(r["dicom"]),
        **{k: r[k] for k in ("replaces", "intended_use", "toolkit")},
    }


def cell(name: str, value: Any) -> Any:
    """Return a value as a cell of the CSV."""
    if isinstance(value, list):
        value = _BETWEEN[name].join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        value = value.translate(_CONTROLS)
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    return value


def need_pyarrow() -> None:
    """Check before long work that Parquet can be written.

    Raises:
        MissingPackageError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingPackageError("pyarrow", extra="parquet")


def write_parquet(file: BinaryIO, results: Iterable[Result], classes: Iterable[str]) -> None:
    """Write the columns of the CSV with types; lists stay lists.

    The file's metadata hold the schema's version under "darnet_trt.schema_version".

    Args:
        file: Open for writing.
        results: Read once; at least one.
        classes: Of all results.

    Raises:
        OSError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, rows = _rows(results, classes)
    schema = pa.schema(
        [(name, _type(name)) for name in columns],
        {"darnet_trt.schema_version": str(SCHEMA_VERSION)},
    )
    with pq.ParquetWriter(file, schema) as writer:
        for group in _groups(rows):
            typed = [{k: _typed(k, value) for k, value in row.items()} for row in group]
            writer.write_table(pa.Table.from_pylist(typed, schema))


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(rows, _ROWS)):
        yield group


def _type(column: str) -> pa.DataType:
    import pyarrow as pa

    if column in _BETWEEN:
        return pa.list_(pa.string())
    if column in _INTEGERS:
        return pa.int32()
    if column in _FLAGS:
        return pa.bool_()
    if column == "finished":
        return pa.timestamp("ms", "UTC")
    if column.startswith(("probability_", "logit_")) or column.endswith(_NUMBERS_END):
        return pa.float64()
    return pa.string()


def _typed(column: str, value: Any) -> Any:
    """Return a value as Parquet takes it: it has no escapes for what is no UTF-8."""
    if column == "finished":
        return datetime.fromisoformat(value)
    if isinstance(value, list):
        return [_typed("", text) for text in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
