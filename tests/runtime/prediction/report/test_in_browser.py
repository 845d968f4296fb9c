"""The page in Chromium: what names can do, what the table does, and that it loads nothing."""

import re

import pytest

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.report.page import Page
from darnet_trt.runtime.prediction.results.result import DicomObject
from tests.runtime.prediction.report.results import WARNED, overlay, refused, result

NARROW = {"width": 900, "height": 800}
HOSTILE = (
    '</script><script>document.title="taken"</script>',
    '"><img src=x onerror=document.title="taken">',
    "<!--<script>",
    "' onload='document.title=1",
    "one\u2028two\u2029three",
    "bad\udcffname",
    "\u202eevil\u2066",
    "new\nline\x1b[31m",
    "&lt;b&gt;&amp;",
    "x" * 5000,
)


@pytest.fixture
def show(browser, tmp_path):
    """Write a page about results, and open it; it must not complain."""
    contexts = []

    def shown(results, **options):
        page = Page(tmp_path, tmp_path / "report.html")
        page.add(results)
        page.write()
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        said = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto((tmp_path / "report.html").as_uri())
        assert said == []
        return tab

    yield shown
    for context in contexts:
        context.close()


def names(tab):
    return tab.locator("#rows th").all_inner_texts()


def test_no_text_becomes_html_or_a_script(show):
    results = []
    for number, text in enumerate(HOSTILE):
        texts = {"scan": text, "artifact": text, "trained_on": text, "patient_id": text}
        warned = (Finding(text, text),)
        series = result().series.model_copy(update={"description": text, "uid": text})
        results += [
            result(number, **texts, warnings=warned, series=series),
            refused(100 + number, **texts, code=text, reason=text),
        ]
    tab = show(results)
    for button in tab.locator("#rows th button").all():
        button.click()
    assert tab.title() == f"Results: {tab.evaluate('document.title.slice(9)')}" != "taken"
    assert tab.locator("script").count() == 2
    assert tab.locator("img, [onerror], [onload]").count() == 0
    text = tab.locator("body").inner_text()
    assert HOSTILE[0] in text
    assert HOSTILE[8] in text
    assert not {"\u202e", "\u2066", "\u2028", "\x1b"} & set(text)


def test_the_policy_lets_no_other_script_run_and_nothing_load(show):
    tab = show([result()])
    blocked = tab.evaluate(
        """async () => {
        const found = [];
        addEventListener("securitypolicyviolation", e => found.push(e.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "document.title = 'taken'";
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        document.body.append(script, image);
        await fetch("http://127.0.0.1:9/").catch(() => 0);
        await new Promise(done => setTimeout(done, 100));
        return [found, document.title];
    }"""
    )
    assert set(blocked[0]) == {"script-src-elem", "img-src", "connect-src"}
    assert blocked[1] != "taken"


def test_the_table_sorts_filters_and_pages(show):
    results = [result(i) for i in range(120)]
    results[7] = refused(7, reason="it has only 3 slices")
    results[9] = result(9, warnings=WARNED)
    tab = show(results)
    assert len(names(tab)) == 50
    tab.get_by_role("button", name="Next").click()
    assert names(tab)[0] == "P00050/1"
    tab.get_by_role("button", name="Scan", exact=True).press("Enter")
    tab.get_by_role("button", name="Scan", exact=True).press("Enter")
    assert names(tab)[0] == "P00119/1"
    assert tab.locator("th[data-sort=scan]").get_attribute("aria-sort") == "descending"
    tab.locator("select[name=status]").select_option("refused")
    assert names(tab) == ["P00007/1"]
    tab.get_by_role("button", name="Show all").click()
    tab.locator("#rows > tr").nth(49).wait_for()
    tab.locator("select[name=warning]").select_option("undecided")
    assert names(tab) == ["P00009/1"]
    tab.get_by_role("link", name="120 studies").click()
    tab.locator("input[name=text]").fill("ONLY 3")
    assert names(tab) == ["P00007/1"]
    tab.locator("input[name=text]").fill("nowhere")
    assert names(tab) == []
    tab.get_by_role("link", name="too-few-slices").click()
    assert names(tab) == ["P00007/1"]


