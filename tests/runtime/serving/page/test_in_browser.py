"""The page in Chromium: what it says of studies, and that a text stays a text."""

import json
import re

import pytest

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.results.result import PHANTOMS_ONLY, DicomObject
from tests.runtime.serving.page.browser import until, violations
from tests.runtime.serving.page.stand_in import view

HOSTILE = (
    '</script><script>document.title="taken"</script>',
    '"><img src=x onerror=document.title="taken">',
    "\u202eevil\u2066", "new\nline\x1b[31m", "&lt;b&gt;&amp;", "x" * 1000,
)  # fmt: skip


def refused(result, **changes):
    return result.model_copy(update={
        "status": "refused", "code": "too-few-slices", "reason": "only 3 slices", "predicted": None,
        "probabilities": {}, **changes,
    })  # fmt: skip


def undecided(result):
    shares = {"covid-19": 0.45, "common-pneumonia": 0.4, "normal": 0.15}
    return result.model_copy(update={"predicted": "covid-19", "probabilities": shares})


def test_a_study_is_followed_from_its_first_file_to_its_result(visit, service, classified):
    service.tell(view(2, state="receiving", received=3, wait_s=10.0))
    tab = visit(2)
    main = tab.get_by_role("main")
    main.get_by_text("receiving, 3 files so far; complete in 10").wait_for()
    assert tab.locator("#studies li").first.inner_text().startswith("Study 00000000")
    service.tell(view(2, state="queued", received=30, ahead=2, wait_s=200))
    main.get_by_text("waits, 2 studies before it; result in about 3").wait_for()
    tab.get_by_text("1 waits for the engine").wait_for()
    service.tell(view(2, state="running", received=30))
    main.get_by_text("being classified").wait_for()
    service.tell(view(2, (classified,), received=30, used=20, left_out=9, refused=1))
    share = f"{100 * classified.probabilities[classified.predicted]:.1f}"
    heading = main.get_by_role("heading", name=f"{classified.predicted} {share}")
    heading.wait_for()
    tab.locator("#said").get_by_text(classified.predicted).wait_for()
    assert main.get_by_role("progressbar").count() == 0
    assert tab.get_by_text("Nothing waits.").is_visible()
    assert main.get_by_text("30 files received: 20 used, 9 left out, 1 refused").is_visible()


def test_a_reader_keeps_the_place_while_late_slices_come(visit, service, classified):
    tab = visit(1)
    slider = tab.get_by_label("Slice, foot to head")
    slider.fill("3")
    slider.focus()
    service.tell(view(1, (classified,), state="receiving", received=31, wait_s=5.0))
    tab.get_by_text("The result below stands until there is a new one").wait_for()
    assert slider.input_value() == "3"
    assert slider.evaluate("s => s === document.activeElement")


def test_what_is_no_clear_class_is_said_in_words(visit, service, classified):
    service.tell(view(2, (refused(classified),), received=3))
    failed = {"status": "failed", "code": "unreadable", "reason": "it is cut off"}
    service.tell(view(3, (refused(classified, **failed),)))
    warned = undecided(classified).model_copy(update={"warnings": (PHANTOMS_ONLY,)})
    service.tell(view(4, (warned,)))
    service.tell(view(5, (classified, refused(classified))))
    service.tell(view(6, state="queued", error="the engine failed; it is loaded again"))
    tab = visit(2)
    main = tab.get_by_role("main")
    main.get_by_role("heading", name="Refused").wait_for()
    assert main.get_by_text("only 3 slices").is_visible()
    tab.locator("#studies a").nth(3).click()
    main.get_by_role("heading", name="Failed").wait_for()
    assert main.get_by_text("it is cut off").is_visible()
    until(lambda: main.evaluate("m => m === document.activeElement"))
    tab.locator("#studies a").nth(2).click()
    main.get_by_role("heading", name="undecided: covid-19 45.0").wait_for()
    assert main.get_by_text("Take no class from it").is_visible()
    assert main.get_by_text("says nothing about a patient").is_visible()
    tab.locator("#studies a").nth(1).click()
    main.get_by_role("region", name="Result 2").wait_for()
    assert tab.locator("#studies a").nth(1).inner_text().endswith("refused: only 3 slices")
    tab.locator("#studies a").first.click()
    main.get_by_text("Tried again: the engine failed").wait_for()


