"""Scans that are sent from the page: progress, refusals, and a service that is full."""

from tests.runtime.serving.page.browser import until
from tests.runtime.serving.page.stand_in import view

ZIP = {"name": "chest.zip", "mimeType": "application/zip", "buffer": b"PK" * 50_000}


def accepted(shown, status=202):
    return status, {"scans": [shown], "known": 0, "ignored": {}, "refused": []}, {}


def test_a_scan_is_sent_and_shown(visit, service):
    service.answers = [
        (
            202,
            {
                "scans": [view(2, state="receiving", wait_s=2.0)],
                "known": 0,
                "ignored": {},
                "refused": [],
            },
            {},
        )
    ]
    tab = visit()
    tab.locator("#files").set_input_files(ZIP)
    tab.get_by_role("main").get_by_role("heading", name="chest.zip").wait_for()
    tab.get_by_role("main").get_by_text("receiving, 30 files so far").wait_for()
    assert tab.locator("#uploads li").count() == 0
    headers, body = service.uploads[0]
    assert b'filename="chest.zip"' in body
    assert ZIP["buffer"] in body
    assert len(headers["idempotency-key"]) == 32
    tab.locator("#said").get_by_text("chest.zip: received").wait_for()


def test_a_scan_that_is_sent_before_the_list_comes_is_not_lost(visit, service):
    shown = view(2, state="receiving", wait_s=2.0)
    service.answers = [accepted(shown)]
    service.listing.clear()
    tab = visit()
    tab.locator("#files").set_input_files(ZIP)
    tab.get_by_role("main").get_by_role("heading", name="chest.zip").wait_for()
    del service.views[shown["id"]]
    service.listing.set()
    until(lambda: "/v1/service" in service.asked)  # which follows the list
    until(lambda: tab.locator("#studies .title").count() == 2)  # the service knew another one
    tab.get_by_role("main").get_by_text("receiving, 30 files so far").wait_for()


def test_slices_go_together_and_volumes_alone(visit, service):
    done = accepted(view(1), status=200)
    service.answers = [done] * 3
    tab = visit()
    slices = [{"name": f"IM{i}", "mimeType": "", "buffer": b"slice %d" % i} for i in range(3)]
    volumes = [{"name": n, "mimeType": "", "buffer": n.encode()} for n in ("a.nii.gz", "B.MHA")]
    tab.locator("#files").set_input_files([slices[0], volumes[0], *slices[1:], volumes[1]])
    until(lambda: tab.evaluate("location.hash") and not tab.locator("#uploads li").count())
    assert len(service.uploads) == 3
    assert [b for _, b in service.uploads if all(b"slice %d" % i in b for i in range(3))]
    assert len({h["idempotency-key"] for h, _ in service.uploads}) == 3


def test_many_slices_give_their_study_no_name_of_a_file(visit, service):
    service.answers = [accepted(view(1), status=200)]
    tab = visit()
    slices = [{"name": f"IM{i}", "mimeType": "", "buffer": b"%d" % i} for i in range(3)]
    tab.locator("#files").set_input_files(slices)
    until(lambda: tab.evaluate("location.hash") and not tab.locator("#uploads li").count())
    assert "slices" not in tab.locator("#studies .title").first.inner_text()


def test_a_full_service_is_tried_again_with_its_ticket(visit, service):
    full = {"error": "the queue is full", "retry_after_s": 0.4}
    service.answers = [
        (429, full, {"Retry-After": "1", "Darnet-Ticket": "t-1"}),
        accepted(view(2, state="queued", ahead=0)),
    ]
    tab = visit()
    tab.locator("#files").set_input_files(ZIP)
    tab.locator("#uploads").get_by_text(
        "not taken yet: the queue is full; sent again in 1"
    ).wait_for()
    tab.get_by_role("main").get_by_role("heading", name="chest.zip").wait_for()
    (first, _), (second, _) = service.uploads
    assert "darnet-ticket" not in first
    assert second["darnet-ticket"] == "t-1"
    assert second["idempotency-key"] == first["idempotency-key"]


