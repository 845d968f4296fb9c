"""The page on the service agrees with the code."""

import re
from pathlib import Path

from darnet_trt.runtime.serving.telemetry.metrics import Figures, Metrics

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"
_OF_THE_GPU = {"darnet_gpu_memory_bytes", "darnet_gpu_load", "darnet_gpu_celsius"}


def test_every_metric_is_on_the_page_and_no_other():
    figures = Figures(
        ready=True, received={}, received_bytes=0, associations=0, dicom_refused={}, studies={},
        deliveries={}, free=0,
    )  # fmt: skip
    text = Metrics(lambda: figures).text().decode()
    kinds = dict(re.findall(r"^# TYPE (darnet_\w+) (\w+)", text, re.M))
    counted = {name for name in kinds if not name.endswith("_created")} | _OF_THE_GPU
    assert set(re.findall(r"`(darnet_\w+)`", PAGE.read_text())) == counted
