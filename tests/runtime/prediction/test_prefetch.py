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
    ahead.close()


def test_an_empty_iterator_ends():
    assert list(OneAhead(iter(()))) == []
