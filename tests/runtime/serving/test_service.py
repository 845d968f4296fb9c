"""The service as a whole, in this process: start, self-test, reload, an engine that fails, end."""

import http.client
import json
import threading
import time
from contextlib import contextmanager
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import BundleError, BusyError, DarnetError, DeviceError, UsageError
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.serving import service as module
from darnet_trt.runtime.serving.http.tensors import NAME
from darnet_trt.runtime.serving.service import Service
from darnet_trt.runtime.serving.settings import HttpSettings, Settings
from tests.runtime.prediction.pipeline.studies import write_study
from tests.tiny_bundle import SIZE, write_bundle

VOLUME = np.zeros((1, 1, *SIZE), np.float32)
INFER = f"/v2/models/{NAME}/infer"
HEADERS = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}


def settings_of(tmp_path, **more):
    if not (tmp_path / "bundle").exists():
        write_bundle(tmp_path / "bundle")
    return Settings(
        tmp_path / "bundle",
        tmp_path / "state",
        **{"http": HttpSettings(port=0), "least_free": 0, "workers": 1, **more},
    )


@contextmanager
def service_of(settings):
    said = []
    service = Service(settings, said.append)
    service.said = said
    try:
        yield service
    finally:
        service.close()


@contextmanager
def started(tmp_path, **more):
    with service_of(settings_of(tmp_path, **more)) as service:
        service.start()
        yield service


