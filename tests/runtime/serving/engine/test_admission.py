"""Clients without an end against a queue of bounded length, in simulated time."""

import heapq
import itertools
import random

import pytest

from darnet_trt.errors import BusyError, UsageError
from darnet_trt.runtime.serving.engine.admission import Admission
from darnet_trt.runtime.serving.engine.pace import Pace

VOLUME_S, MOST = 0.01, 64


class Load:
    """Open-loop arrivals; whoever is refused comes again at the time it was told."""

    def __init__(self, load, *, requests=1000, within=None, gives_up=0.0, late=0.0, jitter=0.0):
        self.pace = Pace(VOLUME_S)
        self.queue = Admission(MOST, MOST * 100, self.pace)
        self.random = random.Random(0)
        self.within, self.gives_up, self.late, self.jitter = within, gives_up, late, jitter
        self.done, self.tries, self.latencies, self.named = [], {}, [], []
        self.most = self.retried = self.taken_at_once = 0
        self.free_s, self.busy, self.by_arrivals_end = 0.0, False, 0
        self.numbers = itertools.count()
        self.events = []
        last = 0.0
        for who in range(requests):
            last = who * VOLUME_S / load
            self.at(last, self.comes, who, "")
        self.last = last
        while self.events:
            now, _, happens, *what = heapq.heappop(self.events)
            happens(now, *what)

    def at(self, when, happens, *what):
        heapq.heappush(self.events, (when, next(self.numbers), happens, *what))

    def comes(self, now, who, ticket):
        self.tries[who] = self.tries.get(who, 0) + 1
        deadline = None if self.within is None else now + self.within
        again = self.tries[who] == 2
        self.retried += again
        try:
            place = self.queue.admit(now, 1, 100, deadline, ticket)
        except BusyError as busy:
            self.named.append(busy.retry_after_s)
            if self.random.random() >= self.gives_up:
                wait = busy.retry_after_s + self.random.uniform(0, self.late)
                self.at(now + wait, self.comes, who, busy.ticket)
            return
        self.taken_at_once += again
        place.who = who
        self.most = max(self.most, self.queue.volumes)
        self.begin(now)

    def begin(self, now):
        if self.busy or not self.queue.waiting:
            return
        assert not self.queue.too_late(now)
        place, self.busy = self.queue.waiting.pop(0), True
        self.queue.busy_until = now + VOLUME_S
        takes = VOLUME_S * (1 + self.random.uniform(-self.jitter, self.jitter))
        self.at(now + takes, self.ends, place)

    def ends(self, now, place):
        self.busy = False
        self.done.append(place.who)
        self.latencies.append(now - place.came)
        self.pace.took(1, now - max(self.free_s, place.came))
        self.free_s = self.queue.busy_until = now
        self.by_arrivals_end += now <= self.last
        self.begin(now)

    @property
    def goodput(self):
        return len(self.done) * VOLUME_S / self.free_s


@pytest.mark.parametrize("load", [2, 10])
@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"within": 0.5},
        {"within": 0.1},
        {"within": 20.0},
        {"late": 0.05},
        {"within": 0.3, "late": 0.02, "jitter": 0.5},
    ],
    ids=str,
)
def test_everybody_is_served_once_at_the_time_that_was_named(load, habits):
    run = Load(load, **habits)
    assert sorted(run.done) == list(range(1000))
    assert run.goodput >= 0.95
    assert run.taken_at_once >= 0.95 * run.retried
    assert run.retried > 500
    assert run.most <= MOST
    assert min(run.named) > 0
    if run.within is not None:
        assert sorted(run.latencies)[int(0.99 * len(run.latencies))] <= run.within


@pytest.mark.parametrize("within", [None, 0.3])
@pytest.mark.parametrize("gives_up", [0.5, 1.0])
def test_places_of_those_who_do_not_come_are_given_to_others(within, gives_up):
    run = Load(2, within=within, gives_up=gives_up)
    assert run.by_arrivals_end * VOLUME_S >= 0.95 * run.last
    assert run.taken_at_once >= 0.95 * run.retried


