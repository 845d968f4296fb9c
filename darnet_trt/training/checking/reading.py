"""Read of each scan what may tell its class without the lungs, and keep it in the cache folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from darnet_trt.errors import DarnetError, OutputError, ScanError, UnreadableScanError
from darnet_trt.machine.cache import DAMAGE, cache_folder, drop_unused, used
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.files import whole_file
from darnet_trt.scan import Preprocessing, load_study
from darnet_trt.scan.cohorts import Entry, study_of
from darnet_trt.scan.isolated import read_each
from darnet_trt.scan.loading.checks import find_turned
from darnet_trt.scan.loading.passing import Passing
from darnet_trt.scan.loading.slices import UNTURNED, Needed, Slices
from darnet_trt.scan.plausibility.chest import aerated_lung
from darnet_trt.scan.preprocessing import NEW, needed_slices, preprocess_slices
from darnet_trt.scan.series import Series
from darnet_trt.training.checking.order import thumbnail, unordered
from darnet_trt.training.checking.region import inside
from darnet_trt.training.inputs import MIN_SCANS_A_PROCESS, file_stamps

ROOM: Final = "cohort-check"
"""Name of the folder in the cache."""
VERSION: Final = 6
"""Of what is read and found; raise it where that changes."""
SIZE: Final = (32, 64, 64)
"""(d, h, w) that a scan is read at."""
VIEW: Final = (8, 32, 32)
"""(d, h, w) of what the probe sees."""
_WHOLE: Final = Preprocessing(size=SIZE)
_AS_TRAINED: Final = NEW.model_copy(update={"size": SIZE})
_TISSUE_HU: Final = -400.0
_SOFT_HU: Final = (-300.0, 145.0)
"""Fat and muscle; the window ends at 150."""
_FILL_HU: Final = 1.0
"""Step to which values are rounded before the most frequent one is looked for."""
_CUT_SHARE: Final = 0.3
"""A scan cuts the lungs off where its first or last slice shows more of them than this share of the
most that a slice shows. Whole chests show 0.1; bowel with stool can look the same, in few."""


class Facts(BaseModel):
    """What was read of a scan.

    Attributes:
        error: Why it cannot be trained on; empty where it can.
        code: Of the error.
        lasting: Whether reading it again tells the same. Not where it could not be read: memory or
            permission may have been lacking.
        file_type: "dicom", ".nii.gz", ".png", …; empty where nothing could be read.
        slices: How many.
        matrix: Rows and columns; 0 where they are not known.
        length_mm: Slices times their spacing; None where the files do not say.
        masked: Whether the lungs were cut out of the body.
        cut: Whether the scan cuts off the lungs at its foot and at its head.
        order: "reversed" where the slices of pictures are numbered from the foot; "unordered" where
            neighbours are not alike; "" otherwise.
        soft_hu: Value of the dense part of fat and muscle outside the lungs (90th percentile); of
            pictures, what their greys stand for.
        air_hu: Value of what lies outside the body (10th percentile of all).
        highest_hu: Highest value.
        lowest_hu: Lowest value.
        filled: Share of the pixels that have the most frequent value.
        hashes: `slice_hash` of slices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: str = ""
    code: str = ""
    lasting: bool = True
    file_type: str = ""
    slices: int = 0
    matrix: tuple[int, int] = (0, 0)
    length_mm: float | None = None
    masked: bool = False
    cut: tuple[bool, bool] | None = None
    order: str = ""
    soft_hu: float | None = None
    air_hu: float | None = None
    highest_hu: float | None = None
    lowest_hu: float | None = None
    filled: float | None = None
    hashes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan of the cohort as the check sees it.

    Attributes:
        entry: Which.
        facts: What was read.
        view: What is left of it with the lungs blanked, float16 `VIEW`; None where it cannot be
            trained on.
    """

    entry: Entry
    facts: Facts
    view: npt.NDArray[np.float16] | None


def read_cohort_facts(
    entries: Sequence[Entry], done: Callable[[int], None] = lambda count: None
) -> tuple[Seen, ...]:
    """Read scans, or find what was read of them earlier in the cache folder.

    Args:
        entries: The scans.
        done: Called with the number of scans finished since the last call.

    Returns:
        Each in the order given; what is wrong with a scan stands in its facts.
    """
    drop_unused(ROOM)
    folder = cache_folder(ROOM)
    files = [folder / f"{stamp(entry)}.npz" for entry in entries]
    kept = [_kept(file) for file in files]
    todo = [(e.scan, (e,)) for e, known in zip(entries, kept, strict=True) if known is None]
    processes = max(1, min(usable_cpus(), len(todo) // MIN_SCANS_A_PROCESS))
    fresh = iter(read_each(read_facts, todo, processes))
    seen = []
    for entry, file, known in zip(entries, files, kept, strict=True):
        if known is None:
            found = next(fresh)
            if isinstance(found, DarnetError):
                found = Facts(error=str(found), code=found.code, lasting=False), None
            if found[0].lasting:
                with suppress(OSError, OutputError):  # a cache may be missing
                    _keep(file, *found)
            known = found
        seen.append(Seen(entry, *known))
        done(1)
    return tuple(seen)


def stamp(entry: Entry) -> str:
    """Return a hash of a scan's path and slices, and of its files' names, sizes and times."""
    scan = entry.scan
    identity = json.dumps([VERSION, str(scan.absolute()), file_stamps(scan), entry.slices])
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def _kept(file: Path) -> tuple[Facts, npt.NDArray[np.float16] | None] | None:
    used(file)
    try:
        with np.load(file, allow_pickle=False) as content:
            view = content["view"]
            return Facts.model_validate_json(str(content["facts"])), view if view.size else None
    except DAMAGE:
        return None  # absent, or damaged: read the scan again


def _keep(file: Path, facts: Facts, view: npt.NDArray[np.float16] | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    view = np.zeros(0, np.float16) if view is None else view
    np.savez_compressed(content, facts=facts.model_dump_json(), view=view)
    with whole_file(file) as stream:
        stream.write(content.getbuffer())


def read_facts(entry: Entry) -> tuple[Facts, npt.NDArray[np.float16] | None]:
    """Read one scan; `read_cohort_facts` calls it in a child process.

    Raises:
        ScanError: Nothing of it can be read.
        UsageError: There is no such path.
    """
    study = study_of(entry)
    facts: dict[str, Any] = {}
    try:
        choice, loaded = load_study(study, _AS_TRAINED, identify=True)
        series, hashes = choice.series, loaded.hashes
    except ScanError as error:
        facts = {"error": str(error), "code": error.code, "masked": error.code == "segmented-lungs"}
        facts["lasting"] = not isinstance(error, UnreadableScanError)
        series, hashes = max(study.series, key=lambda one: one.slices), frozenset()
    facts |= {
        "file_type": file_type(series),
        "slices": series.slices,
        "matrix": series.matrix,
        "length_mm": series.spacing_mm and series.spacing_mm[0] * series.slices,
    }
    view = None
    if series.verdict.readable:
        try:
            more, view = _look(series, numbered=not entry.slices)
            hashes |= more.pop("hashes")
            facts |= more
        except ScanError:  # its error says why, or another slice was read
            pass
    usable = view is not None and not facts.get("error")
    facts["hashes"] = tuple(sorted(hashes))
    return Facts(**facts), view if usable else None


def file_type(series: Series) -> str:
    """Return the format, or the suffix of other files than DICOM's."""
    if series.format == "dicom":
        return "dicom"
    name = series.files[0].name.lower() if series.files else series.path.name.lower()
    parts = name.split(".")
    return "." + ".".join(parts[-2:] if parts[-1] == "gz" and len(parts) > 2 else parts[-1:])


