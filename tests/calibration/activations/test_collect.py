"""Statistics of activations agree with torch, and each scan runs once."""

import numpy as np
import pytest
import torch

from darnet_trt.calibration.activations import collect
from darnet_trt.calibration.activations.collect import Collector, magnitudes, merged, peak_bytes
from darnet_trt.calibration.activations.ranges import ranges_of
from darnet_trt.calibration.qdq import convolutions, quantized_tensors
from darnet_trt.calibration.scans.sample import hashed
from darnet_trt.errors import UsageError
from tests.export.networks import TINY, graph_of, trained_like, with_weight
from tests.full_disk import files_up_to


@pytest.fixture(scope="module")
def network():
    return trained_like(TINY).model().eval()


@pytest.fixture(scope="module")
def tensors(model):
    return quantized_tensors(model, convolutions(model))


@pytest.fixture
def collector(model, tensors, cache):
    return Collector(model, tensors, threads=1)


def scan(seed):
    return np.random.default_rng(seed).random((1, *TINY.input_size), np.float32)


def statistics(collector, volume):
    return collector.statistics(volume, hashed(volume))


def cached(collector, volume):
    return collector.cached(hashed(volume))


def same(a, b):
    return a.keys() == b.keys() and all(
        (a[t].smallest, a[t].largest, a[t].not_finite, a[t].exponent)
        == (b[t].smallest, b[t].largest, b[t].not_finite, b[t].exponent)
        and (a[t].counts == b[t].counts).all()
        for t in a
    )


def test_extremes_and_counts_agree_with_torch(collector, network):
    seen = {}

    def keep(name):
        return lambda module, given, made: seen.update({name: made.numpy()})

    hooks = [m.register_forward_hook(keep(name)) for name, m in network.named_modules() if name]
    with torch.no_grad():
        network(torch.from_numpy(scan(0)[None]))
    for hook in hooks:
        hook.remove()
    found = statistics(collector, scan(0))
    assert len(found) == 28
    for tensor, one in found.items():
        if tensor == "input":
            expected = scan(0)
        elif tensor.endswith(".relu"):
            expected = np.maximum(seen[tensor.removesuffix(".relu")], 0)
        else:
            expected = seen[tensor.removesuffix(".out")]
        close = {"rel": 1e-4, "abs": 1e-5}
        assert one.smallest == pytest.approx(float(expected.min()), **close), tensor
        assert one.largest == pytest.approx(float(expected.max()), **close), tensor
        assert one.counts.sum() == expected.size, tensor
        counts, _ = np.histogram(np.abs(expected), one.edges)
        # Where the engines round differently an element changes to the neighbouring bin.
        moved = np.abs(np.cumsum(counts) - np.cumsum(one.counts)).max()
        assert moved <= 0.01 * expected.size + 2, tensor


def test_large_maps_are_sampled_and_keep_their_extremes(collector, model, tensors, monkeypatch):
    whole = statistics(collector, scan(0))
    monkeypatch.setattr(collect, "_SAMPLED_FROM", scan(0).size - 1)
    monkeypatch.setattr(collect, "_SCHEMA", "of this test")
    few = statistics(Collector(model, tensors), scan(0))
    expected, _ = np.histogram(scan(0)[:, ::2, ::2], few["input"].edges)
    assert (few["input"].counts == expected).all()
    for tensor in tensors:
        assert few[tensor].smallest == pytest.approx(whole[tensor].smallest, rel=1e-5, abs=1e-6)
        assert few[tensor].largest == pytest.approx(whole[tensor].largest, rel=1e-5)
    assert few["stages.3.0.out"].counts.sum() == whole["stages.3.0.out"].counts.sum()


def test_a_scan_that_was_run_before_comes_from_the_cache(collector, model, tensors):
    first = statistics(collector, scan(0))
    file = cached(collector, scan(0))
    assert same(statistics(collector, scan(0)), first)
    statistics(collector, scan(1))
    file.write_bytes(cached(collector, scan(1)).read_bytes())
    assert same(statistics(Collector(model, tensors), scan(0)), statistics(collector, scan(1)))


def test_other_scans_weights_and_tensors_have_their_own_files(collector, model, tensors):
    other = with_weight(model, "stem.0.weight", lambda values: 2 * values)
    files = {
        cached(collector, scan(0)),
        cached(collector, scan(1)),
        cached(Collector(other, tensors), scan(0)),
        cached(Collector(model, tensors[:3]), scan(0)),
    }
    assert len(files) == 4


