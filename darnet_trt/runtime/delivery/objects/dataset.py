"""Give every object the study's identity and ours, and bytes that stay the same."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.runtime.delivery.identity import device_uid, finished_at, uid_of
from darnet_trt.runtime.delivery.objects.codes import PRIVATE, plain
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import Made, Result

if TYPE_CHECKING:
    from highdicom.sr import ObservationContext
    from pydicom.dataset import Dataset

RESEARCH: Final = "Research use only"
MAKER: Final = "darnet-trt"
IMPLEMENTATION: Final = "2.25.269871023512093874650192837465019283746"
"""ImplementationClassUID (0002,0012), which must stay (PS3.7 section D.3.3.2)."""
SERIES: Final = {"sr": 9801, "pm": 9802, "sc": 9803, "refusal": 9804}
"""SeriesNumber (0020,0011) of each kind: above those of scanners."""
NAMES: Final = {"sr": "report", "pm": "class activation map", "sc": "overlay", "refusal": "refusal"}
"""What SeriesDescription (0008,103E) calls each kind."""


def header_of(source: Source) -> Dataset:
    """Return the attributes that objects take over."""
    from pydicom.filereader import read_dataset

    return read_dataset(BytesIO(source.header), is_implicit_VR=False, is_little_endian=True)


def arguments(kind: str, result: Result, source: Source) -> dict[str, Any]:
    """Return the arguments that highdicom's constructors share: UIDs, equipment and times."""
    at = finished_at(result, header_of(source).get("TimezoneOffsetFromUTC"))
    return {
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
        "series_instance_uid": uid_of(f"series of {kind}", result, source),
        "series_number": SERIES[kind],
        "sop_instance_uid": uid_of(kind, result, source),
        "instance_number": 1,
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": result.toolkit,
        "device_serial_number": result.bundle_sha256,
        "series_description": f"{RESEARCH}: {MAKER} {NAMES[kind]}",
        "content_date": at.date(),
        "content_time": at.time(),
        "series_date": at.date(),
        "series_time": at.time(),
    }


def observer(result: Result) -> ObservationContext:
    """Return the engine as the device that observed (TID 1001, 1004)."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=device_uid(result),
            name=f"{MAKER} ({RESEARCH.lower()})",
            manufacturer_name=MAKER,
            model_name=plain(f"{result.artifact} ({result.precision})")[:64].strip(),
            serial_number=result.bundle_sha256,
        ),
    )
    return sr.ObservationContext(observer_device_context=device)


def finish(
    kind: str, dataset: Dataset, result: Result, source: Source, schemes: Iterable[str] = ()
) -> Made:
    """Take out what highdicom filled in from the clock, and write the object.

    Args:
        kind: "sr", "pm", "sc" or "refusal".
        dataset: What highdicom made.
        result: The result.
        source: What was read.
        schemes: Private coding schemes that it uses beside ours.
    """
    from highdicom.coding_schemes import CodingSchemeIdentificationItem
    from pydicom.filewriter import dcmwrite
    from pydicom.uid import UID

    header = header_of(source)
    dataset.SpecificCharacterSet = header.SpecificCharacterSet
    if "TimezoneOffsetFromUTC" in header:
        dataset.TimezoneOffsetFromUTC = header.TimezoneOffsetFromUTC
    dataset.InstanceCreationDate = dataset.ContentDate
    dataset.InstanceCreationTime = dataset.ContentTime
    if "ContributingEquipmentSequence" in dataset:
        del dataset.ContributingEquipmentSequence
    if dataset.Modality == "SR":
        dataset.CodingSchemeIdentificationSequence = [
            CodingSchemeIdentificationItem(
                PRIVATE, name="Classes and refusals of darnet-trt", responsible_organization=MAKER
            ),
            *map(CodingSchemeIdentificationItem, sorted({*schemes} - {PRIVATE})),
        ]
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    dataset.file_meta.ImplementationVersionName = "DARNET_TRT"
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return Made(
        kind,
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        stream.getvalue(),
    )
