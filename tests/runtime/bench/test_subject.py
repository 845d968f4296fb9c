from darnet_trt.runtime.bench.subject import Query, Trace


def test_what_was_kept_of_measured_queries():
    warm = [Query(0, 0, 0, 1), Query(1, 4, 4, 5)]
    measured = [Query(0, 2, 2, 3), Query(1, 6, 6, 7)]
    trace = Trace("a", warm_up=warm, queries=measured)
    assert trace.measured(["warm", "first", "warm again", "second"]) == ["first", "second"]
    assert trace.measured(["warm", "first", "warm again"]) == ["first"], "interrupted"


def test_a_query_takes_from_when_it_was_due():
    trace = Trace("a", queries=[Query(0, 0, 10**6, 3 * 10**6), Query(2, 0, 0, 5 * 10**6)])
    assert trace.latencies_ms == [3.0, 5.0]
    assert trace.median_ms == 4.0
    assert trace.turns == 2
    assert trace.turn_medians_ms().tolist() == [3.0, 5.0]
