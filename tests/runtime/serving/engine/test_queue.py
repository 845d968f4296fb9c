"""The queue with its thread, before engines that sleep."""

import threading
import time
from concurrent.futures import CancelledError
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from darnet_trt.errors import BusyError, DeviceError, UsageError
from darnet_trt.runtime.serving.engine.job import Lane
from darnet_trt.runtime.serving.engine.proxy import Proxy
from darnet_trt.runtime.serving.engine.queue import EngineQueue
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.telemetry.metrics import Metrics
from tests.runtime.serving.engine.stub_engine import Sleeping, volumes


def lane_of(engine):
    return Lane(engine, (2, 2, 2))


def queue_of(engine, *, most=8, size=1 << 20, volume_s=0.01, **more):
    settings = Settings(Path("bundle"), Path("state"), volumes=most, volume_bytes=size)
    return closing(EngineQueue(lane_of(engine), settings, Metrics(), volume_s=volume_s, **more))


def held(engine, queue):
    """Begin with a volume that the engine does not let go of."""
    engine.gate.clear()
    first = queue.submit(volumes(0))
    until(lambda: engine_has_begun(queue))
    return first


def engine_has_begun(queue):
    return queue._batch


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def firsts(answers):
    return [answer.result(60).logits[:, 0].tolist() for answer in answers]


def test_each_gets_its_own_answer():
    with queue_of(Sleeping()) as queue:
        answers = [queue.submit(volumes(*range(n, n + n % 3 + 1))) for n in range(4)]
        assert firsts(answers) == [[0], [1, 2], [2, 3, 4], [3]]
        assert answers[2].result().cam.shape == (3, 3, 1, 1, 1)


def test_a_gpu_gets_batches_of_several_requests_and_a_cpu_single_volumes():
    for most, expected in ((4, [[0], [1, 2, 3, 4], [5]]), (1, [[n] for n in range(6)])):
        engine = Sleeping(batch=most)
        with queue_of(engine) as queue:
            first = held(engine, queue)
            answers = [queue.submit(volumes(1, 2)), queue.submit(volumes(3, 4, 5))]
            engine.gate.set()
            assert firsts([first, *answers]) == [[0], [1, 2], [3, 4, 5]]
        assert engine.batches == expected


def test_the_earliest_deadline_runs_first():
    engine = Sleeping()
    with queue_of(engine) as queue:
        first = held(engine, queue)
        now = time.monotonic()
        late, none, early = (
            queue.submit(volumes(n), deadline=at)
            for n, at in ((1, now + 50), (2, None), (3, now + 40))
        )
        engine.gate.set()
        firsts([first, late, none, early])
    assert engine.batches == [[0], [3], [1], [2]]


def test_it_is_full_at_its_bound_and_a_cancelled_request_frees_its_place():
    engine = Sleeping()
    with queue_of(engine, most=3) as queue:
        first = held(engine, queue)
        answers = [queue.submit(volumes(n)) for n in (1, 2, 3)]
        with pytest.raises(BusyError) as busy:
            queue.submit(volumes(4))
        assert busy.value.code == "queue-full"
        assert answers[1].cancel()
        fourth = queue.submit(volumes(4), ticket=busy.value.ticket)
        engine.gate.set()
        firsts([first, answers[0], answers[2], fourth])
        with pytest.raises(CancelledError):
            answers[1].result()
    assert engine.batches == [[0], [1], [3], [4]]


def test_a_cancelled_request_of_several_volumes_ends_between_them():
    engine = Sleeping()
    with queue_of(engine) as queue:
        engine.gate.clear()
        many = queue.submit(volumes(1, 2, 3))
        until(lambda: engine_has_begun(queue))
        assert many.cancel()
        engine.gate.set()
        assert firsts([queue.submit(volumes(9))]) == [[9]]
    assert engine.batches == [[1], [9]]


def test_what_cannot_be_in_time_any_more_is_refused_before_it_runs():
    engine = Sleeping()
    with queue_of(engine) as queue:
        first = held(engine, queue)
        late = queue.submit(volumes(1), deadline=time.monotonic() + 1)
        time.sleep(1.05)
        engine.gate.set()
        with pytest.raises(BusyError) as busy:
            late.result(60)
        assert busy.value.code == "deadline"
        firsts([first])
    assert engine.batches == [[0]]


def test_studies_and_requests_take_turns_and_studies_are_never_refused():
    engine = Sleeping()
    with queue_of(engine, most=3) as queue:
        proxy = Proxy(queue, queue.lane)
        first = held(engine, queue)
        answers = [queue.submit(volumes(n)) for n in (1, 2, 3)]
        got = []
        studies = [
            threading.Thread(target=lambda n=n: got.append(proxy.infer(volumes(n)).logits[0, 0]))
            for n in (10, 11)
        ]
        for n, study in enumerate(studies):
            study.start()
            until(lambda n=n: len(queue._apart) == n + 1)
        engine.gate.set()
        for study in studies:
            study.join()
        firsts([first, *answers])
    assert sorted(got) == [10, 11]
    assert engine.batches == [[0], [10], [1], [11], [2], [3]]


def test_another_engine_takes_over_and_what_waits_keeps_its_own():
    old, new = Sleeping(batch=4), Sleeping(batch=4, offset=100)
    with queue_of(old) as queue:
        first, before = held(old, queue), queue.lane
        waits, study = queue.submit(volumes(1)), queue.apart(before, volumes(2))
        queue.change(lane_of(new), 0.01)
        later = queue.submit(volumes(3))
        left = threading.Thread(target=lambda: (queue.left(before), old.close()))
        left.start()
        time.sleep(0.05)
        assert left.is_alive()
        old.gate.set()
        assert firsts([first, waits, study, later]) == [[0], [1], [2], [103]]
        left.join(60)
        assert old.closed
        assert firsts([queue.submit(volumes(4))]) == [[104]]
    assert [len(batch) for batch in old.batches] == [1, 1, 1]