def test_what_the_service_refuses_is_said(visit, service):
    tab = visit()
    for status, again in ((400, False), (413, False), (500, True), (503, True)):
        service.answers = [(status, {"error": f"chest.zip: it is no archive ({status})"}, {})]
        tab.locator("#files").set_input_files(ZIP)
        tab.locator("#uploads").get_by_text(f"no archive ({status})").wait_for()
        tab.get_by_role("alert").get_by_text(f"no archive ({status})").wait_for()
        assert tab.get_by_role("button", name="Try again").is_visible() == again
        tab.get_by_role("button", name="Close chest.zip").click()
        assert tab.locator("#uploads li").count() == 0
        assert tab.evaluate("document.activeElement.id") == "choose"


def test_what_was_heard_before_the_answer_stays(visit, service):
    tab = visit()
    tab.locator("#studies li").wait_for()

    def answer(route):
        service.tell(view(2))
        tab.locator("#studies").get_by_text("no result").wait_for()
        route.fulfill(status=202, json=accepted(view(2, state="running"))[1])

    tab.route("**/v1/scans", answer)
    tab.locator("#files").set_input_files(ZIP)
    tab.get_by_role("heading", name="chest.zip").wait_for()
    assert tab.get_by_role("progressbar").count() == 0
    assert "no result" in tab.locator("#studies a").first.inner_text()


def test_members_that_are_refused_are_named(visit, service):
    service.answers = [(202, {
        "scans": [view(2)], "known": 0, "ignored": {"picture": 2, "text": 1},
        "refused": [{"name": "../evil.dcm", "why": "its name leaves the archive"}],
    }, {})]  # fmt: skip
    tab = visit()
    tab.locator("#files").set_input_files(ZIP)
    text = tab.locator("#uploads .words")
    text.get_by_text("3 files ignored; refused: ../evil.dcm: its name leaves").wait_for()


def test_what_was_received_before_keeps_its_title(visit, service, classified):
    status, body, headers = accepted(view(1, (classified,)), status=200)
    service.answers = [(status, body | {"known": 30}, headers)]
    tab = visit()
    tab.locator("#files").set_input_files(ZIP)
    tab.locator("#uploads").get_by_text("30 files received before").wait_for()
    title = tab.locator("#study-title")
    until(lambda: classified.series.description in title.inner_text())


def test_an_upload_is_stopped_and_tried_again(visit, service):
    tab = visit()
    tab.locator("#studies li").wait_for()
    held = []
    answer = {"by": held.append}
    tab.route("**/v1/scans", lambda route: answer["by"](route))
    tab.locator("#files").set_input_files(ZIP)
    tab.get_by_text("0 of 100.0").wait_for()
    tab.get_by_role("button", name="Stop sending chest.zip").click()
    assert tab.locator("#uploads li").count() == 0
    answer["by"] = lambda route: route.abort()
    tab.locator("#files").set_input_files(ZIP)
    tab.locator("#uploads").get_by_text("The connection was lost").wait_for()
    answer["by"] = lambda route: route.continue_()
    service.answers = [accepted(view(1), status=200)]
    tab.get_by_role("button", name="Try again").click()
    until(lambda: not tab.locator("#uploads li").count())
    assert len(service.uploads) == 1


def test_a_drop_anywhere_sends_the_file(visit, service):
    service.answers = [accepted(view(2))]
    tab = visit()
    tab.locator("#studies li").wait_for()
    tab.evaluate(
        """() => {
        const data = new DataTransfer();
        data.items.add(new File(["volume"], "x.nrrd"));
        for (const type of ["dragover", "drop"]) {
            const how = {dataTransfer: data, bubbles: true, cancelable: true};
            const event = new DragEvent(type, how);
            document.querySelector("footer").dispatchEvent(event);
            if (!event.defaultPrevented) throw new Error(type);
        }
    }"""
    )
    tab.get_by_role("heading", name="x.nrrd").wait_for()
    assert b"volume" in service.uploads[0][1]


def test_an_upload_asks_for_the_token(visit, service):
    tab = visit()
    tab.locator("#studies li").wait_for()
    service.token = "let-me-in"
    service.answers = [accepted(view(1), status=200)]
    tab.locator("#files").set_input_files(ZIP)
    tab.get_by_role("textbox", name="Token").fill("let-me-in")
    tab.keyboard.press("Enter")
    until(lambda: tab.evaluate("location.hash") and not tab.locator("#uploads li").count())
    assert len(service.uploads) == 1
