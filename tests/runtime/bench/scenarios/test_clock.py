import threading
import time

import pytest

from darnet_trt.runtime.bench.scenarios.clock import MachineClock


def test_a_stream_is_not_asked_before_its_time():
    clock = MachineClock()
    due_ns = clock.now_ns() + 2_000_000
    resumed = []

    def stream():
        yield due_ns
        resumed.append(clock.now_ns())

    clock.run([stream()])
    clock.run([stream(), stream()])

    assert all(at >= due_ns for at in resumed)
    assert len(resumed) == 3


def test_a_stream_that_waits_long_ends_when_another_fails():
    waits, clock = threading.Event(), MachineClock()

    def patient():
        waits.set()
        yield clock.now_ns() + 3600 * 10**9

    def fails():
        waits.wait(30)
        yield clock.now_ns()
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        clock.run([patient(), fails()])
    assert time.monotonic() - begun < 600
