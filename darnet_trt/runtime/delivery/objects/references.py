"""How objects refer to the files that were read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from darnet_trt.runtime.delivery.attributes import decimal
from darnet_trt.runtime.delivery.source import Instance, Slice, Source
from darnet_trt.runtime.prediction.results.result import Result

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

CT: Final = "1.2.840.10008.5.1.4.1.1.2"
"""CT Image Storage."""


def stand_in(header: Dataset, source: Source, one: Slice) -> Dataset:
    """Return what highdicom needs to know of a slice, as a classic CT image, whatever it is.

    Args:
        header: From `header_of`.
        source: What was read.
        one: Which slice.
    """
    from pydicom.dataset import Dataset

    made = Dataset()
    made.SliceThickness = 1  # of no meaning; highdicom asks for one
    made.update(header)
    made.SOPClassUID, made.Modality = CT, "CT"
    made.SOPInstanceUID = source.instances[one.instance].sop_uid
    made.SeriesInstanceUID = source.instances[one.instance].series_uid
    if one.position_mm is not None:
        made.ImagePositionPatient = [decimal(mm) for mm in one.position_mm]
    return made


def evidence(header: Dataset, source: Source) -> list[Dataset]:
    """Return the items of CurrentRequestedProcedureEvidenceSequence (PS3.3 C.17.2)."""
    from pydicom.dataset import Dataset

    study = Dataset()
    study.StudyInstanceUID = header.StudyInstanceUID
    study.ReferencedSeriesSequence = _series(source, "ReferencedSOPSequence")
    return [study]


def referenced_series(source: Source) -> list[Dataset]:
    """Return the items of ReferencedSeriesSequence (PS3.3 C.12.2)."""
    return _series(source, "ReferencedInstanceSequence")


def source_images(source: Source) -> list[Dataset]:
    """Return the items of SourceImageSequence (PS3.3 C.7.6.1.1.4)."""
    return [_file(instance) for instance in source.instances]


def predecessors(header: Dataset, result: Result) -> list[Dataset] | None:
    """Return what highdicom needs to know of the report that a result's report replaces.

    Args:
        header: From `header_of`; both reports are of one study.
        result: The result.
    """
    from pydicom.dataset import Dataset

    if (of := result.predecessor) is None:
        return None
    made = Dataset()
    made.StudyInstanceUID = header.StudyInstanceUID
    made.SeriesInstanceUID = of.series_uid
    made.SOPClassUID, made.SOPInstanceUID = of.sop_class, of.sop_uid
    return [made]


def _file(instance: Instance) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class
    item.ReferencedSOPInstanceUID = instance.sop_uid
    return item


def _series(source: Source, keyword: str) -> list[Dataset]:
    """Return an item for each series, with an item for each of its files."""
    from pydicom.dataset import Dataset

    files: dict[str, list[Dataset]] = {}
    for instance in source.instances:
        files.setdefault(instance.series_uid, []).append(_file(instance))
    series = []
    for uid, items in files.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        setattr(item, keyword, items)
        series.append(item)
    return series
