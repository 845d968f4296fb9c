"""Studies that come into a folder: classified once they are quiet and whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.prediction.history.index import INDEX
from darnet_trt.runtime.prediction.history.watch import PATIENCE, Arrivals
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.scan.discovery.places import Place
from tests.runtime.prediction.pipeline.studies import write_study
from tests.tiny_bundle import write_bundle

SETTLE_S = 60.0


class Watch:
    """A folder that is watched by a clock that only the test moves."""

    def __init__(self, folder: Path, bundle: Path, out: Path) -> None:
        self.folder, self.now = folder, 0.0
        self._bundle = open_bundle(bundle)
        self._engine = load_engine(self._bundle)
        self.out = ResultFolder(out, resume=True)
        self.arrivals = Arrivals(
            out / INDEX,
            self.out.standing,
            bundle=self._bundle.sha256,
            artifact=self._engine.artifact.name,
            settle_s=SETTLE_S,
            clock=lambda: self.now,
        )
        self.arrivals.follow([Place.given(folder)])

    def wait(self, quiet_times: float) -> list[tuple[str, int]]:
        """Let time pass; return of each result in it the study, and its slices or minus one."""
        found = []
        end = self.now + quiet_times * SETTLE_S
        while self.now < end:
            if places := self.arrivals.arrived():
                for result in predict(
                    self._bundle, places, engine=self._engine, history=self.arrivals, workers=1
                ):
                    if result.code == "no-scan":
                        continue
                    self.arrivals.done(self.out.add(result))
                    slices = result.series.slices if result.status == "ok" else -1
                    found.append((result.study_uid, slices))
                self.out.drop(self.arrivals.gone([]))
            self.now += SETTLE_S / 10
        return found

    def standing(self) -> dict[str, int]:
        return {r.study_uid: r.series.slices for r in self.out.results() if r.series}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("engine") / "bundle")


@pytest.fixture
def watch(tmp_path: Path, engine: Path) -> Iterator[Watch]:
    (tmp_path / "in").mkdir()
    watch = Watch(tmp_path / "in", engine, tmp_path / "out")
    yield watch
    with watch.out, watch.arrivals:
        pass


def test_a_study_that_still_comes_is_classified_once_when_it_is_quiet(watch, phantom_series):
    for end in (10, 20, 30):
        write_study(phantom_series, watch.folder / "a", 1, slices=slice(end))
        assert watch.wait(0.8) == []
    assert watch.wait(0.5) == [("2.25.1", 30)]
    assert watch.wait(20) == []


def test_series_in_folders_of_their_own_are_one_study(watch, phantom_series):
    """The second folder is still being filled when the first one has long been quiet."""
    write_study(phantom_series, watch.folder / "a" / "1", 1, slices=slice(15))
    assert watch.wait(0.5) == []
    write_study(phantom_series, watch.folder / "a" / "2", 1, slices=slice(15, 20))
    assert watch.wait(0.8) == []
    write_study(phantom_series, watch.folder / "a" / "2", 1, slices=slice(15, 30))
    assert watch.wait(0.8) == []
    assert watch.wait(1) == [("2.25.1", 30)]
    assert watch.wait(20) == []


@pytest.mark.parametrize("apart", [False, True])
def test_late_slices_replace_a_result(watch, phantom_series, apart):
    write_study(phantom_series, watch.folder / "a", 1, slices=slice(22))
    assert watch.wait(2) == [("2.25.1", 22)]
    late = watch.folder / ("z" if apart else "a")
    write_study(phantom_series, watch.folder / "m", 2)
    write_study(phantom_series, late, 1, slices=slice(22, 30))
    assert sorted(watch.wait(2)) == [("2.25.1", 30), ("2.25.2", 30)]
    assert watch.standing() == {"2.25.1": 30, "2.25.2": 30}
    assert watch.wait(20) == []


def test_a_study_with_a_gap_waits_longer_and_is_then_taken(watch, phantom_series):
    write_study(phantom_series, watch.folder / "a", 1, slices=slice(0, None, 2))
    write_study(phantom_series, watch.folder / "a", 1, slices=slice(1, 25, 2))
    assert watch.wait(PATIENCE - 0.5) == []
    write_study(phantom_series, watch.folder / "a", 1)
    assert watch.wait(0.8) == []
    assert watch.wait(1) == [("2.25.1", 30)]
    write_study(phantom_series, watch.folder / "b", 2, slices=slice(5, 30))
    assert watch.wait(PATIENCE - 0.5) == []
    assert watch.wait(2) == [("2.25.2", 25)]


@pytest.mark.parametrize("length", [0, 100, -500])
def test_a_half_written_slice_is_read_again_when_it_is_whole(watch, phantom_series, length):
    """Also where it was given up on in the meantime."""
    folder = write_study(phantom_series, watch.folder / "a", 1)
    last = sorted(folder.iterdir())[-1]
    whole = last.read_bytes()
    last.write_bytes(whole[:length])
    assert watch.wait(PATIENCE - 0.5) == []
    assert ("2.25.1", 29) in watch.wait(2)
    last.write_bytes(whole)
    assert watch.wait(12) == [("2.25.1", 30)]
    assert [result.status for result in watch.out.results()] == ["ok"]


def test_studies_that_come_into_one_folder_do_not_wait_for_each_other(watch, phantom_series):
    found = []
    for number in range(1, 13):
        write_study(phantom_series, watch.folder, number)
        for file in watch.folder.glob("*[0-9].dcm"):
            file.rename(file.with_name(f"{number} {file.name}x"))
        found += watch.wait(0.4)
    assert len(found) >= 6
    found += watch.wait(2)
    assert sorted(found) == sorted((f"2.25.{number}", 30) for number in range(1, 13))


def test_what_failed_for_a_passing_reason_is_tried_again(watch, phantom_series, obeyed_permissions):
    folder = write_study(phantom_series, watch.folder / "a", 1)
    folder.chmod(0)
    assert watch.wait(12) != []
    folder.chmod(0o755)
    assert ("2.25.1", 30) in watch.wait(100)
    assert [result.status for result in watch.out.results()] == ["ok"]


def test_what_is_finished_is_not_read_again_by_the_next_watch(
    watch, phantom_series, engine, tmp_path
):
    write_study(phantom_series, watch.folder / "a", 1)
    assert len(watch.wait(2)) == 1
    with watch.out, watch.arrivals:
        pass
    watch.__init__(watch.folder, engine, tmp_path / "out")
    assert watch.wait(3) == []
    assert watch.arrivals.known() == 1