def _look(series: Series, *, numbered: bool) -> tuple[dict[str, Any], npt.NDArray[np.float16]]:
    """Return what some slices spread over the whole series show.

    Args:
        series: Which.
        numbered: Whether the files' numbers give the order of pictures, and not the cohort.
    """
    slices = Slices(series, _WHOLE, identify=True)
    span = 0, series.slices
    indices = needed_slices(_WHOLE, series.slices, span).tolist()
    limits: list[tuple[float, float]] = []
    thumbnails: dict[int, npt.NDArray[np.float64]] = {}

    def watched() -> Iterator[Needed]:
        for item in slices.stored(indices):
            index, stored, slope, intercept = item
            ends = sorted(slope * float(end) + intercept for end in (stored.min(), stored.max()))
            limits.append((ends[0], ends[1]))
            thumbnails[index] = slope * thumbnail(stored) + intercept
            yield item

    passing = Passing(watched())
    window = preprocess_slices(_WHOLE, series.slices, span, series.matrix, passing)[0]
    grid = np.stack([passing.grids[i] for i in indices])
    try:
        turn, _ = find_turned(slices, span, grid)
    except ScanError:
        turn = UNTURNED
    window = window[:: -1 if turn.flip_d else 1, :: -1 if turn.flip_h else 1]
    low = _WHOLE.window_center_hu - _WHOLE.window_width_hu / 2
    hu = low + window * np.float32(_WHOLE.window_width_hu)
    blank = inside(hu, _TISSUE_HU)
    around = hu[:, ~blank]
    soft = around[(around > _SOFT_HU[0]) & (around < _SOFT_HU[1])]
    rounded = np.rint(grid / _FILL_HU)
    _, counts = np.unique(rounded, return_counts=True)
    lung = aerated_lung(hu).sum((1, 2))
    least = _CUT_SHARE * max(int(lung.max()), 1)
    order = ""
    if unordered(np.stack([thumbnails[i] for i in indices]), lung):
        order = "unordered"
    elif turn.flip_d and numbered and series.format == "slices":
        order = "reversed"
    facts = {
        "order": order,
        "cut": (bool(lung[0] > least), bool(lung[-1] > least)),
        "soft_hu": float(np.percentile(soft, 90)) if len(soft) else None,
        "air_hu": float(np.percentile(grid, 10)),
        "lowest_hu": min(low for low, _ in limits),
        "highest_hu": max(high for _, high in limits),
        "filled": float(counts.max() / rounded.size),
        "hashes": frozenset(one for one in slices.hashes.values() if one is not None),
    }
    window[:, blank] = 0.5
    d, h, w = VIEW
    pooled = window.reshape(d, SIZE[0] // d, h, SIZE[1] // h, w, SIZE[2] // w).mean((1, 3, 5))
    return facts, pooled.astype(np.float16)
