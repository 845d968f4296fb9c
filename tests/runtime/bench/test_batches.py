from types import SimpleNamespace

import pytest

from darnet_trt.bundle.reading import open_bundle
from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.batches import batches_of, check_memory
from darnet_trt.runtime.prediction.pipeline.memory import activation_bytes, input_bytes

GIB = 2**30


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


def test_a_batch_without_memory_is_refused(tiny):
    bundle = open_bundle(tiny)
    of_four = 5 * input_bytes(bundle) + 4 * activation_bytes(bundle)
    check_memory(bundle, {"a": runner(8)}, {"a": [1, 4]}, lambda: of_four)
    with pytest.raises(UsageError, match="batches of up to 4 take some") as refused:
        check_memory(bundle, {"a": runner(8)}, {"a": [1, 4]}, lambda: of_four - 1)
    assert "smaller batches" in str(refused.value)


@pytest.mark.parametrize("options", [{"backend": "openvino"}, {"device": "NVIDIA H200"}])
def test_some_engines_take_no_more_memory_for_a_batch_than_its_volumes(tiny, options):
    bundle = open_bundle(tiny)
    free = 64 * input_bytes(bundle) + activation_bytes(bundle)
    check_memory(bundle, {"a": runner(64, **options)}, {"a": [64]}, lambda: free)
    with pytest.raises(UsageError):
        check_memory(bundle, {"a": runner(64)}, {"a": [64]}, lambda: free)


def test_one_volume_is_never_refused(tiny):
    check_memory(open_bundle(tiny), {"a": runner(8)}, {"a": [1]}, lambda: 0)
