import threading

import pytest

from darnet_trt.runtime.bench.scenarios.multi_stream import MultiStream
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns


def test_all_streams_are_asked_at_once_and_the_last_ends_the_query():
    together, answered = threading.Barrier(3, timeout=30), []

    def stream() -> None:
        together.wait()
        answered.append(threading.get_ident())

    with MultiStream([stream] * 3) as query:
        for asked in (1, 2):
            query()
            assert len(answered) == 3 * asked


def test_a_query_that_fails_waits_for_the_other_streams():
    begun, answered = threading.Event(), []

    def fails() -> None:
        begun.wait(30)
        raise ValueError("broken")

    def works() -> None:
        begun.set()
        answered.append(1)

    with MultiStream([fails, works]) as query, pytest.raises(ValueError, match="broken"):
        query()

    assert answered == [1]


def test_it_is_measured_in_turns():
    traces: dict[str, Trace] = {}
    with MultiStream([lambda: None] * 2) as query:
        in_turns([Subject("two at once", query, scans=2)], traces, rounds=1)

    assert traces["two at once"].queries
