"""The results as compact JSON, from which the page's script draws its table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from darnet_trt.runtime.prediction.report.markup import shown, shown_path
from darnet_trt.runtime.prediction.results.result import Result


class Rows:
    """The rows of the table; texts that many results share are kept once.

    Args:
        folder: Where the overlays lie; absolute.
        page: The page's folder; absolute. Links lead from there.
    """

    def __init__(self, folder: Path, page: Path) -> None:
        self._folder = folder
        way = os.path.relpath(folder, page)
        self._way = "" if way == os.curdir else quote(os.fsencode(way)) + "/"
        self._texts: dict[str, int] = {}
        self._rows: list[str] = []
        self._columns: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, result: Result, label: str | None) -> dict[str, Any]:
        """Add a result, and return its row for the page's own table."""
        series = result.series
        patient = (result.patient_id, result.accession_number, result.study_date)
        row = {
            "scan": shown_path(result.scan),
            "status": result.status,
            "class": shown(result.predicted or ""),
            "probabilities": [[shown(k), round(v, 4)] for k, v in result.probabilities.items()],
            "label": label or "",
            "code": shown(result.code),
            "reason": shown(result.reason),
            "warnings": [[shown(w.code), shown(w)] for w in result.warnings],
            "total": round(result.stages_ms.total, 1),
            "stages": [
                round(getattr(result.stages_ms, s), 1) for s in type(result.stages_ms).model_fields
            ],
            "finished": shown(result.finished),
            "study": shown(result.study_uid),
            "series": shown(series.uid) if series else "",
            "description": shown(series.description) if series else "",
            "slices": series.slices if series else 0,
            "engine": shown(f"{result.artifact} ({result.precision})"),
            "patient": [shown(p or "") for p in patient] if any(patient) else 0,
            "overlay": self._link(result.overlay),
            "objects": shown(", ".join(dict.fromkeys(one.kind for one in result.dicom))),
            "replaces": int(result.replaces is not None),
        }
        self._columns = list(row)
        self._rows.append(json.dumps([self._packed(k, v) for k, v in row.items()], **_COMPACT))
        return row

    def _link(self, overlay: str | None) -> str:
        """Return the overlay's address, relative to the page; "" where there is none."""
        if overlay is None or not (self._folder / overlay).is_file():
            return ""
        return self._way + quote(os.fsencode(overlay))

    def _packed(self, name: str, value: Any) -> Any:
        """Return a value with the number of each text that other results may have as well."""
        match name:
            case "status" | "class" | "label" | "code" | "reason" | "description" | "engine":
                return self._number(value)
            case "warnings":
                return [[self._number(code), self._number(text)] for code, text in value]
            case "probabilities":
                return [[self._number(name), p] for name, p in value]
        return value

    def _number(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def json(self) -> str:
        """Return {"columns": […], "texts": […], "rows": [[…], …]} in ASCII, without any "<"."""
        texts = json.dumps(list(self._texts), **_COMPACT)
        columns = json.dumps(self._columns, **_COMPACT)
        rows = ",".join(self._rows)
        content = f'{{"columns":{columns},"texts":{texts},"rows":[{rows}]}}'
        return content.replace("<", "\\u003c").replace("&", "\\u0026")


_COMPACT: Final[dict[str, Any]] = {"separators": (",", ":"), "allow_nan": False}
