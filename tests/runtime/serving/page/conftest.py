"""A classified study, for the tests of the page."""

import numpy as np
import pytest

from darnet_trt.runtime.prediction.results.result import Evidence, SeriesUsed
from darnet_trt.runtime.serving.http.v1.scans import packed
from darnet_trt.scan.cohorts import PAPER_CLASSES
from tests.runtime.prediction.report.results import result
from tests.runtime.serving.page import browser as browsers
from tests.runtime.serving.page.stand_in import StandIn, serving, view

axe = browsers.axe


@pytest.fixture(scope="session")
def classified():
    """A result with its evidence; `test_with_service` has one of the service's own."""
    rng = np.random.default_rng(0)
    volume = rng.random((16, 32, 32)).astype(np.float32)
    cam = rng.normal(0, 3, (3, 2, 2, 2)).astype(np.float32)
    series = SeriesUsed(
        uid="1.3.1", description="Chest", slices=30, matrix=(64, 64), spacing_mm=(8.0, 4.0, 4.0),
        why="the only series",
    )  # fmt: skip
    return result(1, series=series, evidence=Evidence(volume, cam, oriented=True))


@pytest.fixture
def service(classified):
    """A stand-in that knows one classified study, of number 1."""
    known = StandIn()
    known.tell(view(1, (classified,), received=30, used=20, left_out=10))
    known.evidence[f"{1:032x}"] = packed(classified.evidence, PAPER_CLASSES)
    with serving(known.app()) as known.address:
        yield known
        known.hang_up()


@pytest.fixture
def visit(browser, service):
    """Open the page; nothing of it may come from elsewhere, break its policy or raise."""
    visits = []

    def opened(number=None, **options):
        fragment = "" if number is None else f"#{number:032x}"
        visits.append(browsers.Visit(browser, service.address, fragment, **options))
        return visits[-1].tab

    yield opened
    for each in visits:
        assert each.complaints == []
        assert [url for url in each.asked if not url.startswith((service.address, "blob:"))] == []
        each.context.close()
