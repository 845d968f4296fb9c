"""The GPU's memory, streams, events and graphs as the runner uses them; the same on the host.

Needs no TensorRT: `python -m benchmarks.gpu.run --only memory` runs it with cuda-python and pycuda,
whichever is installed.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from darnet_trt.errors import DeviceError, MissingPackageError
from darnet_trt.runtime.engines.cuda.cuda_python import CudaPythonDevice
from darnet_trt.runtime.engines.cuda.graph import CudaGraph
from darnet_trt.runtime.engines.cuda.pycuda import PyCudaDevice
from darnet_trt.runtime.engines.tensorrt.gpu import CudaDevice
from tests.runtime.engines.cuda import host_pycuda
from tests.runtime.engines.host_gpu import HostDevice, HostGraph

FLOATS = 4 << 20  # 16 MiB: a copy takes long enough for one that does not wait to overtake it
ON_THE_HOST = ["host", "pycuda on the host"]
ON_A_GPU = [pytest.param(name, marks=pytest.mark.gpu) for name in ("cuda-python", "pycuda")]


@pytest.fixture(autouse=True)
def _pycuda_on_the_host(request, monkeypatch):
    if "pycuda on the host" in request.node.name:
        for name, module in host_pycuda.as_package().items():
            monkeypatch.setitem(sys.modules, name, module)


def opened(name: str) -> CudaDevice:
    """Open the host, or the GPU through a package; skip if that is not possible."""
    if name == "host":
        return HostDevice(late=True)
    try:
        return PyCudaDevice() if "pycuda" in name else CudaPythonDevice(extra="rtx")
    except (DeviceError, MissingPackageError) as error:
        pytest.skip(error.what)


def free_memory(device):
    """Return the free bytes of the GPU's memory."""
    with device.current():
        if isinstance(device, PyCudaDevice):
            from pycuda import driver

            return driver.mem_get_info()[0]
        from cuda.bindings import runtime

        error, free, _ = runtime.cudaMemGetInfo()
        assert error == runtime.cudaError_t.cudaSuccess
        return free


@pytest.fixture(params=[*ON_THE_HOST, *ON_A_GPU])
def device(request):
    device = opened(request.param)
    yield device
    device.close()


def captured(device, stream, enqueue):
    if device.name == "Host":
        return HostGraph(device.handle(stream), enqueue)
    pytest.importorskip("cuda.bindings", reason="pycuda has no graphs; cuda-python has them")
    return CudaGraph(device.handle(stream), enqueue)


def numbers(count, seed):
    return np.random.default_rng(seed).random(count, np.float32)


def test_what_goes_up_comes_back(device):
    with device.current():
        sent, back = device.pinned((3, 1000)), device.pinned((3, 1000))
        first, second = device.allocate(sent.nbytes), device.allocate(sent.nbytes)
        stream, done = device.stream(), device.event()
        sent[...] = numbers(3000, 0).reshape(3, 1000)
        back[...] = 0
        device.upload(first, sent, stream)
        device.move(second, first, sent.nbytes, stream)
        device.download(back, second, stream)
        device.record(done, stream)
        device.synchronize(done)
    np.testing.assert_array_equal(back, sent)


def test_parts_of_buffers(device):
    with device.current():
        sent, back = device.pinned((4, 10)), device.pinned((4, 10))
        memory, stream = device.allocate(sent.nbytes), device.stream()
        sent[...] = numbers(40, 0).reshape(4, 10)
        back[...] = -1
        device.upload(memory, sent[2:], stream)
        device.move(memory + 80, memory + 40, 40, stream)
        device.download(back[:1], memory + 80, stream)
        device.finish(stream)
    np.testing.assert_array_equal(back[0], sent[3])
    assert (back[1:] == -1).all()


