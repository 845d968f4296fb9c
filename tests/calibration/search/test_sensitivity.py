"""Ranking and search on networks whose result is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.bundle.manifest import LayerEffect, Quantization
from darnet_trt.calibration.search.sensitivity import (
    Sensitivity,
    fewest_spared,
    search_notes,
    sensitivity,
    sparing_order,
)

HOUR = 3600.0


def quiet(line):
    pass


def layers(count):
    return [f"layer{i}" for i in range(count)]


NETWORK = tuple(
    f"{block}.{part}"
    for block, parts in {
        "stem": ("0",),
        "stages.0.0": ("conv1", "conv2"),
        "stages.1.0": ("conv1", "conv2", "shortcut.0"),
    }.items()
    for part in parts
)
COSTS = dict(zip(NETWORK, (0.02, 0.01, 0.03, 0.1, 0.5, 0.0), strict=True))


def cost(chosen):
    return sum(COSTS[name] for name in chosen)


def test_blocks_are_measured_first_then_the_layers_of_the_worst_block():
    found = sensitivity(NETWORK, cost, seconds=HOUR, log=quiet)
    assert [e.layer for e in found.blocks] == ["stages.1.0", "stages.0.0", "stem"]
    for e, harm in zip(found.blocks, (0.6, 0.04, 0.02), strict=True):
        assert (e.alone, e.left_out) == pytest.approx((harm, harm))
    assert [e.layer for e in found.layers][:2] == ["stages.1.0.conv2", "stages.1.0.conv1"]


def test_a_line_for_each_quarter_says_how_much_is_measured():
    said = []
    sensitivity(layers(20), len, seconds=HOUR, log=said.append)
    counts = [line.split()[1:4] for line in said if line.endswith(" measured")]
    assert counts == [[str(n), "of", "20"] for n in (5, 10, 15, 20)] * 2


def test_an_error_that_cancels_another_is_ranked_by_itself():
    errors = {frozenset("a"): 0.25, frozenset("b"): 0.5, frozenset("ab"): 0.375}
    found = sensitivity(["a", "b"], errors.__getitem__, seconds=HOUR, log=quiet)
    assert [(e.layer, e.left_out) for e in found.layers] == [("b", 0.125), ("a", -0.125)]


def test_without_time_one_block_is_measured_and_no_layer():
    said = []
    found = sensitivity(NETWORK, cost, seconds=-1.0, log=said.append)
    assert [e.layer for e in found.blocks] == ["stem"]
    assert found.layers == ()
    assert "2 of 3 not measured" in said[-2]
    assert "none of 6 layers measured" in said[-1]


def test_unmeasured_layers_do_not_count_as_harmless():
    bad = LayerEffect(layer="stages.1.0", alone=0.6, left_out=0.5)
    good = LayerEffect(layer="stem", alone=0.01, left_out=0.0)
    one_layer = LayerEffect(layer="stages.1.0.shortcut.0", alone=0.001, left_out=0.0)
    order = sparing_order(NETWORK, Sensitivity((bad, good), (one_layer,)))
    assert order == (
        *("stages.1.0.conv1", "stages.1.0.conv2"),  # of a bad block, not measured themselves
        *("stages.0.0.conv1", "stages.0.0.conv2"),  # of a block that was not measured
        "stem.0",
        "stages.1.0.shortcut.0",
    )


def quantization(trials, scale_trials):
    return Quantization(
        scans=3,
        source="3 scans",
        digest="",
        random=False,
        method="mse",
        errors={},
        layers=(),
        trials=trials,
        scale_trials=scale_trials,
    )


@pytest.mark.parametrize(
    ("trials", "scale_trials", "ways"),
    [
        ({0: ()}, {}, 1),
        ({0: ("no",), 3: ("no",), 4: ()}, {}, 3),
        ({0: ()}, {"plain": ("no",), "equalized": ()}, 2),
        ({0: ("no",), 4: ()}, {"plain": ("no",), "equalized": ("no",)}, 3),
    ],
)
def test_a_verdict_after_a_search_notes_that_its_scans_chose(trials, scale_trials, ways):
    notes = search_notes(quantization(trials, scale_trials))
    if ways == 1:
        assert notes == ()
    else:
        assert f"chose among {ways} " in notes[0]


def passing(passes):
    return lambda chosen: () if passes(chosen) else (f"{len(chosen)} are too many",)


@given(st.integers(1, 40), st.data())
def test_the_fewest_layers_are_kept_in_float(count, data):
    needed = data.draw(st.integers(1, count))
    order = layers(count)
    failures = passing(lambda chosen: not chosen.intersection(order[:needed]))
    found = fewest_spared(order, failures, seconds=HOUR, log=quiet)
    assert found.spared == tuple(order[:needed])
    assert found.quantized == frozenset(order[needed:])
    assert len(found.tried) <= count.bit_length() + 1


def test_if_nothing_passes_nothing_is_quantized():
    found = fewest_spared(layers(8), passing(lambda chosen: False), seconds=HOUR, log=quiet)
    assert not found.quantized
    assert found.spared == tuple(layers(8))
    assert 0 in found.tried


def test_a_search_out_of_time_keeps_what_passed_so_far():
    failures = passing(lambda chosen: len(chosen) <= 8)
    found = fewest_spared(layers(16), failures, seconds=-1.0, log=quiet)
    assert found.tried == {0: ("16 are too many",)}
    assert not found.quantized
