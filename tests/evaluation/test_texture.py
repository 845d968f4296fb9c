"""An input's texture tells noise, sharpness and grey values, whatever its size."""

import numpy as np
import pytest

from darnet_trt.evaluation.texture import TEXTURES, texture


def noise(size, seed=0, spread=0.05):
    rng = np.random.default_rng(seed)
    return (0.5 + rng.normal(0, spread, (1, *size))).astype(np.float32)


def test_white_noise_is_in_every_detail_alike_and_fades_with_each_level():
    """A detail is the mean of eight voxels with signs: 1/√8 of the noise, twice for the second."""
    found = texture(noise((64, 96, 80)))
    np.testing.assert_allclose(found[:7], np.log(0.05 / 8**0.5 + 1e-3), atol=0.02)
    np.testing.assert_allclose(found[7:14], np.log(0.05 / 8 + 1e-3), atol=0.03)


@pytest.mark.parametrize(("axis", "detail"), [(2, 0), (1, 1), (0, 3)])
def test_a_change_along_one_axis_is_in_its_own_detail(axis, detail):
    rows = [slice(None)] * 3
    rows[axis] = slice(None, None, 2)
    volume = np.zeros((8, 16, 16), np.float32)
    volume[tuple(rows)] = 0.5
    changed = texture(volume[None]) - texture(np.zeros((1, 8, 16, 16), np.float32))
    assert [*np.flatnonzero(changed[:14] > 0.01)] == [detail]


def test_grey_values_are_those_of_the_volume():
    volume = np.repeat(np.linspace(0, 1, 11, dtype=np.float32), 16 * 16 * 4).reshape(1, 44, 16, 16)
    np.testing.assert_allclose(texture(volume)[14:], (0.1, 0.5, 0.9), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 2, 3), (9, 17, 31), (25, 81, 81)])
def test_inputs_of_any_size_have_one(size):
    found = texture(noise(size))
    assert found.shape == (TEXTURES,)
    assert np.isfinite(found).all()


def test_the_last_plane_of_an_odd_axis_counts():
    volume = np.zeros((1, 9, 17, 17), np.float32)
    before = texture(volume)
    volume[0, 8, ::2] = 1
    assert (texture(volume)[:14] > before[:14]).any()


def test_rounding_to_float16_as_training_does_changes_nothing_to_speak_of():
    """Training scans of one kind differ by some 0.1."""
    for spread in (0.0, 0.001, 0.05):
        volume = noise((25, 81, 81), spread=spread)
        rounded = volume.astype(np.float16).astype(np.float32)
        np.testing.assert_allclose(texture(rounded), texture(volume), atol=0.01)
