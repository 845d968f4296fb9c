"""The slices and the map over them: what the browser computes is what the overlay is drawn from."""

import numpy as np
import pytest

from darnet_trt.evaluation.evidence import blend, grown
from darnet_trt.runtime.prediction.results.result import Evidence
from darnet_trt.runtime.serving.http.v1.scans import packed
from darnet_trt.scan.cohorts import PAPER_CLASSES
from tests.runtime.serving.page.browser import until
from tests.runtime.serving.page.stand_in import view

_COMPUTED = """async id => {
    const {parse} = await import("/page/viewer/evidence.js");
    const found = parse(await (await fetch(`/v1/scans/${id}/evidence`)).arrayBuffer());
    const slices = [...Array(found.depth).keys()];
    return {
        peak: found.peak, profiles: found.profiles, oriented: found.oriented,
        over: found.classes.map((_, c) => slices.map(s => [...found.over(c, s)])),
    };
}"""
_PIXELS = """canvas => {
    const pen = canvas.getContext("2d");
    return [...pen.getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def test_the_map_lies_where_the_overlay_has_it(visit, service):
    shape, cells = (11, 24, 40), (2, 2, 3)
    rng = np.random.default_rng(0)
    cam = rng.normal(0, 3, (3, *cells)).astype(np.float16).astype(np.float32)
    cam[0, 0, 0, :2] = [2**-24, 0]  # the smallest float16 of all
    volume = rng.random(shape).astype(np.float32)
    name = view(1)["id"]
    service.evidence[name] = packed(Evidence(volume, cam, oriented=False), PAPER_CLASSES)
    found = visit().evaluate(_COMPUTED, name)
    expected = np.stack([grown(each, shape) for each in cam])
    computed = np.array(found["over"]).reshape(3, *shape)
    np.testing.assert_allclose(computed, expected, atol=1e-5)
    assert found["peak"] == pytest.approx(max(cam.max(), 0))
    means = np.broadcast_to(cam.mean((2, 3), keepdims=True), cam.shape)
    along = np.stack([grown(each, shape)[:, 0, 0] for each in means])
    np.testing.assert_allclose(found["profiles"], along, atol=1e-5)
    assert found["oriented"] is False


def test_a_slice_is_drawn_as_in_the_overlay(visit, classified):
    tab = visit(1)
    canvas = tab.locator(".slice canvas")
    slider = tab.get_by_label("Slice, foot to head")
    cam = classified.evidence.cam.astype(np.float16).astype(np.float32)
    place = list(classified.probabilities).index(classified.predicted)
    laid = grown(cam[place], classified.evidence.volume.shape) / max(cam.max(), 0)
    grey = np.rint(255 * classified.evidence.volume.clip(0, 1)) / 255
    for slice_ in (0, 7, 15):
        slider.fill(str(slice_))
        drawn = np.reshape(canvas.evaluate(_PIXELS), (32, 32, 4))
        expected = blend(grey[slice_], laid[slice_])
        assert np.abs(drawn[..., :3] - expected.astype(int)).max() <= 1
        assert drawn[..., 3].min() == 255


def test_wheel_keys_slider_and_chart_change_the_slice(visit):
    tab = visit(1)
    said = tab.locator("#slice-said")
    slider = tab.get_by_label("Slice, foot to head")
    slider.fill("5")
    assert said.inner_text().startswith("Slice 6 of 16")
    tab.locator(".slice canvas").hover()
    tab.mouse.wheel(0, -100)
    until(lambda: said.inner_text().startswith("Slice 7 of 16"))
    tab.locator(".slice canvas").click()
    tab.keyboard.press("ArrowUp")
    assert said.inner_text().startswith("Slice 8 of 16")
    tab.keyboard.press("Home")
    assert said.inner_text().startswith("Slice 1 of 16")
    assert slider.get_attribute("aria-valuetext") == said.inner_text()
    tab.locator("svg.depth").click(position={"x": 120, "y": 12})
    assert said.inner_text().startswith("Slice 16 of 16")
    tab.get_by_role("button", name="Strongest slice").click()
    strongest = said.inner_text()
    assert "mean evidence for" in strongest
    before = tab.locator(".slice canvas").evaluate(_PIXELS)
    tab.get_by_label("Opacity of the map").fill("0")
    plain = np.reshape(tab.locator(".slice canvas").evaluate(_PIXELS), (-1, 4))
    assert (plain[:, 0] == plain[:, 1]).all(), "without the map it is grey"
    assert before != plain.ravel().tolist()
    tab.get_by_label("Map of the evidence for").select_option("normal")
    assert "evidence for normal" in said.inner_text()


def test_at_the_last_slice_the_wheel_scrolls_the_page(visit):
    tab = visit(1, viewport={"width": 900, "height": 500})
    tab.get_by_label("Slice, foot to head").fill("0")
    tab.locator(".slice canvas").hover()
    start = tab.evaluate("scrollY")
    tab.mouse.wheel(0, 100)
    until(lambda: tab.evaluate("scrollY") > start)


def test_pictures_that_are_not_whole_are_said_to_be_missing(visit, service, classified):
    whole = packed(classified.evidence, PAPER_CLASSES)
    service.evidence[view(1)["id"]] = whole[:-1]
    tab = visit(1)
    tab.get_by_text("No pictures: the pictures are not whole").wait_for()
    assert tab.get_by_role("list", name="Probabilities").is_visible()
    bodies = ["", "{}", '{"shape": [1]}\n', '{"shape": [9], "cam_shape": [9]}\n']
    refused = """async bodies => {
        const {parse} = await import("/page/viewer/evidence.js");
        return bodies.filter(body => {
            try { parse(new TextEncoder().encode(body).buffer); } catch { return true; }
        });
    }"""
    assert tab.evaluate(refused, bodies) == bodies


def test_no_side_is_named_where_it_is_not_known(visit, service, classified):
    lost = Evidence(classified.evidence.volume, classified.evidence.cam, oriented=False)
    tab = visit(1)
    tab.get_by_text("right side is on the left").wait_for()
    service.evidence[view(1)["id"]] = packed(lost, PAPER_CLASSES)
    tab.reload()
    tab.get_by_text("Which side is left is not known").wait_for()
    assert tab.locator(".side").count() == 0