def test_a_stream_waits_for_an_event_of_another(device):
    with device.current():
        sent = [device.pinned((FLOATS,)) for _ in range(2)]
        back = [device.pinned((FLOATS,)) for _ in range(2)]
        size = sent[0].nbytes
        staging, result = ([device.allocate(size) for _ in range(2)] for _ in range(2))
        copies, compute = device.stream(), device.stream()
        uploaded, done = ([device.event() for _ in range(2)] for _ in range(2))
        for turn in range(6):
            slot = turn % 2
            if turn >= 2:
                device.synchronize(done[slot])
                np.testing.assert_array_equal(back[slot][::4097], numbers(FLOATS, turn - 2)[::4097])
            sent[slot][...] = numbers(FLOATS, turn)
            device.upload(staging[slot], sent[slot], copies)
            device.record(uploaded[slot], copies)
            device.wait(compute, uploaded[slot])
            device.move(result[slot], staging[slot], size, compute)
            device.download(back[slot], result[slot], compute)
            device.record(done[slot], compute)
        device.finish(compute)
    np.testing.assert_array_equal(back[1], numbers(FLOATS, 5))


def test_a_captured_graph_runs_when_it_is_launched(device):
    with device.current():
        sent, back = device.pinned((FLOATS,)), device.pinned((FLOATS,))
        first, second = device.allocate(sent.nbytes), device.allocate(sent.nbytes)
        stream = device.stream()

        def run(seed):
            sent[...] = numbers(FLOATS, seed)
            device.upload(first, sent, stream)

        def enqueue():
            device.move(second, first, sent.nbytes, stream)
            device.download(back, second, stream)
            return True

        back[...] = -1
        run(1)
        device.finish(stream)
        graph = captured(device, stream, enqueue)
        device.finish(stream)
        assert (back == -1).all(), "it ran while it was captured"
        for seed in (2, 3):
            run(seed)
            graph.launch()
            device.finish(stream)
            np.testing.assert_array_equal(back, numbers(FLOATS, seed))
        graph.close()


def test_the_time_between_two_events(device):
    with device.current():
        sent = device.pinned((FLOATS,))
        memory, stream = device.allocate(sent.nbytes), device.stream()
        events = [device.event() for _ in range(3)]
        device.record(events[0], stream)
        device.upload(memory, sent, stream)
        device.record(events[1], stream)
        device.record(events[2], stream)
        device.synchronize(events[2])
        copy, nothing = (device.elapsed_ms(*pair) for pair in pairwise(events))
        assert 0 <= nothing < copy
        assert device.elapsed_ms(events[0], events[2]) == pytest.approx(copy + nothing, abs=0.01)


def test_another_thread_may_use_it(device):
    def work(seed):
        with device.current():
            sent, back = device.pinned((1000,)), device.pinned((1000,))
            memory, stream = device.allocate(sent.nbytes), device.stream()
            sent[...] = numbers(1000, seed)
            device.upload(memory, sent, stream)
            device.download(back, memory, stream)
            device.finish(stream)
        return np.array_equal(back, numbers(1000, seed))

    with ThreadPoolExecutor(1) as pool:
        assert all(pool.map(work, range(8)))
    assert work(8)


@pytest.mark.parametrize("name", ["pycuda on the host", *ON_A_GPU])
def test_the_gpus_properties_and_too_much_memory(name):
    device = opened(name)
    assert device.name
    assert device.capability >= (5, 0)
    assert len(device.provenance) == 2
    with device.current():
        with pytest.raises(DeviceError, match=r"CUDA failed: .*memory") as caught:
            device.allocate(1 << 50)
        assert "\n" not in str(caught.value)
        assert device.allocate(1 << 20)  # it goes on
    device.close()
    device.close()


@pytest.mark.parametrize("name", ["pycuda on the host"])
def test_pycudas_objects_are_freed(name):
    device = opened(name)
    with device.current():
        device.allocate(16)
        device.stream()
        device.event()
    assert host_pycuda.alive() == 3
    device.close()
    assert host_pycuda.alive() == 0


@pytest.mark.parametrize("name", ON_A_GPU)
def test_close_frees_everything(name):
    def use():
        device = opened(name)
        with device.current():
            for _ in range(8):
                device.allocate(64 << 20)
                device.pinned((1 << 20,))
                device.stream()
                device.event()
        device.close()

    use()
    before = free_memory(opened(name))
    for _ in range(5):
        use()
    assert free_memory(opened(name)) > before - (64 << 20)