def ask(service, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", service.http.port, timeout=60)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def first_logit(service):
    status, body = ask(service, INFER, VOLUME.tobytes(), HEADERS)
    assert status == 200, body
    outputs = json.loads(body)["outputs"] if body[:1] == b"{" and body[-1:] == b"}" else None
    if outputs is None or "data" not in outputs[0]:
        size = body.index(b"}]}") + 3
        return float(np.frombuffer(body[size : size + 4], np.float32)[0])
    return outputs[0]["data"][0]


def until(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def replace_bundle(tmp_path, **more):
    (tmp_path / "bundle").rename(tmp_path / f"old-{time.monotonic_ns()}")
    write_bundle(tmp_path / "bundle", **more)


def test_it_is_alive_and_not_ready_until_its_engine_has_passed_the_self_test(tmp_path, monkeypatch):
    may_pass, test = threading.Event(), module.self_test
    monkeypatch.setattr(module, "self_test", lambda *of: may_pass.wait(60) and test(*of))
    with service_of(settings_of(tmp_path)) as service:
        starting = threading.Thread(target=service.start)
        starting.start()
        until(lambda: service.http is not None and service.http.port)
        assert ask(service, "/v2/health/live")[0] == 200
        for path in ("/v2/health/ready", f"/v2/models/{NAME}/ready"):
            assert ask(service, path)[0] == 503
        assert ask(service, INFER, VOLUME.tobytes(), HEADERS)[0] == 503
        assert not service.ready
        may_pass.set()
        starting.join()
        assert ask(service, "/v2/health/ready")[0] == 200
        assert first_logit(service) == pytest.approx(0.5)


def test_it_does_not_start_with_an_engine_that_fails_the_self_test(tmp_path, monkeypatch):
    def fails(*of):
        raise BundleError("the engine failed its self-test")

    monkeypatch.setattr(module, "self_test", fails)
    with service_of(settings_of(tmp_path)) as service, pytest.raises(BundleError):
        service.start()
    with started_again(tmp_path, monkeypatch) as service:
        assert service.ready


def started_again(tmp_path, monkeypatch):
    monkeypatch.undo()
    return started(tmp_path)


def test_one_process_uses_a_state_folder_at_a_time(tmp_path):
    with (
        started(tmp_path),
        service_of(settings_of(tmp_path)) as second,
        pytest.raises(UsageError) as error,
    ):
        second.start()
    assert str(tmp_path / "state") in str(error.value)


def test_a_reload_drops_no_request(tmp_path):
    with started(tmp_path) as service:
        statuses, values, ends = [], set(), threading.Event()

        def client():
            while not ends.is_set():
                values.add(round(first_logit(service), 3))
                statuses.append(200)

        clients = [threading.Thread(target=client) for _ in range(4)]
        for each in clients:
            each.start()
        until(lambda: len(statuses) > 20)
        for bias in (1.5, 2.5):
            replace_bundle(tmp_path, bias=bias)
            service.reload()
            before = len(statuses)
            until(lambda before=before: len(statuses) > before + 20)
        ends.set()
        for each in clients:
            each.join()
        assert values == {0.5, 1.5, 2.5}
        assert first_logit(service) == pytest.approx(2.5)
        text = service.metrics.text().decode()
        assert 'darnet_reloads_total{outcome="done"} 2.0' in text


@pytest.mark.parametrize("how", ["gone", "damaged", "self-test", "library"])
def test_the_old_bundle_stays_where_the_new_one_cannot_serve(tmp_path, monkeypatch, how):
    with started(tmp_path) as service:
        if how == "gone":
            (tmp_path / "bundle").rename(tmp_path / "elsewhere")
        else:
            replace_bundle(tmp_path, bias=9.0)
        if how == "damaged":
            (tmp_path / "bundle" / "model.onnx").write_bytes(b"nothing")
        if how == "self-test":

            def fails(*of):
                raise BundleError("the engine failed its self-test")

            monkeypatch.setattr(module, "self_test", fails)
        if how == "library":
            monkeypatch.setattr(module, "load_engine", Mock(side_effect=RuntimeError("no kernel")))
        with pytest.raises(DarnetError):
            service.reload()
        assert service.ready
        assert first_logit(service) == pytest.approx(0.5)
        assert 'outcome="failed"} 1.0' in service.metrics.text().decode()


def test_two_reloads_at_once_are_one(tmp_path, monkeypatch):
    with started(tmp_path) as service:
        may_pass, test, tests = threading.Event(), module.self_test, []

        def slow(*of):
            tests.append(of)
            may_pass.wait(60)
            return test(*of)

        monkeypatch.setattr(module, "self_test", slow)
        first = threading.Thread(target=service.reload)
        first.start()
        until(lambda: tests)
        with pytest.raises(BusyError):
            service.reload()
        may_pass.set()
        first.join()
        assert len(tests) == 1


class Failing:
    """An engine that fails after the self-test."""

    def __init__(self, runner, good):
        self._runner, self._good = runner, good
        self.backend, self.precision, self.classes = (
            runner.backend,
            runner.precision,
            runner.classes,
        )
        self.batch, self.provenance = runner.batch, runner.provenance

    def infer(self, batch):
        if not self._good:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self._good -= 1
        return self._runner.infer(batch)

    def close(self):
        self._runner.close()


def test_an_engine_that_fails_is_loaded_again_and_what_it_failed_on_is_answered(
    tmp_path, monkeypatch
):
    loads = []

    def load(*of, **more):
        loads.append(of)
        if len(loads) == 2:
            raise DeviceError("the GPU is gone")
        engine = load_engine(*of, **more)
        good = 3 if len(loads) == 1 else 10**6
        return Engine(engine.artifact, Failing(engine.runner, good))

    monkeypatch.setattr(module, "load_engine", load)
    with started(tmp_path) as service:
        answers = []
        client = threading.Thread(target=lambda: answers.append(first_logit(service)))
        client.start()
        until(lambda: not service.ready)
        assert ask(service, "/v2/health/ready")[0] == 503
        client.join()
        assert answers == [pytest.approx(0.5)]
        assert len(loads) == 3
        until(lambda: service.ready)
        assert first_logit(service) == pytest.approx(0.5)
        assert any("illegal memory access" in line for line in service.said)


def test_a_reload_replaces_an_engine_that_cannot_be_loaded_again(tmp_path, monkeypatch):
    loads = []

    def load(*of, **more):
        loads.append(of)
        if len(loads) == 2:
            raise DeviceError("the GPU is gone")
        engine = load_engine(*of, **more)
        return Engine(engine.artifact, Failing(engine.runner, 3 if len(loads) == 1 else 10**6))

    monkeypatch.setattr(module, "load_engine", load)
    with started(tmp_path) as service:
        statuses = []
        client = threading.Thread(
            target=lambda: statuses.append(ask(service, INFER, VOLUME.tobytes(), HEADERS)[0])
        )
        client.start()
        until(lambda: "the GPU is gone" in service.why_not_ready)
        replace_bundle(tmp_path, bias=4.5)
        service.reload()
        client.join()
        assert statuses == [429]
        assert service.ready
        assert first_logit(service) == pytest.approx(4.5)


def test_an_engine_that_was_loaded_again_too_late_is_closed(tmp_path, monkeypatch):
    loads, may_pass = [], threading.Event()

    def load(*of, **more):
        number, engine = len(loads) + 1, load_engine(*of, **more)
        loads.append(of)  # now its bundle may go
        if number == 2:
            may_pass.wait(60)
        return Engine(engine.artifact, Failing(engine.runner, 3 if number == 1 else 10**6))

    closed = []
    monkeypatch.setattr(Failing, "close", lambda engine: closed.append(engine))
    monkeypatch.setattr(module, "load_engine", load)
    with started(tmp_path) as service:
        ask_once = partial(ask, service, INFER, VOLUME.tobytes(), HEADERS)
        client = threading.Thread(target=ask_once)
        client.start()
        until(lambda: len(loads) == 2)
        replace_bundle(tmp_path, bias=4.5)
        service.reload()
        may_pass.set()
        client.join()
        until(lambda: len(closed) == 2)  # the one that failed, and the one that came too late
        assert service.ready
        assert first_logit(service) == pytest.approx(4.5)


def test_an_engine_that_fails_during_a_reload_does_not_hold_it_up(
    tmp_path, monkeypatch, phantom_series
):
    loads, may_fail = [], threading.Event()

    class Held(Failing):
        def infer(self, batch):
            if not self._good:
                may_fail.wait(60)
            return super().infer(batch)

    def load(*of, **more):
        loads.append(of)
        engine = load_engine(*of, **more)
        return Engine(engine.artifact, Held(engine.runner, 3 if len(loads) == 1 else 10**6))

    monkeypatch.setattr(module, "load_engine", load)
    with started(tmp_path, workers=1, shortest_quiet_s=0.1, quiet_s=0.5) as service:
        scan = write_study(phantom_series, tmp_path / "scan", 1)
        received = [service.store.receive(f.read_bytes(), peer="CT1") for f in scan.iterdir()]
        study = received[0].study
        until(lambda: service.studies.figures().running == 1 and service.queue._batch)
        replace_bundle(tmp_path, bias=4.5)
        reload = threading.Thread(target=service.reload)
        reload.start()
        until(lambda: service._next is not None)
        may_fail.set()
        reload.join(60)
        assert not reload.is_alive()
        until(lambda: service.studies.view(study).state == "done")
        (result,) = service.studies.view(study).results
        assert result.bundle_sha256 == open_bundle(service.settings.bundle).sha256
        assert service.ready


def test_it_drains_what_it_took_and_answers_it(tmp_path, monkeypatch):
    with started(tmp_path) as service:
        gate, runner = threading.Event(), service._lane.runner
        infer = runner.infer
        monkeypatch.setattr(runner, "infer", lambda batch: gate.wait(60) and infer(batch))
        answers = []
        clients = [
            threading.Thread(target=lambda: answers.append(first_logit(service))) for _ in range(3)
        ]
        for each in clients:
            each.start()
        until(lambda: len(service.queue._jobs) == 3)
        drained = []
        drain = threading.Thread(
            target=lambda: drained.append(service.drain(time.monotonic() + 60))
        )
        drain.start()
        until(lambda: not service.ready)
        gate.set()
        drain.join()
        for each in clients:
            each.join()
        assert drained == [True]
        assert answers == [pytest.approx(0.5)] * 3
        with pytest.raises(ConnectionRefusedError):
            ask(service, "/v2/health/live")


def test_metrics_hold_figures_and_can_be_read_while_it_starts(tmp_path, monkeypatch):
    with service_of(settings_of(tmp_path)) as service:
        may_pass = threading.Event()
        test = module.self_test
        monkeypatch.setattr(module, "self_test", lambda *of: may_pass.wait(60) and test(*of))
        starting = threading.Thread(target=service.start)
        starting.start()
        until(lambda: service.http is not None and service.http.port)
        assert "darnet_ready 0.0" in service.metrics.text().decode()
        may_pass.set()
        starting.join()
        first_logit(service)
        text = service.metrics.text().decode()
        assert "darnet_ready 1.0" in text
        assert 'darnet_engine_info{artifact="openvino-fp32"' in text
        assert "darnet_batch_volumes_count 1.0" in text
        assert 'darnet_studies{state="done"} 0.0' in text
