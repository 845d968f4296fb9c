"""One number calibrates the probabilities, for better or not at all."""

import numpy as np
import pytest

from darnet_trt.evaluation.metrics import softmax
from darnet_trt.evaluation.temperature import calibrated, fit_temperature


def scans(n, temperature=1.0, classes=3, seed=0):
    """Logits of a network that is calibrated at some temperature, and labels."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, classes))
    labels = np.array([rng.choice(classes, p=p) for p in softmax(z)])
    return z * temperature, labels


def log_losses(z, labels, temperature=1.0):
    return -np.log(calibrated(z, temperature)[np.arange(len(labels)), labels])


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_it_finds_how_sure_a_network_is(true, classes):
    assert fit_temperature(*scans(2000, true, classes)) == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("n", [30, 300])
def test_logits_times_three_get_three_times_the_temperature(n):
    z, labels = scans(n, 2.0, seed=n)
    for factor in (3, 0.1, 1000):
        expected = factor * fit_temperature(z, labels)
        assert fit_temperature(factor * z, labels) == pytest.approx(expected, rel=1e-6)


def test_float32_is_enough():
    z, labels = scans(300, 2.0)
    expected = fit_temperature(z, labels)
    assert fit_temperature(z.astype(np.float32), labels) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("true", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("n", [4, 30, 200])
def test_the_log_loss_never_rises_beyond_its_interval(true, n):
    for seed in range(20):
        z, labels = scans(n, true, seed=seed)
        change = log_losses(z, labels, fit_temperature(z, labels)) - log_losses(z, labels)
        assert change.mean() <= 1.96 * change.std() / np.sqrt(n) + 1e-12


def test_neither_class_nor_order_changes():
    z, labels = scans(200, 3.0)
    before, after = softmax(z), calibrated(z, fit_temperature(z, labels))
    np.testing.assert_array_equal(before.argsort(1), after.argsort(1))


@pytest.mark.parametrize("n", [1, 12, 500])
def test_scans_that_are_all_right_do_not_make_a_network_sure_without_bound(n):
    labels = np.arange(n) % 3
    temperature = fit_temperature(0.1 * np.eye(3)[labels], labels)
    largest = calibrated(0.1 * np.eye(3)[labels], temperature).max()
    assert 1 - 1 / n < largest < 1 - 1 / (3 * n + 3)


def test_a_sure_network_without_an_error_is_left_as_it_is():
    labels = np.arange(60) % 3
    assert fit_temperature(40 * np.eye(3)[labels], labels) == 1


def test_a_network_that_is_worse_than_chance_says_nothing():
    labels = np.arange(60) % 3
    p = calibrated(
        np.eye(3)[(labels + 1) % 3], fit_temperature(np.eye(3)[(labels + 1) % 3], labels)
    )
    np.testing.assert_allclose(p, 1 / 3, atol=0.01)


@pytest.mark.parametrize("z", [np.zeros((0, 3)), np.zeros((5, 3)), np.ones((5, 3))])
def test_nothing_to_learn_from(z):
    assert fit_temperature(z, np.zeros(len(z), np.int64)) == 1
