import subprocess
import sys
import threading

import pytest

from darnet_trt.runtime.prediction.prefetch import OneAhead


def test_elements_keep_their_order_and_errors_their_place():
    def items():
        yield from (1, 2, 3)
        raise ValueError("the fourth")

    ahead = OneAhead(items())
    assert [next(ahead), next(ahead), next(ahead)] == [1, 2, 3]
    for _ in range(2):
        with pytest.raises(ValueError, match="the fourth"):
            next(ahead)


def test_no_more_than_one_is_made_ahead():
    made: list[int] = []
    started = threading.Event()

    def items():
        for index in range(100):
            made.append(index)
            started.set()
            yield index

    ahead = OneAhead(items())
    assert started.wait(5)
    assert next(ahead) == 0
    assert next(ahead) == 1
    assert len(made) <= 3


def test_nothing_is_made_for_an_iterator_that_is_left():
    made: list[int] = []
    go_on = threading.Event()

    def items():
        for index in range(100):
            if index:
                go_on.wait(60)
            made.append(index)
            yield index

    ahead = OneAhead(items())
    assert next(ahead) == 0
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "prefetch":
            thread.join(60)
    assert made == [0, 1]
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_an_interrupt_does_not_wait_for_the_element_being_made():
    program = (
        "import threading\n"
        "from darnet_trt.runtime.prediction.prefetch import OneAhead\n"
        "def items():\n    yield 1\n    threading.Event().wait()\n"
        "next(OneAhead(items()))\n"
        "raise KeyboardInterrupt"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert b"KeyboardInterrupt" in done.stderr
