"""Filters of stretched pieces: sizes, dyadic blocks, decay, norm, resolution."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.errors import ArgumentError
from faltung.nn import MultiScale, SGConv1d

F64 = torch.float64


def normal(*shape, seed=1, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@given(st.integers(1, 5000), st.integers(1, 64), st.sampled_from(["cat", "sum"]))
def test_as_many_pieces_as_the_length_needs(length, piece, mode):
    made = MultiScale(1, length, piece=piece, mode=mode)
    assert made.longest == piece * 2 ** (made.scales - 1) >= length
    assert made.scales == 1 or made.longest < 2 * length
    assert made.parameter_count() == piece * made.scales
    assert made.filters(7).shape == (1, 1, 7)


def test_the_published_sizes():
    made = MultiScale(3, 4096, piece=32)
    assert (made.scales, made.longest, made.parameter_count() / 3) == (8, 4096, 256)


def test_nearest_filters_are_constant_on_dyadic_blocks():
    made = MultiScale(2, 256, piece=4, interpolation="nearest", dtype=F64)
    taps = made.filters(256)
    for first, factor in made.spans:
        blocks = taps[..., first : first + 4 * factor].unflatten(-1, (4, factor))
        assert torch.equal(blocks, blocks[..., :1].expand_as(blocks))
        assert (blocks[..., 1:, 0] != blocks[..., :-1, 0]).all()


@pytest.mark.parametrize("mode", ["cat", "sum"])
def test_filters_start_with_norm_one_and_keep_their_norm_on_reload(mode):
    torch.manual_seed(0)
    made = MultiScale(5, 100, piece=8, heads=2, mode=mode, power=(0.1, 0.5), dtype=F64)
    torch.testing.assert_close(made.filters(made.longest).norm(dim=-1), torch.ones(5, 2, dtype=F64))
    with torch.no_grad():
        made.weight.mul_(3)
    again = MultiScale(5, 100, piece=8, heads=2, mode=mode, power=(0.1, 0.5), dtype=F64)
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.filters(100), made.filters(100))
    torch.testing.assert_close(again.filters(made.longest).norm(dim=-1), torch.full((5, 2), 3.0, dtype=F64))


def test_blocks_fade_by_the_decay():
    torch.manual_seed(0)
    for m in (2.0, 3.0):
        taps = MultiScale(256, 1024, piece=16, decay=(m, m)).filters(1024)[:, 0]
        made = MultiScale(1, 1024, piece=16)
        sizes = [taps[:, f : f + 16 * s].square().mean().sqrt().item() for f, s in made.spans]
        for i, size in enumerate(sizes):
            assert 0.6 < size / sizes[0] * m**i < 1.2


def test_decay_goes_from_channel_to_channel():
    made = MultiScale(3, 64, piece=8, decay=(1.0, 3.0))
    assert torch.equal(made.weights()[:, 0, 0, 0], torch.tensor([1.0, 2.0, 3.0]) ** (made.scales - 1))


def test_a_finer_rate_makes_filters_longer_without_new_parameters():
    made = MultiScale(2, 64, piece=8, dtype=F64)
    stretched = MultiScale(2, 128, piece=8, stretch=1, dtype=F64)
    assert (stretched.longest, stretched.parameter_count()) == (128, made.parameter_count())
    with torch.no_grad():
        stretched.weight.copy_(made.weight)
        fine, wanted = made.filters(128, 0.5), stretched.filters(128)
    torch.testing.assert_close(fine * made.norm[..., None] / 0.5, wanted * stretched.norm[..., None])
    nearest = MultiScale(2, 64, piece=8, interpolation="nearest", dtype=F64)
    torch.testing.assert_close(nearest.filters(128, 0.5).sum(-1), nearest.filters(64).sum(-1))


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["cat", "sum"]), st.sampled_from(["linear", "nearest"]), st.sampled_from([0.37, 0.5, 1.0, 2.3]),
    st.integers(1, 40), st.booleans(),
)  # fmt: skip
def test_filters_are_their_definition_at_every_rate(mode, interpolation, rate, length, power):
    made = MultiScale(2, 24, 3, 2, mode, (1.5, 2.0), interpolation, power=(0.2, 0.4) if power else None, dtype=F64)
    torch.testing.assert_close(made.filters(length, rate), made.definition_filters(length, rate), rtol=0, atol=1e-12)


def test_the_layer_is_a_convolution_with_its_filters():
    layer = SGConv1d(3, 50, piece=4)
    x = normal(2, 3, 50, dtype=torch.float32)
    k = layer.constructor.filters(50)[:, 0]
    wanted = torch.zeros_like(x)
    for lag in range(50):
        wanted[..., lag:] += k[:, lag, None] * x[..., : 50 - lag]
    torch.testing.assert_close(layer(x), wanted + layer.skip[:, None] * x, rtol=1e-4, atol=1e-4)


def test_cosine_pieces_are_waves_and_seeds_decide():
    torch.manual_seed(0)
    made = MultiScale(8, 64, piece=8, init="cosine", dtype=F64)
    speeds = [
        torch.tensor([(row[1:] * row[:-1] < 0).sum() for row in made.weight[:, 0, i]]) for i in range(made.scales)
    ]
    for speed in speeds:
        assert sorted(speed.tolist()) == list(range(8))
    assert any(not torch.equal(speed, speeds[0]) for speed in speeds)


def test_refusals():
    for wrong in ({"mode": "add"}, {"interpolation": "cubic"}, {"init": "zeros"}, {"decay": 2.0}, {"decay": (0, 1)},
                  {"power": (1,)}, {"piece": 0}, {"stretch": -1}):  # fmt: skip
        with pytest.raises(ArgumentError):
            MultiScale(**({"channels": 1, "max_length": 8} | wrong))


def test_a_stream_gives_what_the_whole_signal_gives():
    layer = SGConv1d(2, 12, piece=3, dtype=F64)
    x = normal(2, 2, 30)
    state, found = layer.initial_state(2, 0.8), []
    for t in range(30):
        y, state = layer.step(x[..., t], state)
        found.append(y)
    torch.testing.assert_close(torch.stack(found, -1), layer(x, 0.8), rtol=0, atol=1e-12)
    assert math.isclose(state.rate, 0.8)
