"""Read the files that divide CC-CCII's cleaned form: {class: {patient: {scan: [slice, …]}}}.

HKBU's benchmark publishes them (github.com/HKBU-HPML/HKBU_HPML_COVID-19). Their slices are in the
true order already, without the repeated ones. The scans lie beside the file, in
class/patient/scan/.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import UsageError
from darnet_trt.scan.cohorts.ccccii import Found
from darnet_trt.scan.cohorts.classes import class_named
from darnet_trt.scan.cohorts.cohort import Entry, Side
from darnet_trt.scan.cohorts.data_tables import REPLACE, is_part

SPLITS: Final[dict[str, Side]] = {
    "ct_train.json": "train",
    "ct_val.json": "held-out",
    "ct_test.json": "test",
}
"""The names of these files, and the side of the patients in each."""


def splits_in(folder: Path) -> dict[Path, Side]:
    """Return the files of a folder that divide its scans, and the side of each one's patients.

    Where none holds patients out, those who train are left open: some of them are to be held out.
    """
    found = {path: side for name, side in SPLITS.items() if (path := folder / name).exists()}
    if "held-out" in found.values():
        return found
    return {path: "" if side == "train" else side for path, side in found.items()}


def read_split(path: Path, classes: tuple[str, ...], side: Side = "") -> Found:
    """Return the scans of one file.

    Args:
        path: The file.
        classes: Its classes; () takes each as it stands.
        side: Of its patients.

    Raises:
        UsageError: It cannot be read, names an unknown class or a bad path, or its scans are
            elsewhere.
    """
    entries: list[Entry] = []
    empty = twice = 0
    for of_class, patients in _content(path).items():
        label = class_named(of_class, classes) if classes else of_class
        if label is None:
            raise UsageError(
                f"unknown class {of_class!r}",
                where=path,
                do=f"choose from {', '.join(classes)}, or name the cohort's own with --classes",
            )
        if patients and not (path.parent / _part(path, of_class)).is_dir():
            raise UsageError(
                f"the folder {of_class} with its scans is not beside it",
                where=path,
                do="put the file into the folder of the data set",
            )
        for patient, scans in patients.items():
            for scan, slices in scans.items():
                place = path.parent.joinpath(*(_part(path, p) for p in (of_class, patient, scan)))
                names = tuple(dict.fromkeys(_part(path, name) for name in slices))
                empty += not names
                twice += len(names) < len(slices)
                entries += [Entry(place, patient, label, names, side)] if names else []
    counted = (
        (empty, "without a slice: left out"),
        (twice, "with a slice that is named twice: taken once"),
    )
    notes = tuple(f"scans of {path.name} {what}: {count}" for count, what in counted if count)
    return Found(tuple(entries), notes)


def _content(path: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    from pydantic import TypeAdapter, ValidationError

    kind = TypeAdapter(dict[str, dict[str, dict[str, list[str]]]])
    try:
        text = path.read_bytes()
        content = kind.validate_json(text, strict=True)
        json.loads(text, object_pairs_hook=_each_once)
    except OSError as error:
        raise UsageError(
            f"cannot be read ({error.strerror})", where=path, do="check its path and permissions"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            what = f"is not JSON ({first['ctx']['error']})"
        else:
            place = "/".join(map(str, first["loc"]))
            what = "does not list slices by class, patient and scan"
            what += f": look at {place}" if place else ""
        raise UsageError(what, where=path, do=REPLACE) from error
    except ValueError as error:
        raise UsageError(str(error), where=path, do="put its parts together") from error
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    """Raise ValueError where an object has a name twice, of which JSON readers keep the last."""
    names = Counter(name for name, _ in pairs)
    for name, count in names.items():
        if count > 1:
            raise ValueError(f"has {name!r} {count} times at one place")


def _part(path: Path, name: str) -> str:
    """Return a name of one file or folder.

    Raises:
        UsageError: It is empty, or leads elsewhere.
    """
    if not is_part(name):
        raise UsageError(f"{name!r} is no name of a file or folder", where=path, do="correct it")
    return name
