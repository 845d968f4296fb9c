"""Enhanced (multi-frame) CT, written with pydicom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended

from tests.scan.series_factory import slice_dataset

ENHANCED_CT, LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"
_MOVED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
          "RescaleSlope", "RescaleIntercept", "ConvolutionKernel")  # fmt: skip


def item(**attributes: Any) -> Dataset:
    ds = Dataset()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def frame_groups(position: Sequence[float], **attributes: Any) -> Dataset:
    """Return a frame's own functional groups; `attributes`: of its content, type and rescale."""
    content = {k: v for k, v in attributes.items() if k.startswith(("Stack", "Temp", "FrameA"))}
    groups = item(
        PlanePositionSequence=[item(ImagePositionPatient=[float(v) for v in position])],
        FrameContentSequence=[item(**content)],
    )
    if "FrameType" in attributes:
        groups.CTImageFrameTypeSequence = [item(FrameType=attributes["FrameType"])]
    if "RescaleIntercept" in attributes:
        rescale = {"RescaleSlope": "1", "RescaleIntercept": attributes["RescaleIntercept"]}
        groups.PixelValueTransformationSequence = [item(**rescale, RescaleType="HU")]
    return groups


def enhanced_dataset(
    stored: np.ndarray[Any, Any],
    frames: Sequence[Dataset] | None = None,
    *,
    encode: Callable[[np.ndarray[Any, Any]], bytes] | None = None,
    table: str = "basic",
    **attributes: Any,
) -> Dataset:
    """Return an enhanced CT of stored values (frames, rows, columns).

    Args:
        stored: What the pixels hold.
        frames: Each frame's own functional groups; by default 10 mm apart, foot to head.
        encode: Compresses a frame.
        table: Where the frames' offsets stand: "basic", "extended" or "none".
        attributes: Of the file; None deletes.
    """
    attributes.setdefault("SOPClassUID", ENHANCED_CT)
    ds = slice_dataset(stored[0], (0, 0, 0), **attributes)
    if frames is None:
        frames = [frame_groups((-190, -190, 10 * index)) for index in range(len(stored))]
    for keyword in _MOVED:
        if keyword in ds:
            delattr(ds, keyword)
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[6.0, 6.0], SliceThickness="10")],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
        CTReconstructionSequence=[item(ConvolutionKernel="B40f")],
        PixelValueTransformationSequence=[
            item(RescaleSlope="1", RescaleIntercept="0", RescaleType="HU")
        ],
    )
    if any("PixelValueTransformationSequence" in frame for frame in frames):
        del shared.PixelValueTransformationSequence
    if any("CTImageFrameTypeSequence" in frame for frame in frames):
        del shared.CTImageFrameTypeSequence
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = list(frames)
    ds.NumberOfFrames = len(stored)
    if encode is None:
        order = ">" if ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" else "<"
        ds.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    elif table == "extended":
        ds.PixelData, offsets, lengths = encapsulate_extended([encode(frame) for frame in stored])
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    else:
        ds.PixelData = encapsulate([encode(frame) for frame in stored], has_bot=table == "basic")
    ds["PixelData"].VR = "OW"
    return ds