def test_no_text_becomes_html(visit, service, classified):
    for number, text in enumerate(HOSTILE, 2):
        series = classified.series.model_copy(update={"description": text, "why": text})
        texts = {"artifact": text, "trained_on": text, "patient_id": text, "study_uid": text,
                 "series": series, "warnings": (Finding(text, text),), "toolkit": text}  # fmt: skip
        both = (
            classified.model_copy(update=texts),
            refused(classified, **texts, reason=text, code=text),
        )
        service.tell(view(number, both, error=text))
    service.peers = [{"peer": HOSTILE[0], "objects": {"refused": 1}, "awaited": 0, "next_s": None,
                      "why": HOSTILE[1]}]  # fmt: skip
    tab = visit()
    tab.get_by_text("1 refused").wait_for()
    for number in range(2, 2 + len(HOSTILE)):
        tab.locator(f'a[href="#{number:032x}"]').click()
        until(lambda end=f"{number:x}": tab.evaluate("location.hash").endswith(end))
        tab.get_by_text("Tried again").wait_for()
    assert "taken" not in tab.title().split(":")[0]
    assert tab.locator("script").count() == 1
    assert tab.locator("img, [onerror]").count() == 0
    text = tab.locator("body").inner_text()
    assert not {"\u202e", "\u2066", "\x1b"} & set(text)


def test_patients_are_named_only_where_the_service_keeps_them(visit, service, classified):
    named = {"patient_id": "P-7", "accession_number": "A1", "study_date": "20261129"}
    service.tell(view(2, (classified.model_copy(update=named),)))
    service.tell(view(3, (classified.model_copy(update={**named, "pseudonymous": True}),)))
    gone = dict.fromkeys(named)
    service.tell(view(4, (classified.model_copy(update=gone),)))
    tab = visit(2)
    assert tab.locator("#patient").inner_text() == (
        "Patient P-7 · Accession A1 · Study of 2026-11-29"
    )
    tab.locator("#studies a").nth(1).click()
    tab.get_by_text("patient id P-7").wait_for()
    assert tab.locator("#patient").inner_text() == ""
    assert "P-7" not in tab.locator("#study-title").inner_text()
    assert "P-7" not in tab.locator("#studies a").nth(1).inner_text()
    tab.locator("#studies a").first.click()
    until(lambda: tab.locator("#patient").inner_text() == "")


def test_files_and_objects_can_be_looked_into(visit, service, classified):
    uids = {"sop_class": "1.2", "sop_uid": "2.25.1", "series_uid": "2.25.2"}
    objects = tuple(DicomObject(kind=k, file=f"dicom/{k}.dcm", **uids) for k in ("sr", "pm", "sc"))
    service.tell(view(1, (classified.model_copy(update={"dicom": objects}),), received=2))
    other = refused(classified, dicom=objects)
    service.tell(view(2, (classified.model_copy(update={"dicom": objects}), other)))
    tab = visit(2)
    tab.get_by_role("link", name="Structured report").wait_for()
    links = tab.get_by_role("region", name="Result 2").get_by_role("link")
    assert links.all_inner_texts() == ["All as JSON"], "the service gives the first one's"
    tab.locator("#studies a").last.click()
    tab.get_by_text("2 files received").click()
    row = tab.get_by_role("row", name="1.2.4")
    assert row.inner_text().split() == ["1.2.4", "refused", "no", "CT"]
    for name, kind in (("Structured report", "sr"), ("Parametric map", "pm"), ("Picture", "sc")):
        with tab.expect_download() as taken:
            tab.get_by_role("link", name=name).click()
        assert taken.value.path().read_bytes() == b"DICM " + kind.encode()
        assert taken.value.suggested_filename.endswith(f"-{kind}.dcm")


def test_the_token_is_asked_for_once_and_kept_in_memory(visit, service):
    service.token = "let-me-in"
    tab = visit(1)
    dialog = tab.get_by_role("dialog", name="This service asks for a token")
    dialog.wait_for()
    tab.keyboard.press("Escape")
    field = tab.get_by_role("textbox", name="Token")
    field.fill("wrong ☃")
    tab.keyboard.press("Enter")
    tab.get_by_text("does not know this token").wait_for()
    field.fill("let-me-in")
    tab.keyboard.press("Enter")
    tab.get_by_role("list", name="Probabilities").wait_for()
    tab.get_by_label("Slice, foot to head").wait_for()
    assert dialog.is_hidden()
    kept = tab.evaluate("[{...localStorage}, {...sessionStorage}, document.cookie, location.href]")
    assert kept[:3] == [{}, {}, ""]
    assert "let" not in kept[3]
    with tab.expect_download() as taken:
        tab.get_by_role("link", name="All as JSON").click()
    assert json.loads(taken.value.path().read_text())["id"] == view(1)["id"]


def test_after_a_restart_of_the_service_the_list_is_right_again(visit, service, classified):
    tab = visit()
    tab.get_by_text("openvino-int8, trained on 3 <b>phantoms</b>").wait_for()
    tab.locator("#studies li").wait_for()
    service.views.pop(view(1)["id"])
    service.views[view(2)["id"]] = view(2, (refused(classified),))
    service.ready = (503, {"error": "the engine is being loaded"})
    service.hang_up()
    tab.get_by_text("refused: only 3 slices").wait_for()
    assert tab.locator("#studies li").count() == 1
    tab.get_by_text("Not ready: the engine is being loaded").wait_for()