def test_the_earliest_deadline_comes_first_and_none_waits_for_ever():
    queue = Admission(8, 800, Pace(1.0))
    dues = [None, 30.0, 20.0, 90.0]
    places = [queue.admit(0.0, 1, 100, deadline) for deadline in dues]
    assert queue.waiting == [places[2], places[1], places[0], places[3]]


def test_a_request_is_refused_that_would_make_another_late():
    queue = Admission(8, 800, Pace(1.0))
    queue.busy_until = 0.5
    queue.admit(0.0, 2, 100, 4.0)
    queue.admit(0.0, 1, 100, 10.0)
    with pytest.raises(BusyError) as busy:
        queue.admit(0.0, 1, 100, 3.5)
    assert busy.value.code == "deadline"


def test_a_deadline_that_the_engine_cannot_meet_is_refused_at_once():
    queue = Admission(8, 800, Pace(1.0))
    for deadline in (0.9, 0.0, -5.0):
        with pytest.raises(BusyError) as busy:
            queue.admit(0.0, 1, 100, deadline)
        assert busy.value.code == "deadline"
        assert not busy.value.ticket


def test_an_idle_engine_shows_that_the_estimate_is_too_slow():
    pace = Pace(1.0)
    pace.took(1, 0.01)
    queue = Admission(8, 800, pace)
    assert pace.volume_s > 0.5
    queue.admit(0.0, 1, 100, 0.5)


@pytest.mark.parametrize(("volumes", "size"), [(9, 1), (1, 801)])
def test_what_never_fits_is_no_matter_of_time(volumes, size):
    with pytest.raises(UsageError):
        Admission(8, 800, Pace(1.0)).admit(0.0, volumes, size, None)


@pytest.mark.parametrize(("volumes", "size"), [(3, 1), (1, 300)])
def test_both_bounds_hold(volumes, size):
    queue = Admission(8, 800, Pace(1.0))
    for _ in range(2):
        queue.admit(0.0, volumes, size, None)
    with pytest.raises(BusyError) as busy:
        queue.admit(0.0, volumes, size, None)
    assert busy.value.code == "queue-full"


def full(now=0.0):
    queue = Admission(4, 400, Pace(1.0))
    for _ in range(4):
        queue.admit(now, 1, 100, None)
    return queue


def refused(queue, now, ticket="", volumes=1):
    with pytest.raises(BusyError) as busy:
        queue.admit(now, volumes, 100, None, ticket)
    return busy.value


def test_who_comes_too_early_keeps_the_ticket_and_the_time():
    queue = full()
    first = refused(queue, 0.0)
    again = refused(queue, 0.1, first.ticket)
    assert again.ticket == first.ticket
    assert again.retry_after_s == pytest.approx(first.retry_after_s - 0.1)


def test_a_ticket_takes_one_place_once():
    queue = full()
    ticket = refused(queue, 0.0)
    now = ticket.retry_after_s
    for _ in range(int(now) + 1):
        queue.waiting.pop(0)
    queue.admit(now, 1, 100, None, ticket.ticket)
    assert not len(queue.tickets)
    for name in (ticket.ticket, "of nobody"):
        refused(full(now), now, name)


def test_a_ticket_for_one_volume_does_not_take_two():
    queue = full()
    ticket = refused(queue, 0.0)
    now = ticket.retry_after_s
    queue.waiting.clear()
    queue.busy_until = now + 9
    queue.admit(now, 1, 100, None)
    assert refused(queue, now, ticket.ticket, volumes=2).code == "promised"
    queue.admit(now, 1, 100, None, ticket.ticket)


def test_promises_are_bounded_in_number_and_time():
    queue = full()
    told = [refused(queue, 0.0) for _ in range(5000)]
    kept = [busy for busy in told if busy.ticket]
    assert len(kept) == len(queue.tickets) <= 4096
    assert max(busy.retry_after_s for busy in kept) <= 600
    assert all(busy.retry_after_s > 0 for busy in told)
    assert not queue.tickets.outstanding(1000.0)
    assert not len(queue.tickets)
