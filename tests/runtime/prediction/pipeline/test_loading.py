"""One process reads until the engine has to wait for it."""

from __future__ import annotations

from queue import Empty

import pytest

from darnet_trt.bundle.reading import open_bundle, pick_artifact
from darnet_trt.machine.pool import Pool
from darnet_trt.runtime.prediction.pipeline.loading import Loads
from darnet_trt.runtime.prediction.pipeline.memory import planned
from darnet_trt.runtime.prediction.pipeline.spool import Spool
from darnet_trt.scan.isolated import MODULE


@pytest.fixture
def grown(monkeypatch):
    """Record how many processes the pool is allowed, each time that it grows."""
    asked = []
    monkeypatch.setattr(Pool, "grow", lambda pool, most: asked.append(most))
    return asked


@pytest.fixture
def loads(tiny):
    bundle, pool = open_bundle(tiny), Pool(MODULE, 1)
    plan = planned(bundle, pick_artifact(bundle, None), 3, 4 * 10**9)
    yield Loads(pool, Spool(), bundle.manifest.preprocessing, plan, grows=True)
    pool.close()


def test_nobody_helps_while_the_engine_need_not_wait(loads, grown):
    loads.end()
    assert [loads.next(), loads.next()] == [None, None]
    assert grown == []


def test_others_help_where_the_engine_waits_again(loads, grown):
    loads._ready.put(KeyError("a first answer"))
    with pytest.raises(KeyError):
        loads.next()
    assert grown == []
    for _ in range(2):
        with pytest.raises(Empty):
            loads.next(0.01)
    assert grown == [3]


def test_others_help_where_the_first_study_takes_long(loads, grown):
    loads._patience_s = 0.01
    with pytest.raises(Empty):
        loads.next(0.02)
    assert grown == [3]
