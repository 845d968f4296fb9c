"""The class activation map as a Parametric Map (PS3.3 A.75), in the patient's coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.evaluation.evidence import stride
from darnet_trt.runtime.delivery.grid import Grid
from darnet_trt.runtime.delivery.identity import uid_of
from darnet_trt.runtime.delivery.objects.codes import class_code
from darnet_trt.runtime.delivery.objects.dataset import (
    RESEARCH,
    arguments,
    finish,
    header_of,
)
from darnet_trt.runtime.delivery.objects.references import (
    referenced_series,
    source_images,
    stand_in,
)
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.result import Evidence, Made, Result

_STEPS: Final = 65535
"""Largest value that 16 bits store."""


def make_map(
    result: Result,
    evidence: Evidence,
    source: Source,
    grid: Grid,
    class_codes: Mapping[str, ClassCode],
) -> Made:
    """Make the map of the most probable class of a result with status "ok".

    It lies on its own cells (d, h, w), some 8×14×14, with 16 bits a value. Cell k of an axis is
    centred on voxel k·stride of the network's input.

    Args:
        result: What the network answered.
        evidence: Its input and map.
        source: What the object takes over from the study.
        grid: Of the input.
        class_codes: Codes that the bundle gives to classes.
    """
    import highdicom as hd
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from highdicom.sr import CodedConcept

    name = result.predicted or ""
    cam = evidence.cam[list(result.probabilities).index(name)]
    strides = [stride(n, cells) for n, cells in zip(evidence.volume.shape, cam.shape, strict=True)]
    d_mm, h_mm, w_mm = (s * mm for s, mm in zip(strides, grid.spacing_mm, strict=True))
    low, high = float(cam.min()), float(cam.max())
    slope = (high - low) / _STEPS or 1.0
    stored = np.rint((cam.astype(np.float64) - low) / slope).astype(np.uint16)
    header = header_of(source)
    meaning = class_code(name, class_codes).meaning
    made = ParametricMap(
        source_images=[stand_in(header, source, source.slices[0])],
        pixel_array=stored,
        content_label="HEATMAP",
        content_description=f"{RESEARCH}: {meaning}"[:64].strip(),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="CAM",
                lut_explanation=f"Evidence for {meaning}, part of its logit"[:64].strip(),
                unit=CodedConcept("1", "UCUM", "no units"),
                value_range=(0, _STEPS),
                slope=slope,
                intercept=low,
                quantity_definition=CodedConcept("130402", "DCM", "Class activation"),
            )
        ],
        voi_lut_transformations=[
            hd.VOILUTTransformation(window_center=_STEPS / 2, window_width=_STEPS)
        ],
        pixel_measures=hd.PixelMeasuresSequence((h_mm, w_mm), d_mm, d_mm),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", (*grid.axis(2), *grid.axis(1))),
        plane_positions=[
            hd.PlanePositionSequence("PATIENT", grid.at(k * strides[0], 0, 0))
            for k in range(len(cam))
        ],
        **arguments("pm", result, source),
    )
    made.ReferencedSeriesSequence = referenced_series(source)  # of more than the stand-in
    made.SourceImageSequence = source_images(source)
    made.BodyPartExamined = "CHEST"
    made.ImageComments = result.intended_use
    organization = uid_of("dimensions of pm", result, source)
    made.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in made.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    return finish("pm", made, result, source)
