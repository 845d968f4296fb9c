"""The overlay as a Secondary Capture (PS3.3 A.8.1), for viewers that show no other object."""

from __future__ import annotations

import numpy as np

from darnet_trt.runtime.delivery.objects.dataset import (
    arguments,
    finish,
    header_of,
)
from darnet_trt.runtime.delivery.objects.references import source_images, stand_in
from darnet_trt.runtime.delivery.source import Source
from darnet_trt.runtime.prediction.results.overlay import draw_overlay, sides_known
from darnet_trt.runtime.prediction.results.result import Evidence, Made, Result


def make_picture(result: Result, evidence: Evidence, source: Source) -> Made:
    """Make the picture of a result with status "ok"."""
    from highdicom.sc import SCImage

    header = header_of(source)
    common = arguments("sc", result, source)
    made = SCImage(
        # Without the path, which is another on another machine: the bytes must be the same.
        pixel_array=np.asarray(draw_overlay(result.model_copy(update={"scan": ""}), evidence)),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=header.StudyInstanceUID,
        **common,
    )
    made.copy_patient_and_study_information(stand_in(header, source, source.slices[0]))
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = made.ContentDate, made.ContentTime
    if not sides_known(result, evidence):
        made.PatientOrientation = None
    made.SourceImageSequence = source_images(source)
    made.ConversionType = "WSD"
    made.BodyPartExamined = "CHEST"
    made.BurnedInAnnotation = "YES"
    made.ImageComments = result.intended_use
    return finish("sc", made, result, source)