def test_the_cache_is_small(collector):
    statistics(collector, scan(0))
    assert cached(collector, scan(0)).stat().st_size < 200_000


def archive(file):
    with file.open("wb") as stream:
        np.savez(stream, limits=np.zeros((28, 2)), integers=np.zeros(3), counts=np.zeros(3))


def array(file):
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no archive at all"),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(file.read_bytes()[:40]),
        lambda file: file.write_bytes(file.read_bytes().replace(b"\x00", b"\x01")),
        array,
        archive,
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["empty", "text", "cut off", "begun", "garbled", "an array", "foreign", "a folder"],
)
def test_a_damaged_file_is_computed_again(collector, spoil):
    first = statistics(collector, scan(0))
    spoil(cached(collector, scan(0)))
    assert same(statistics(collector, scan(0)), first)
    assert same(statistics(collector, scan(0)), first)


def test_statistics_are_the_same_without_a_cache(model, tensors, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for place in ("/proc/none", tmp_path / "file"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(place))
        collector = Collector(model, tensors[:3])
        assert same(statistics(collector, scan(0)), statistics(collector, scan(0)))


def test_a_full_disk_leaves_no_half_file(collector):
    with files_up_to(1000):
        first = statistics(collector, scan(0))
    assert not list(cached(collector, scan(0)).parent.iterdir())
    assert same(statistics(collector, scan(0)), first)
    assert cached(collector, scan(0)).exists()


def test_merged_is_the_same_in_any_order_and_reports_its_progress(collector, tensors):
    done = []
    found = merged(collector, *some(range(3)), done.append)
    assert done == [1, 2, 3]
    assert same(found, merged(collector, *some((2, 0, 1))))
    assert found["input"].counts.sum() == 3 * scan(0).size
    assert list(found) == list(tensors)


def some(seeds):
    volumes = [scan(seed) for seed in seeds]
    return volumes, [hashed(volume) for volume in volumes]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scan_with_nan_is_refused_and_not_cached(collector, value):
    broken = scan(0)
    broken[0, 3, 3, 3] = value
    with pytest.raises(UsageError, match="NaN or infinite"):
        statistics(collector, broken)
    assert not cached(collector, broken).exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_damaged_weights_are_found_and_named(model, tensors, value, cache):
    def damage(weights):
        weights[2, 0, 1, 3] = value
        return weights

    collector = Collector(with_weight(model, "stem.0.weight", damage), tensors)
    found = statistics(collector, scan(0))
    assert not found["input"].not_finite
    with pytest.raises(UsageError, match="NaN or infinite"):
        ranges_of(found, "minmax", "u8")
    assert same(statistics(collector, scan(0)), found)


def test_the_memory_estimate_grows_with_the_watched_tensors(model, tensors):
    assert peak_bytes(model, tensors) > peak_bytes(model, tensors[:1]) > 100_000_000


def graph(attention="both"):
    return graph_of(trained_like(TINY.model_copy(update={"attention": attention})))


@pytest.mark.parametrize("attention", ["both", "none"])
def test_magnitudes_are_the_largest_of_all_scans(attention, cache):
    model, volumes = graph(attention), [scan(0), scan(1)]
    found = magnitudes(model, volumes)
    tensors = [name for name in found if name.endswith(".out")]
    assert len(tensors) == 28  # 20 convolutions and 8 blocks
    collector = Collector(model, tensors)
    seen = [statistics(collector, volume) for volume in volumes]
    for name in tensors:
        expected = max(one[name].magnitude for one in seen)
        assert found[name] == pytest.approx(expected, rel=1e-5), name
    assert found["cam"] > 0


def test_gates_are_named_by_their_layers():
    found = magnitudes(graph(), [scan(0)])
    gates = [name for name in found if "attention" in name]
    assert len(gates) == 4 * 8
    assert gates[:2] == [
        "stages.0.0.channel_attention.squeeze",
        "stages.0.0.channel_attention.excite",
    ]
    assert all(found[name] > 0 for name in gates)


def test_an_overflow_of_float32_has_no_finite_magnitude():
    network = trained_like(TINY)
    network.state_dict["stages.2.0.conv2.weight"] *= 1e38
    assert not np.isfinite(magnitudes(graph_of(network), [scan(0)])["stages.2.0.bn2.out"])