def test_what_is_heard_while_the_list_comes_is_newer(visit, service, classified):
    service.tell(view(2, state="running"))
    tab = visit(2)
    tab.get_by_role("main").get_by_text("being classified").wait_for()

    def late(route):
        old = route.fetch()
        service.tell(view(2, (classified,)))
        tab.get_by_role("list", name="Probabilities").wait_for()
        route.fulfill(response=old)
        answered.append(old)

    answered = []
    tab.route(re.compile(r"/v1/scans\?"), late)
    service.hang_up()
    until(lambda: tab.evaluate("true") and answered)
    tab.wait_for_timeout(200)
    assert tab.get_by_role("list", name="Probabilities").is_visible()
    assert "being classified" not in tab.locator("#studies").inner_text()


def test_many_studies_come_by_and_by(visit, service, classified):
    for number in range(2, 122):
        service.tell(view(number, (refused(classified),)))
    tab = visit(1)
    items = tab.locator("#studies li")
    tab.locator("#study-title").wait_for()
    assert items.count() == 50
    tab.get_by_role("button", name="Show older ones").click()
    until(lambda: items.count() == 100)
    tab.get_by_role("button", name="Show older ones").click()
    until(lambda: items.count() == 121)
    service.tell(view(200, state="receiving"))
    tab.locator("#studies li .busy").wait_for()
    assert items.count() == 121


def test_an_unknown_study_is_said_to_be_unknown(visit):
    tab = visit(99)
    tab.get_by_role("heading", name="There is no such study").wait_for()
    tab.locator("#studies a").click()
    tab.get_by_role("list", name="Probabilities").wait_for()
    tab.go_back()
    tab.get_by_role("heading", name="There is no such study").wait_for()


def test_deliveries_are_told_for_each_receiver(visit, service):
    service.peers = [{
        "peer": "PACS@10.0.0.5:104", "awaited": 2, "next_s": 42.0, "why": "connection refused",
        "objects": {"sent": 2, "committed": 10, "refused": 1, "waiting": 3},
    }]  # fmt: skip
    tab = visit()
    peer = tab.get_by_role("region", name="Deliveries").get_by_role("listitem").first
    text = peer.inner_text()
    for part in ("12 sent, 10 of them committed", "1 refused", "3 to be sent in 42",
                 "connection refused", "2 not yet committed"):  # fmt: skip
        assert part in text


@pytest.mark.slow  # axe-core takes seconds of each page
@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 390)])
def test_axe_finds_no_fault(visit, service, classified, axe, scheme, width):
    service.tell(view(2, (refused(classified),), received=3))
    service.tell(view(3, state="receiving", wait_s=4.0))
    service.tell(view(4, (undecided(classified),), state="queued", error="tried again"))
    service.evidence[view(4)["id"]] = service.evidence[view(1)["id"]]
    service.answers = [(400, {"error": "is no zip archive"}, {})]
    tab = visit(color_scheme=scheme, viewport={"width": width, "height": 800})
    tab.get_by_text("No study is chosen").wait_for()
    assert violations(tab, axe) == []
    tab.locator("#files").set_input_files({"name": "a.zip", "mimeType": "", "buffer": b"x"})
    tab.locator("#uploads .failed").wait_for()
    shown = ("undecided", "receiving, 30 files", "Send another series", "Strongest slice")
    for place, words in enumerate(shown):
        tab.locator("#studies a").nth(place).click()
        tab.get_by_role("main").get_by_text(words).first.wait_for()
        if words in ("undecided", "Strongest slice"):
            tab.get_by_label("Slice, foot to head").wait_for()
        tab.locator(".files summary").click()
        tab.locator(".files table").wait_for()
        assert violations(tab, axe) == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_axe_finds_no_fault_in_the_question_for_the_token(visit, service, axe):
    service.token = "let-me-in"
    tab = visit()
    tab.get_by_role("dialog").wait_for()
    assert violations(tab, axe) == []


def test_a_keyboard_is_enough(visit):
    tab = visit()
    tab.locator("#studies a").wait_for()
    reached = []
    for _ in range(3):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate("document.activeElement.id || document.activeElement.className")
        )
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert reached[:2] == ["skip", "choose"]
    tab.locator("#studies a").focus()
    tab.keyboard.press("Enter")
    tab.get_by_label("Slice, foot to head").wait_for()
    until(lambda: tab.evaluate("document.activeElement.id") == "study")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "slice"
