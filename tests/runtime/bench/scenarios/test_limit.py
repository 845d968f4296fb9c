import numpy as np
import pytest

from darnet_trt.runtime.bench.scenarios.limit import ERROR, Limit, judge


def independent(count: int, over: int):
    latencies = np.full(count, 10.0) + np.random.default_rng(0).random(count)
    latencies[np.random.default_rng(1).choice(count, over, replace=False)] = 100.0
    return latencies


@pytest.mark.parametrize(("queries", "over"), [(459, 0), (662, 1)])
def test_a_limit_is_met_for_certain_from_the_queries_that_mlperf_asks(queries, over):
    """MLPerf's early stopping for p99: 459 queries with none over the limit, 662 with one."""
    limit = Limit(latency_ms=50)

    assert judge(independent(queries, over), limit).sure
    before = judge(independent(queries - 1, over), limit)
    assert before.met
    assert not before.sure
    assert before.needed == 459


def test_a_limit_is_missed_for_certain_when_too_many_exceed_it():
    few, many = (judge(independent(500, over), Limit(latency_ms=50)) for over in (6, 20))

    assert (few.met, few.sure) == (False, False)
    assert (many.met, many.sure) == (False, True)


def test_an_answer_at_the_edge_is_seldom_called_sure():
    rng = np.random.default_rng(0)
    sure = [judge(rng.random(1000), Limit(latency_ms=0.9, percent=90)).sure for _ in range(1000)]

    assert np.mean(sure) < 2 * ERROR + 0.01


def test_queries_that_depend_on_each_other_count_as_fewer():
    rng = np.random.default_rng(0)
    blocks = np.repeat(rng.random(100), 10) + 0.001 * rng.random(1000)

    alone = judge(rng.permutation(blocks), Limit(latency_ms=2.0))
    together = judge(blocks, Limit(latency_ms=2.0))
    assert alone.sure
    assert not together.sure
    assert together.needed > 3 * alone.needed


def test_one_query_is_never_enough():
    one = judge([1.0], Limit(latency_ms=2.0))

    assert (one.queries, one.over, one.met, one.sure) == (1, 0, True, False)
