"""Sampling on the grid that the signal chooses: the law of its shifts, bit for bit; ties; enlarging; anchors for windows."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional import choose_phase, put_phase, roll_each, take_phase
from faltung.nn.functional.polyphase import CRITERIA, offsets


def test_the_reference_signals():
    layer = nn.PolyphaseDownsample1d()
    y, index = layer(torch.tensor([[[1.0, 5.0, 2.0, 0.0]]]))
    assert (y.flatten().tolist(), index.tolist()) == ([5, 0], [1])
    y, index = layer(torch.tensor([[[0.0, 1.0, 5.0, 2.0]]]))
    assert (y.flatten().tolist(), index.tolist()) == ([0, 5], [0])


@settings(max_examples=40, deadline=None)
@given(
    ndim=st.integers(1, 3), stride=st.integers(1, 4), criterion=st.sampled_from(CRITERIA), seed=st.integers(0, 99),
    data=st.data(),
)  # fmt: skip
def test_the_law_of_shifts_bit_for_bit(ndim, stride, criterion, seed, data):
    """y(roll(x, t)) = roll(y(x), (i + t − i′)/s) for every sample by itself, in float32 as in float64."""
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float32 if seed % 2 else torch.float64
    x = torch.randn(3, 2, *(stride * (2 + d) for d in range(ndim)), generator=generator).to(dtype)
    shift = tuple(data.draw(st.integers(-9, 9)) for _ in range(ndim))
    axes = tuple(range(2, 2 + ndim))
    layer = nn.PolyphaseDownsample(ndim, stride, criterion)
    (y, i), (moved, j) = layer(x), layer(x.roll(shift, axes))
    late = offsets(i, (stride,) * ndim) + torch.tensor(shift) - offsets(j, (stride,) * ndim)
    assert not (late % stride).any()
    assert torch.equal(moved, roll_each(y, late // stride))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=12, max_size=12), st.integers(1, 11))
def test_equal_scores_do_not_break_the_law(values, shift):
    """Signals of few values, whose phases often have the same energy: the first would depend on where the signal begins."""
    x = torch.tensor(values, dtype=torch.float32).reshape(1, 1, 12)
    (y, i), (moved, j) = nn.PolyphaseDownsample1d(2)(x), nn.PolyphaseDownsample1d(2)(x.roll(shift, -1))
    late = i + shift - j
    if late.item() % 2 == 0:
        assert torch.equal(moved, y.roll(late.item() // 2, -1))
    else:  # then both phases are rolls of each other, and either will do
        assert any(torch.equal(moved, y.roll(k, -1)) for k in range(6))


def test_the_tie_break_is_needed_and_the_fingerprint_sees_arrangements():
    x = torch.tensor([[[1.0, 2.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]])  # phases (1, 0, 2) and (2, 0, 1)
    first = choose_phase(x, 2)
    assert torch.equal(choose_phase(x.roll(1, -1), 2), 1 - first)


def test_samples_choose_for_themselves_and_sums_do_not_depend_on_order():
    x = torch.randn(8, 3, 6, 6)
    index = choose_phase(x, 2)
    assert torch.equal(index, torch.cat([choose_phase(one[None], 2) for one in x]))
    assert len(index.unique()) > 1
    assert torch.equal(choose_phase(1e20 * x, 2), choose_phase(1e-20 * x, 2))


def test_up_after_down_returns_what_lives_on_one_phase_and_gradients_go_there_alone():
    x = torch.zeros(1, 2, 6, 6, dtype=torch.float64)
    x[..., 1::2, ::2] = torch.randn(1, 2, 3, 3, dtype=torch.float64)
    x.requires_grad_()
    y, index = nn.PolyphaseDownsample2d()(x)
    assert torch.equal(nn.PolyphaseUpsample(2, kernel_size=1)(y, index), x)
    y.sum().backward()
    assert x.grad.sum() == y.numel()
    assert torch.equal(x.grad[..., 1::2, ::2], torch.ones(1, 2, 3, 3, dtype=torch.float64))
    torch.testing.assert_close(nn.PolyphaseUpsample(2)(torch.ones(1, 1, 3, 3), index), torch.ones(1, 1, 6, 6))


def test_stride_one_is_the_identity_and_a_given_index_is_used():
    x = torch.randn(2, 3, 4)
    assert torch.equal(nn.PolyphaseDownsample1d(1)(x)[0], x)
    y, index = nn.PolyphaseDownsample1d(2)(x, torch.tensor([1, 0]))
    assert torch.equal(y, torch.stack([x[0, :, 1::2], x[1, :, ::2]]))
    assert index.tolist() == [1, 0]
    assert torch.equal(take_phase(put_phase(y, 2, index), 2, index), y)


class Windows(torch.nn.Module):
    """Attention of each pixel to those of its window: what anchors are for."""

    def __init__(self, channels, side):
        super().__init__()
        self.side = side
        self.mix = torch.nn.Linear(channels, 3 * channels).double()

    def forward(self, x):
        b, c, h, w = x.shape
        s = self.side
        cells = x.reshape(b, c, h // s, s, w // s, s).permute(0, 2, 4, 3, 5, 1).reshape(-1, s * s, c)
        q, k, v = self.mix(cells).chunk(3, -1)
        seen = (q @ k.transpose(1, 2)).softmax(-1) @ v
        return seen.reshape(b, h // s, w // s, s, s, c).permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


def test_anchored_windows_and_patches_move_with_the_image():
    torch.manual_seed(0)
    x = torch.randn(3, 4, 8, 12, dtype=torch.float64)
    attention = Windows(4, 4)
    layer = nn.Anchored(attention, 2, 4)
    patches = nn.Anchored(torch.nn.Conv2d(4, 5, 4, stride=4).double(), 2, 4, undo=False)
    plain = patches(x)
    lost = 0
    for shift in itertools.product((0, 1, 3, 6), (0, 2, 5)):
        moved = x.roll(shift, (2, 3))
        torch.testing.assert_close(layer(moved), layer(x).roll(shift, (2, 3)), rtol=0, atol=1e-12)
        lost += not torch.allclose(attention(moved), attention(x).roll(shift, (2, 3)))
        torch.testing.assert_close(patches(moved).sort(-1)[0].sum((2, 3)), plain.sort(-1)[0].sum((2, 3)))
    assert lost > 6


def test_wrong_settings_are_refused():
    with pytest.raises(ArgumentError):
        nn.PolyphaseDownsample2d(2, criterion="l3")
    with pytest.raises(ArgumentError):
        choose_phase(torch.randn(1, 1, 5), 2)
    with pytest.raises(ArgumentError):
        nn.PolyphaseUpsample(1)(torch.randn(2, 1, 5), torch.tensor([0.0, 1.0]))
    with pytest.raises(ArgumentError):
        nn.Anchored(torch.nn.AvgPool2d(2), 2, 2)(torch.randn(1, 1, 4, 4))
