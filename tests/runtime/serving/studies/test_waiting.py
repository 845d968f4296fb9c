"""When a study is due, and how many may wait."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from darnet_trt.errors import BusyError
from darnet_trt.runtime.serving.settings import DicomSettings, Peer, Settings
from darnet_trt.runtime.serving.studies.waiting import ADMITTED_S, Waiting


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waiting(clock, **settings) -> Waiting:
    peers = (Peer("SLOW", quiet_s=100.0),)
    own = {"quiet_s": 40.0, "shortest_quiet_s": 2.0, "dicom": DicomSettings(peers=peers)}
    return Waiting(Settings(Path(), Path(), **{**own, **settings}), clock)


def came(studies: Waiting, study: str, peer: str = "CT") -> None:
    studies.admit(study, None)
    studies.arrived(study, peer, None)


def due_in(studies: Waiting, study: str, clock: Clock) -> float:
    return studies.due(studies.get(study)) - clock.now


def test_a_study_is_looked_at_early_and_waits_where_it_lacks_slices(clock):
    studies = waiting(clock)
    came(studies, "a")
    assert due_in(studies, "a", clock) == 10
    assert studies.take(5) == []
    assert studies.next_in_s() == 10
    clock.now += 10
    (each,) = studies.take(5)
    assert not studies.is_late(each)
    assert studies.take(5) == []
    studies.go_on(each, each.arrivals, look_s=0.1)
    assert due_in(studies, "a", clock) == 30
    clock.now += 5
    came(studies, "a")  # what was missing, perhaps
    assert due_in(studies, "a", clock) == 10
    clock.now += 40
    assert studies.is_late(each)


def test_looks_that_take_long_are_rare_but_the_quiet_time_holds(clock):
    studies = waiting(clock)
    came(studies, "a")
    clock.now += 10
    (each,) = studies.take(5)
    studies.go_on(each, each.arrivals, look_s=2.0)
    came(studies, "a")
    assert due_in(studies, "a", clock) == 20
    studies.go_on(each, each.arrivals, look_s=20.0)
    came(studies, "a")
    assert due_in(studies, "a", clock) == 40


def test_a_study_of_which_more_came_during_a_look_is_looked_at_again_soon(clock):
    studies = waiting(clock)
    came(studies, "a")
    clock.now += 10
    (each,) = studies.take(5)
    came(studies, "a")
    studies.go_on(each, 1, look_s=0.1)
    assert due_in(studies, "a", clock) == 10


def test_a_peer_has_a_quiet_time_of_its_own_and_what_is_whole_none(clock):
    studies = waiting(clock)
    came(studies, "a", "SLOW")
    came(studies, "a", "CT")
    assert due_in(studies, "a", clock) == 25
    studies.whole("a")
    assert due_in(studies, "a", clock) == 0
    studies.resume("b", (1.0, 2.0))
    assert due_in(studies, "b", clock) == 2
    came(studies, "c", "QUICK")
    assert due_in(studies, "c", clock) == 10


def test_a_quiet_time_shorter_than_the_shortest_holds(clock):
    studies = waiting(clock, quiet_s=1.0)
    came(studies, "a")
    assert due_in(studies, "a", clock) == 1


def test_what_comes_meanwhile_keeps_a_study_open(clock):
    studies = waiting(clock)
    came(studies, "a")
    studies.whole("a")
    (each,) = studies.take(5)
    arrivals = each.arrivals
    came(studies, "a")
    assert not each.whole
    studies.done("a", arrivals)
    assert studies.get("a") is each
    assert not each.taken
    studies.done("a", each.arrivals)
    assert studies.get("a") is None


@pytest.mark.parametrize("seed", range(5))
def test_no_arrival_pattern_opens_more_than_the_bound(clock, seed):
    chance, studies = random.Random(seed), waiting(clock, studies=7)
    refused = 0
    for _ in range(2000):
        clock.now += chance.expovariate(2)
        study = f"{chance.randrange(30)}"
        match chance.randrange(4):
            case 0 | 1 if len(studies) == 7 and studies.get(study) is None:
                studies.sweep()
                if len(studies) == 7:
                    with pytest.raises(BusyError) as busy:
                        studies.admit(study, None)
                    assert busy.value.retry_after_s > 0
                    refused += 1
            case 0 | 1:
                studies.admit(study, None)
                if chance.random() < 0.8:
                    studies.arrived(study, "CT", None)
                elif chance.random() < 0.5:
                    studies.forget(study)
            case 2:
                for each in studies.take(2):
                    studies.done(each.study, each.arrivals)
            case 3:
                for each in studies.take(1):
                    studies.failed(each.study, "a reason")
        assert len(studies) <= 7
    assert refused


def test_each_who_is_refused_is_told_another_time(clock):
    studies = waiting(clock, studies=1, quiet_s=4.0)
    came(studies, "a")
    told = []
    for number in range(5):
        with pytest.raises(BusyError) as busy:
            studies.admit(f"more {number}", None)
        told.append(busy.value.retry_after_s)
    assert told[0] >= 2  # the only one is looked at then
    assert told == sorted(set(told))
    clock.now += 1000
    with pytest.raises(BusyError) as busy:
        studies.admit("much later", None)
    assert busy.value.retry_after_s < told[-1]


def test_a_place_of_which_nothing_comes_is_given_back(clock):
    studies = waiting(clock, studies=1)
    studies.admit("a", None)
    with pytest.raises(BusyError):
        studies.admit("b", None)
    clock.now += ADMITTED_S + 1
    studies.admit("b", None)
    studies.forget("b")
    studies.admit("c", None)
    studies.arrived("c", "CT", None)
    studies.forget("c")
    assert len(studies) == 1


def test_what_fails_is_tried_again_ever_later_and_at_last_alone(clock):
    studies = waiting(clock)
    for name in ("bad", "good"):
        came(studies, name)
        studies.whole(name)
    pauses = []
    for _ in range(2):
        clock.now += 100
        assert {each.study for each in studies.take(5)} == {"bad", "good"}
        studies.failed("bad", "a reason")
        pauses.append(due_in(studies, "bad", clock))
        studies.done("good", studies.get("good").arrivals)
        came(studies, "good")
        studies.whole("good")
    assert pauses == [1, 2]
    clock.now += 100
    assert [each.study for each in studies.take(5)] == ["good"]
    assert studies.take(5) == []
    assert studies.next_in_s() is None
    studies.done("good", studies.get("good").arrivals)
    assert [each.study for each in studies.take(5)] == ["bad"]
    came(studies, "good")
    studies.whole("good")
    assert studies.take(5) == []
    assert studies.get("bad").error == "a reason"


def test_places_in_the_queue_and_times_are_estimated(clock):
    studies = waiting(clock)
    for name in "abcd":
        came(studies, name)
        clock.now += 1
    each = studies.get("d")
    assert 0 < studies.wait_s(each) <= 10
    clock.now += 100
    (first,) = studies.take(1)
    assert first.study == "a"
    assert [studies.ahead(studies.get(name)) for name in "abcd"] == [0, 1, 2, 3]
    waits = [studies.wait_s(studies.get(name)) for name in "abcd"]
    assert waits == sorted(waits)
    assert waits[0] > 0
