"""A store and its studies, put together as the service does, with short quiet times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.serving.intake.names import slice_file, study_of_uid
from darnet_trt.runtime.serving.intake.store import Received, Store
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.studies import Studies
from darnet_trt.runtime.serving.views import StudyView

QUICK: dict[str, Any] = {"quiet_s": 0.8, "shortest_quiet_s": 0.2, "least_free": 0, "workers": 1}


@dataclass
class Running:
    store: Store
    studies: Studies
    settings: Settings

    def send(self, *files: Path, peer: str = "CT1") -> list[Received]:
        return [self.store.receive(file.read_bytes(), peer=peer) for file in files]

    def wait(self, study: str, until: Callable[[StudyView], bool] | None = None) -> StudyView:
        """Wait until a study is done, or as it is wanted."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            view = self.studies.view(study)
            if view is not None and (until or (lambda v: v.state == "done"))(view):
                return view
            time.sleep(0.02)
        raise TimeoutError(f"{self.studies.view(study)}, {self.studies.trouble}")

    def wait_all(self) -> None:
        end = time.monotonic() + 120
        while (figures := self.studies.figures()).receiving + figures.queued + figures.running:
            assert time.monotonic() < end, (figures, self.studies.trouble)
            time.sleep(0.05)


def make(settings: Settings, engine: Engine | None = None, **more: Any) -> Running:
    bundle = open_bundle(settings.bundle)
    made: list[Studies] = []
    store = Store(
        settings.state,
        settings,
        lambda study: made[0].admit(study),
        lambda received, peer: made[0].arrived(received, peer),
    )
    made.append(Studies(settings, store, bundle, engine or load_engine(bundle), **more))
    return Running(store, made[0], settings)


@contextmanager
def running(
    bundle: Path, state: Path, *, engine: Engine | None = None, **more: Any
) -> Iterator[Running]:
    """Run it; it ends with the context."""
    settings = Settings(bundle=bundle, state=state, **{**QUICK, **more})
    made = make(settings, engine, notify=print)
    made.studies.start()
    try:
        yield made
    finally:
        made.studies.close()


def check_promise(made: Running) -> None:
    """Every file counts in exactly one result that stands, and no other result stands."""
    keys: set[str] = set()
    for study, files in made.store.studies():
        view = made.studies.view(study)
        assert view is not None
        instances = made.studies._records.ledgers.instances(study)
        assert sorted(instances) == files
        own = {result.key for result in view.results}
        assert own
        assert {each.result for each in instances.values()} <= own
        assert not own & keys
        keys |= own
        assert view.received == view.used + view.left_out + view.refused == len(files)
        for each in instances.values():
            assert (each.why == "") == (each.fate == "used")
    assert {r.key for r in made.studies._records._results.results()} == keys


def damaged_slice(state: Path, study_uid: str, sop_uid: str) -> Path:
    """A slice that was kept, and whose disk has damaged it since."""
    path = state / "studies" / study_of_uid(study_uid) / slice_file(sop_uid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0\1" * 1000)
    return path
