"""One browser, and one real prediction, for all tests of the page."""

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.prediction.predict import predict
from tests.runtime.serving.page import browser as browsers
from tests.runtime.serving.page.stand_in import StandIn, packed, serving, view
from tests.tiny_bundle import write_bundle

axe = browsers.axe


@pytest.fixture(scope="module")
def browser():
    with browsers.chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def classified(tmp_path_factory, phantom_series):
    """The result of a phantom, with its evidence."""
    bundle = open_bundle(write_bundle(tmp_path_factory.mktemp("page") / "bundle"))
    [result] = predict(bundle, phantom_series, evidence=True, workers=1)
    assert result.status == "ok"
    return result


@pytest.fixture
def service(classified):
    """A stand-in that knows one classified study, of number 1."""
    known = StandIn()
    known.tell(view(1, (classified,), received=30, used=20, left_out=10))
    known.evidence[f"{1:032x}"] = packed(classified.evidence)
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
