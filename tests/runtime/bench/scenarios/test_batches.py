from types import SimpleNamespace

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.scenarios import batches
from darnet_trt.runtime.bench.scenarios.batches import batches_of, check_memory
from darnet_trt.runtime.prediction.pipeline.memory import activation_bytes, input_bytes


def runner(most, backend="onnxruntime", device="CPUExecutionProvider"):
    return SimpleNamespace(batch=(1, most), backend=backend, provenance={"device": device})


def test_each_engine_gets_the_batches_it_takes():
    said = []
    taken = batches_of({"a": runner(4), "b": runner(1)}, [1, 2, 4], said.append)
    assert taken == {"a": [1, 2, 4], "b": [1]}
    assert said == ["b takes batches of 1 to 1: left out 2, 4"]


def test_the_reference_must_take_one():
    with pytest.raises(UsageError, match="a takes batches of 1 to 1"):
        batches_of({"a": runner(1), "b": runner(8)}, [2], print)


@pytest.fixture
def with_free(tiny, monkeypatch):
    """Check batches of one engine with so many bytes left."""
    bundle = open_bundle(tiny)

    def check(engine, own, volumes, activations, less=0):
        free = volumes * input_bytes(bundle) + activations * activation_bytes(bundle) - less
        monkeypatch.setattr(batches, "free_memory", lambda: free)
        check_memory(bundle, {"a": engine}, {"a": own})

    return check


def test_a_batch_without_memory_is_refused(with_free):
    with_free(runner(8), [1, 4], volumes=5, activations=4)
    with pytest.raises(UsageError, match="batches of up to 4 take some") as refused:
        with_free(runner(8), [1, 4], volumes=5, activations=4, less=1)
    assert "smaller batches" in str(refused.value)


@pytest.mark.parametrize("options", [{"backend": "openvino"}, {"device": "NVIDIA H200"}])
def test_some_engines_take_no_more_memory_for_a_batch_than_its_volumes(with_free, options):
    with_free(runner(64, **options), [64], volumes=64, activations=1)
    with pytest.raises(UsageError):
        with_free(runner(64), [64], volumes=64, activations=1)


def test_one_volume_is_never_refused(with_free):
    with_free(runner(8), [1], volumes=0, activations=0)
