"""A result says how long each stage took: of one scan they add up to the way to its result."""

import time

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.runtime.engines.loading import load_engine
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.runtime.prediction.predict import predict
from tests.runtime.prediction.pipeline.studies import write_study

LONG_S = 1e6


def test_no_time_counts_twice(tiny, phantom_series):
    bundle = open_bundle(tiny)
    engine = load_engine(bundle)
    for _ in range(2):  # the second finds a process that has started
        start = time.perf_counter()
        run = predict(bundle, phantom_series, engine=engine)
        total_ms = next(run).stages_ms.total
        passed_ms = (time.perf_counter() - start) * 1000
        assert [*run] == []
        assert 0 < total_ms < 1.02 * passed_ms
    engine.runner.close()


def test_the_work_of_the_search_counts_in_the_scan_that_it_was_for(
    tiny, phantom_series, tmp_path, monkeypatch
):
    for number in (1, 22, 3):
        write_study(phantom_series, tmp_path / f"{number}", number)
    put, worked = Spool.put, 0.0

    def at_length(spool, content):
        nonlocal worked
        worked += LONG_S * (b"2.25.22" in content)
        return put(spool, content)

    monkeypatch.setattr(Spool, "put", at_length)
    monkeypatch.setattr(time, "thread_time", lambda: worked)
    found = list(predict(open_bundle(tiny), tmp_path, workers=1))
    assert [r.key for r in found if r.stages_ms.find >= LONG_S * 1000] == ["study:2.25.22"]


def test_handing_a_scan_to_a_process_counts_in_find(tiny, phantom_series, monkeypatch):
    take = Spool.take
    monkeypatch.setattr(Spool, "take", lambda *given: (time.sleep(0.2), take(*given))[1])
    (result,) = predict(open_bundle(tiny), phantom_series)
    assert result.stages_ms.find >= 200
