"""Ranking and search on networks whose answer is known."""

from hypothesis import given
from hypothesis import strategies as st

from darnet_trt.calibration.sensitivity import Effect, effects, fewest_spared, ranked

HOUR = 3600.0


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


def test_a_layer_that_hides_behind_another_is_found_by_what_it_costs_alone():
    found = (Effect("noisy", alone=0.3, left_out=-0.02), Effect("quiet", 0.01, 0.02))
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


def test_without_time_the_first_part_is_measured_and_the_rest_is_said():
    said = []
    found = effects(
        {name: frozenset([name]) for name in layers(5)}, len, seconds=-1.0, log=said.append
    )
    assert [e.layer for e in found] == ["layer0"]
    assert "4 of 5 not measured" in said[-1]


@given(st.integers(1, 40), st.data())
def test_the_fewest_are_spared(count, data):
    needed = data.draw(st.integers(0, count - 1))
    order = layers(count)
    found = fewest_spared(
        order, lambda chosen: not chosen.intersection(order[:needed]), seconds=HOUR
    )
    assert found.finished
    assert found.spared == tuple(order[:needed])
    assert found.quantized == frozenset(order[needed:])
    assert len(found.tried) <= count.bit_length() + 1


def test_where_nothing_passes_nothing_is_quantized():
    found = fewest_spared(layers(8), lambda chosen: False, seconds=HOUR)
    assert not found.quantized
    assert found.spared == tuple(layers(8))
    assert 0 in found.tried


def test_a_search_out_of_time_keeps_what_passed_so_far():
    order = layers(16)
    found = fewest_spared(order, lambda chosen: len(chosen) <= 8, seconds=-1.0)
    assert not found.finished
    assert found.tried == {0: False}
    assert not found.quantized