def test_volumes_of_another_size_are_not_given_to_the_engine():
    with queue_of(Sleeping()) as queue, pytest.raises(UsageError):
        queue.submit(np.zeros((1, 1, 2, 2, 3), np.float32))


def fails_once():
    failed = threading.Event()
    return failed, lambda lane, error: failed.set()


def test_what_an_engine_failed_on_waits_until_it_is_loaded_again():
    failed, note = fails_once()
    with queue_of(Sleeping(fails=1), failed=note) as queue:
        answer, study = queue.submit(volumes(1, 2)), queue.apart(queue.lane, volumes(3))
        assert failed.wait(60)
        with pytest.raises(BusyError) as busy:
            queue.submit(volumes(4))
        assert busy.value.code == "engine-failed"
        queue.mend(queue.lane, Sleeping())
        assert firsts([answer, study]) == [[1, 2], [3]]


def test_what_an_engine_failed_on_twice_is_given_up():
    failed, note = fails_once()
    with queue_of(Sleeping(fails=1), failed=note) as queue:
        answer = queue.submit(volumes(1))
        assert failed.wait(60)
        failed.clear()
        queue.mend(queue.lane, Sleeping(fails=1))
        with pytest.raises(RuntimeError):
            answer.result(60)
        assert failed.wait(60)
        queue.mend(queue.lane, Sleeping())
        assert firsts([queue.submit(volumes(2)), queue.apart(queue.lane, volumes(3))]) == [[2], [3]]


def test_another_engine_works_while_one_has_failed():
    failed, note = fails_once()
    with queue_of(Sleeping(fails=1), failed=note) as queue:
        before, answer = queue.lane, queue.submit(volumes(1))
        assert failed.wait(60)
        queue.change(lane_of(Sleeping()), 0.01)
        assert firsts([queue.submit(volumes(2))]) == [[2]]
        assert not answer.done()
        queue.mend(before, Sleeping())
        assert firsts([answer]) == [[1]]


def test_what_waits_for_an_engine_that_does_not_come_back_is_given_up():
    failed, note = fails_once()
    with queue_of(Sleeping(fails=1), failed=note) as queue:
        before = queue.lane
        answers = [queue.submit(volumes(1)), queue.apart(before, volumes(2))]
        assert failed.wait(60)
        queue.change(lane_of(Sleeping()), 0.01)
        queue.give_up(before, DeviceError("gone"))
        for answer in answers:
            with pytest.raises(DeviceError):
                answer.result(60)
        queue.left(before)
        with pytest.raises(DeviceError):
            queue.apart(before, volumes(3)).result(60)
        queue.mend(before, Sleeping())
        assert firsts([queue.apart(before, volumes(4))]) == [[4]]


def test_what_is_given_up_while_it_runs_is_answered_once():
    engine = Sleeping()
    with queue_of(engine) as queue:
        running = held(engine, queue)
        before = queue.lane
        apart = queue.apart(before, volumes(1))
        queue.give_up(before, DeviceError("gone"))
        for answer in (running, apart):
            with pytest.raises(DeviceError):
                answer.result(60)
        engine.gate.set()
        queue.left(before)
        queue.mend(before, engine)
        assert firsts([queue.submit(volumes(2)), queue.apart(before, volumes(3))]) == [[2], [3]]


def test_deadlines_pass_while_there_is_no_engine():
    with queue_of(Sleeping(fails=1)) as queue:
        answer = queue.submit(volumes(1), deadline=time.monotonic() + 1)
        with pytest.raises(BusyError):
            answer.result(60)


def test_it_drains_what_it_took_and_takes_nothing_more():
    engine = Sleeping(0.01)
    with queue_of(engine) as queue:
        answers = [queue.submit(volumes(n)) for n in range(5)]
        assert queue.drain(time.monotonic() + 60)
        assert firsts(answers) == [[n] for n in range(5)]
        with pytest.raises(BusyError):
            queue.submit(volumes(6))
        assert queue.apart(queue.lane, volumes(7)).result(60).logits[0, 0] == 7


def test_a_drain_does_not_wait_for_ever_and_close_refuses_the_rest():
    engine = Sleeping()
    with queue_of(engine) as queue:
        first = held(engine, queue)
        second = queue.submit(volumes(1))
        assert not queue.drain(time.monotonic() + 0.05)
        closing_ = threading.Thread(target=queue.close)
        closing_.start()
        until(lambda: queue._closed)
        engine.gate.set()
        closing_.join()
        assert firsts([first]) == [[0]]
        with pytest.raises(BusyError):
            second.result(60)


def test_many_threads_at_once_lose_nothing_and_get_nothing_twice():
    engine = Sleeping(0.0005)
    answers, refusals = {}, []

    def client(own):
        for number in range(20):
            value, ticket = own * 100 + number, ""
            while True:
                try:
                    answer = queue.submit(volumes(value), ticket=ticket).result(60)
                except BusyError as busy:
                    ticket = busy.ticket
                    refusals.append(busy)
                    time.sleep(busy.retry_after_s)
                    continue
                assert value not in answers
                answers[value] = float(answer.logits[0, 0])
                break

    with queue_of(engine, most=8, volume_s=0.0005) as queue:
        clients = [threading.Thread(target=client, args=(own,)) for own in range(32)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    assert len(answers) == 640
    assert all(value == got for value, got in answers.items())
    assert len(engine.batches) == 640
    assert refusals
    assert np.isfinite([busy.retry_after_s for busy in refusals]).all()