def test_the_rows_without_scripts_are_those_of_the_script(show):
    results = [result(0), refused(1), result(2, warnings=WARNED), *map(result, range(3, 60))]
    read = "tab => [...document.querySelectorAll('#rows tr')].map(r => r.textContent)"
    without, with_scripts = (show(results, java_script_enabled=on) for on in (False, True))
    assert without.evaluate(read) == with_scripts.evaluate(read)
    assert without.locator(".tiles").inner_text().startswith("60")
    assert without.locator("form").is_hidden()


def test_details_show_the_overlay_that_lies_beside_the_page(show, tmp_path):
    name = overlay(tmp_path, "a b#1.overlay.png")
    tab = show([result(i, overlay=name) for i in range(51)])
    tab.locator("#rows button").first.press("Enter")
    picture = tab.locator(".detail img")
    assert picture.evaluate("async p => (await p.decode(), p.naturalWidth)") == 4


def test_on_paper_stand_all_rows_and_their_titles_on_each_page(show):
    tab = show([result(i) for i in range(60)])
    tab.evaluate(
        """addEventListener("beforeprint", () => {
        window.printed = document.querySelectorAll("#rows > tr").length;
        window.said = document.getElementById("count").value;
    })"""
    )
    tab.pdf()
    assert tab.evaluate("[printed, said]") == [60, "1 to 60 of 60"]
    assert len(names(tab)) == 50
    tab.emulate_media(media="print")
    assert tab.locator("form").is_hidden()
    title = tab.locator("thead button").first
    assert title.evaluate("b => getComputedStyle(b).display") == "contents", "else it stands once"


def test_tables_filters_and_what_changes_have_names(show):
    tab = show([result(0), refused(1), result(2, warnings=WARNED)])
    for table in tab.get_by_role("table").all():
        assert re.search(r'^- table ".+"', table.aria_snapshot())
        assert set(table.locator("th:not([scope])").all()) == set()
    results = tab.get_by_role("search", name="results")
    for name in ("Text", "Status", "Class", "Reason", "Warning"):
        assert results.get_by_label(name).is_visible()
    tab.get_by_label("Status").select_option("refused")
    assert tab.get_by_role("status").inner_text() == "1 to 1 of 1 (3 in all)"


def test_long_names_leave_words_whole(show):
    tab = show([result(0, scan="a/" * 110), result(1, warnings=WARNED)], viewport=NARROW)
    lines = tab.get_by_role("cell", name="undecided", exact=True).evaluate(
        """cell => {
        const text = document.createRange();
        text.selectNodeContents(cell.querySelector("bdi"));
        return text.getClientRects().length;
    }"""
    )
    assert lines == 1


def test_details_say_which_objects_were_made(show):
    uids = {"sop_class": "1.2", "sop_uid": "2.25.1", "series_uid": "2.25.2"}
    made = [DicomObject(kind=kind, file=f"dicom/{kind}.dcm", **uids) for kind in ("sr", "sc", "sc")]
    tab = show([result(0, dicom=tuple(made)), result(1)])
    for place, shown in enumerate([["DICOM objects\nsr, sc"], []]):
        button = tab.locator("#rows button").nth(place)
        button.press("Enter")
        assert [t for t in tab.locator(".facts > div").all_inner_texts() if "DICOM" in t] == shown
        button.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_scrolling_aside(show, scheme):
    results = [result(0, scan="a" * 300), refused(1), result(2, warnings=WARNED)]
    tab = show(results, viewport={"width": 400, "height": 800}, color_scheme=scheme)
    tab.locator("#rows button").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400


def test_ten_thousand_results_fit(show, tmp_path):
    tab = show([refused(i) if i % 10 == 0 else result(i, warnings=WARNED) for i in range(10_000)])
    assert (tmp_path / "report.html").stat().st_size < 10_000_000
    assert tab.locator("#count").inner_text() == "1 to 50 of 10,000"
