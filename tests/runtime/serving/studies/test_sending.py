"""Results go out beside all else; what goes wrong with that stops nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from darnet_trt.errors import OutputError
from darnet_trt.runtime.delivery.queue import Queue
from darnet_trt.runtime.serving.studies import keeping, sending
from tests.runtime.delivery.dicom_peers import peer
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.service import Running, check_promise, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(  # pynetdicom forgets sockets that did not connect
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(keeping, "TIDY_S", 0.2)
    monkeypatch.setattr(sending, "AGAIN_S", 0.2)


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def reports(made: Running, study: str) -> list[str]:
    view = made.studies.view(study)
    assert view is not None
    return [one.sop_uid for result in view.results for one in result.dicom]


def test_what_is_made_is_sent_once_also_over_a_restart(tiny, phantom_series, tmp_path):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 1).iterdir())
    options = {"objects": ("sr",), "identifiers": True}
    with peer() as pacs:
        with running(tiny, tmp_path / "state", send=(pacs.ae,), **options) as made:
            (study,) = {each.study for each in made.send(*files[:-2])}
            made.wait(study)
            first = reports(made, study)
            wait_until(lambda: made.studies.deliveries()[pacs.ae].all == {"sent": 1})
            assert pacs.stored == first
        with running(tiny, tmp_path / "state", send=(pacs.ae,), **options) as made:
            made.send(*files)
            view = made.wait(study, lambda v: v.state == "done" and v.used == len(files))
            assert view.results[0].predecessor.sop_uid == first[0]
            both = [*first, *reports(made, study)]
            wait_until(lambda: made.studies.deliveries()[pacs.ae].all == {"sent": 2})
            assert pacs.stored == both
            check_promise(made)
        gone = "PEER@127.0.0.1:9"
        with running(tiny, tmp_path / "state", send=(gone,), **options) as made:
            assert list(made.studies.deliveries()) == [gone]  # who is not named gets no more


def test_deliveries_that_end_are_begun_again_and_stop_nothing(
    tiny, phantom_series, tmp_path, monkeypatch
):
    real, noted = Queue.note, []

    def note(self: Queue, *arguments: Any, **more: Any) -> None:
        noted.append(arguments)
        if len(noted) == 1:
            raise OutputError("cannot be written (No space left on device)")
        real(self, *arguments, **more)

    monkeypatch.setattr(Queue, "note", note)
    with (
        peer() as pacs,
        running(tiny, tmp_path / "state", objects=("sr",), send=(pacs.ae,)) as made,
    ):
        studies = []
        for number in range(2):
            scan = sorted(write_study(phantom_series, tmp_path / "scan", number).iterdir())
            studies.append(made.send(*scan)[0].study)
            assert made.wait(studies[-1]).results[0].status == "ok"
            for file in scan:
                file.unlink()
        wait_until(lambda: made.studies.deliveries()[pacs.ae].all == {"sent": 2})
        assert set(pacs.stored) == {uid for study in studies for uid in reports(made, study)}


def test_a_peer_that_is_down_holds_nothing_up(tiny, phantom_series, tmp_path):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 1).iterdir())
    gone = "PEER@127.0.0.1:9"
    with running(tiny, tmp_path / "state", objects=("sr",), send=(gone,)) as made:
        (study,) = {each.study for each in made.send(*files)}
        assert made.wait(study).results[0].status == "ok"
        wait_until(lambda: made.studies.deliveries()[gone].why_waiting)
        start = time.monotonic()
        made.studies.drain(start + 3)
        assert time.monotonic() - start < 20
