"""Augmentation moves volumes, and nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from darnet_trt.training.fitting.augmentation import draw, move
from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation


def only(**limits):
    return NO_AUGMENTATION.model_copy(update=limits)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def augment(x, how, generator):
    return move(x, draw(len(x), x.shape[-2:], how, generator))


@settings(max_examples=25)
@given(
    st.builds(
        Augmentation,
        flip=st.floats(0, 1),
        rotation_deg=st.floats(0, 45),
        translation=st.floats(0, 0.5),
        scaling=st.floats(0, 0.5),
    ),
    st.tuples(*[st.integers(2, 9)] * 4),
    st.integers(0, 1000),
)
def test_keeps_shape_and_range(how, shape, seed):
    n, d, h, w = shape
    x = torch.rand(n, 1, d, h, w, generator=seeded(1))
    y = augment(x, how, seeded(seed))
    assert y.shape == x.shape
    assert y.min() >= x.min() - 1e-5
    assert y.max() <= x.max() + 1e-5


def test_off_is_the_identity():
    x = torch.rand(2, 1, 4, 5, 6)
    assert augment(x, NO_AUGMENTATION, seeded()) is x


def test_flip_exchanges_left_and_right_only():
    x = torch.rand(3, 1, 4, 5, 6)
    y = augment(x, only(flip=1), seeded())
    torch.testing.assert_close(y, x.flip(-1), atol=1e-5, rtol=0)


def test_without_flip_a_tiny_movement_changes_little():
    x = torch.rand(2, 1, 6, 8, 8)
    y = augment(x, only(rotation_deg=1e-3, translation=1e-5, scaling=1e-5), seeded())
    torch.testing.assert_close(y, x, atol=1e-3, rtol=0)


def test_rotation_keeps_proportions():
    # A disc stays a disc in a slice that is wider than high, at any angle.
    yy, xx = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(80) - 39.5, indexing="ij")
    disc = ((yy**2 + xx**2) < 14**2).float().expand(8, 1, 2, 40, 80)
    turned = augment(disc, only(rotation_deg=45), seeded())
    assert (turned - disc).abs().mean() < 0.01


def test_each_volume_moves_on_its_own_and_the_seed_decides():
    x = torch.rand(1, 1, 6, 8, 8).expand(2, -1, -1, -1, -1)
    one, again, other = (augment(x, Augmentation(), seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


@pytest.mark.parametrize("shape", [(3, 7, 20, 31), (2, 64, 48, 48), (2, 1, 5, 6)])
def test_is_what_reading_in_three_dimensions_gives(shape):
    n, d, h, w = shape
    x = torch.rand(n, 1, d, h, w, generator=seeded(1))
    how = Augmentation(rotation_deg=30, translation=0.2, scaling=0.3)
    matrix = draw(n, (h, w), how, seeded(2))
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    expected = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(augment(x, how, seeded(2)), expected, atol=1e-5, rtol=0)
