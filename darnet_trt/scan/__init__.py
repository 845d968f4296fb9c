"""Read scans and turn them into the network's input."""

from darnet_trt.scan.discovery import find_studies
from darnet_trt.scan.loading.choice import choose
from darnet_trt.scan.loading.load import (
    LoadedInput,
    judge_pixels,
    load_input,
    load_study,
    read_volume,
)
from darnet_trt.scan.preprocessing import Preprocessing, preprocess
from darnet_trt.scan.series import Choice, Series, Study, Verdict
from darnet_trt.scan.volume import Volume

__all__ = [
    "Choice",
    "LoadedInput",
    "Preprocessing",
    "Series",
    "Study",
    "Verdict",
    "Volume",
    "choose",
    "find_studies",
    "judge_pixels",
    "load_input",
    "load_study",
    "preprocess",
    "read_volume",
]
