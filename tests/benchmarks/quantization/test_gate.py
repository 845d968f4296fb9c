"""The simulations of the gate run, and a small form of them shows what the docs' tables show."""

import sys

import numpy as np
import pytest

from benchmarks.quantization import coverage, gate

TRIALS = 40


@pytest.fixture(scope="module")
def known():
    return gate.networks(np.random.default_rng(0), 6000)


def shipped(known, kind, flips, scans=234):
    rng = np.random.default_rng(1)
    return gate.share_shipped(rng, known, np.arange(scans) % 3, kind, flips, TRIALS)


@pytest.mark.parametrize("kind", [gate.smooth, gate.catastrophic])
def test_good_engines_ship_and_bad_ones_do_not(known, kind):
    assert min(shipped(known, kind, 0.0)) == 1
    assert min(shipped(known, kind, 0.002)) > 0.75  # 0.9 and more in many trials
    assert max(shipped(known, kind, 0.03)) < 0.1  # at most 0.02 in many trials
    assert max(shipped(known, kind, 0.0, scans=137)) == 0


@pytest.mark.parametrize("flips", [0.002, 0.03])
def test_a_smooth_engine_changes_as_many_scans_as_stated(known, flips):
    rng = np.random.default_rng(2)
    changed = 0
    for network in known:
        right = gate.drawn(rng, network.ahead, np.arange(3000) % 3)
        moved = gate.smooth(rng, network, right, flips)
        changed += (moved.argmax(1) != right.argmax(1)).mean() / len(known)
    assert changed == pytest.approx(flips, rel=0.4)


def test_the_search_rescues_no_engine_that_is_bad_in_every_layer(known):
    without, with_search = shipped(known, gate.catastrophic, 0.02)
    assert with_search >= without
    assert with_search < 0.25


def test_few_covid_scans_ship_nothing(known):
    rng = np.random.default_rng(3)
    assert max(gate.share_shipped_that_loses(rng, known, 2, 498, 5)) == 0


@pytest.mark.parametrize("draw", [coverage.worse_order, coverage.lost_scans])
@pytest.mark.parametrize(("covid", "others"), [(10, 20), (78, 156)])
@pytest.mark.parametrize("difference", [0.0, -0.05])
def test_the_interval_covers_the_truth(draw, covid, others, difference):
    rng = np.random.default_rng(4)
    assert coverage.covered(rng, draw, covid, others, difference, 60)[0] >= 0.93


def test_the_tables_are_printed(monkeypatch, capsys):
    arguments = ["", "--trials", "2", "--pool", "600", "--scans", "20", "150"]
    monkeypatch.setattr(sys, "argv", arguments)
    gate.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 20 | 0.0, 0.0 |")
    assert lines[3].startswith("| 150 | 100.0, 100.0 |")
    monkeypatch.setattr(sys, "argv", ["", "--trials", "2"])
    coverage.main()
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(coverage.SIDES)
