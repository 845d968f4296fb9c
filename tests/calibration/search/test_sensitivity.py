"""Ranking and search on networks whose result is known."""

from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.bundle.manifest import LayerEffect
from darnet_trt.calibration.search.sensitivity import (
    Sensitivity,
    blocks,
    effects,
    fewest_spared,
    ranked,
    search_notes,
    sensitivity,
    sparing_order,
)

HOUR = 3600.0


def effect(name, alone, left_out):
    return LayerEffect(layer=name, alone=alone, left_out=left_out)


def layers(count):
    return [f"layer{i}" for i in range(count)]


def test_the_layer_that_carries_the_error_comes_first():
    costs = {"stem": 0.5, "middle": 0.01, "last": 0.1}
    found = effects(
        {name: frozenset([name]) for name in costs},
        lambda chosen: sum(costs[name] for name in chosen),
        seconds=HOUR,
    )
    assert [e.layer for e in ranked(found)] == ["stem", "last", "middle"]
    assert [round(e.alone, 6) for e in found] == [0.5, 0.01, 0.1]
    assert [round(e.left_out, 6) for e in found] == [0.5, 0.01, 0.1]


def test_a_layer_whose_error_cancels_another_is_ranked_by_its_own_error():
    found = (effect("noisy", alone=0.3, left_out=-0.02), effect("quiet", 0.01, 0.02))
    assert [e.layer for e in ranked(found)] == ["noisy", "quiet"]


def test_layers_of_a_block_go_together():
    asked = []

    def error(chosen):
        asked.append(chosen)
        return float(len(chosen))

    parts = {"a": frozenset(["a1", "a2"]), "b": frozenset(["b1"])}
    found = effects(parts, error, seconds=HOUR)
    assert [(e.layer, e.alone, e.left_out) for e in found] == [("a", 2, 2), ("b", 1, 1)]
    assert set(asked) <= {
        frozenset(["a1", "a2", "b1"]),
        frozenset(["a1", "a2"]),
        frozenset(["b1"]),
    }


def test_without_time_the_first_part_is_measured_and_the_rest_is_reported():
    said = []
    found = effects(
        {name: frozenset([name]) for name in layers(5)}, len, seconds=-1.0, log=said.append
    )
    assert [e.layer for e in found] == ["layer0"]
    assert "4 of 5 not measured" in said[-1]


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


def test_a_line_for_each_quarter_says_how_much_is_measured():
    said = []
    parts = {name: frozenset([name]) for name in layers(20)}
    effects(parts, len, seconds=HOUR, log=said.append)
    assert [line.split()[1:4] for line in said] == [[str(n), "of", "20"] for n in (5, 10, 15, 20)]


def test_blocks_are_measured_first_then_the_layers_of_the_worst_block():
    found = sensitivity(NETWORK, cost, seconds=HOUR)
    assert [e.layer for e in found.blocks] == ["stages.1.0", "stages.0.0", "stem"]
    assert [round(e.alone, 6) for e in found.blocks] == [0.6, 0.04, 0.02]
    assert [e.layer for e in found.layers][:2] == ["stages.1.0.conv2", "stages.1.0.conv1"]


def test_a_block_is_all_its_convolutions():
    assert blocks(NETWORK) == {
        "stem": {"stem.0"},
        "stages.0.0": {"stages.0.0.conv1", "stages.0.0.conv2"},
        "stages.1.0": {"stages.1.0.conv1", "stages.1.0.conv2", "stages.1.0.shortcut.0"},
    }


def test_without_time_one_block_is_measured_and_no_layer():
    said = []
    found = sensitivity(NETWORK, cost, seconds=-1.0, log=said.append)
    assert [e.layer for e in found.blocks] == ["stem"]
    assert found.layers == ()
    assert "2 of 3 not measured" in said[-2]
    assert "none of 6 layers measured" in said[-1]


def test_unmeasured_layers_do_not_count_as_harmless():
    bad = effect("stages.1.0", 0.6, 0.5)
    good = effect("stem", 0.01, 0.0)
    one_layer = effect("stages.1.0.shortcut.0", 0.001, 0.0)
    order = sparing_order(NETWORK, Sensitivity((bad, good), (one_layer,)))
    assert order == (
        *("stages.1.0.conv1", "stages.1.0.conv2"),  # of a bad block, not measured themselves
        *("stages.0.0.conv1", "stages.0.0.conv2"),  # of a block that was not measured
        "stem.0",
        "stages.1.0.shortcut.0",
    )


def test_a_verdict_after_a_search_notes_that_its_scans_chose():
    assert search_notes({0: ()}) == ()
    assert "chose among 3 sets of layers" in search_notes({0: ("no",), 3: ("no",), 4: ()})[0]


def passing(passes):
    return lambda chosen: () if passes(chosen) else (f"{len(chosen)} are too many",)


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_the_fewest_layers_are_kept_in_float(count, data):
    needed = data.draw(st.integers(0, count - 1))
    order = layers(count)
    found = fewest_spared(
        order, passing(lambda chosen: not chosen.intersection(order[:needed])), seconds=HOUR
    )
    assert found.spared == tuple(order[:needed])
    assert found.quantized == frozenset(order[needed:])
    assert len(found.tried) <= count.bit_length() + 1


def test_if_nothing_passes_nothing_is_quantized():
    found = fewest_spared(layers(8), passing(lambda chosen: False), seconds=HOUR)
    assert not found.quantized
    assert found.spared == tuple(layers(8))
    assert 0 in found.tried


def test_a_search_out_of_time_keeps_what_passed_so_far():
    order = layers(16)
    found = fewest_spared(order, passing(lambda chosen: len(chosen) <= 8), seconds=-1.0)
    assert found.tried == {0: ("16 are too many",)}
    assert not found.quantized
