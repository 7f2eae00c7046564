"""Learnt butterflies: Fourier transforms at first, 680 numbers a head, and a causal convolution between them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.errors import ArgumentError
from faltung.nn import ButterflyConv1d, LearnedButterfly

F64 = torch.float64


def normal(*shape, seed=1, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([16, 8, 4, 2]), min_size=1, max_size=3), st.integers(1, 3))
def test_it_is_a_fourier_transform_at_first_in_every_order_of_factors(factors, heads):
    n = torch.tensor(factors).prod().item()
    x = normal(2, heads, n)
    layer = LearnedButterfly(n, factors, heads, dtype=F64)
    torch.testing.assert_close(layer(x), torch.fft.fft(x), rtol=0, atol=1e-10)
    single = LearnedButterfly(n, factors, heads)
    torch.testing.assert_close(single(x.float()), torch.fft.fft(x.float()), rtol=1e-5, atol=1e-5 * n**0.5)


def test_680_numbers_a_head_for_all_four_sizes():
    layer = LearnedButterfly(1024, (16, 8, 4, 2), heads=3)
    assert layer.parameter_count() == 3 * 680 == sum(p.numel() for p in layer.parameters())
    assert LearnedButterfly(1000).n == 1024
    assert LearnedButterfly(1024).factors == (16, 16, 4)


def test_it_is_linear_without_an_activation_whatever_the_matrices():
    layer = LearnedButterfly(32, heads=2, noise=0.5, dtype=F64)
    x, z = normal(1, 2, 32), normal(1, 2, 32, seed=2)
    torch.testing.assert_close(layer(2 * x - z), 2 * layer(x) - layer(z))
    assert (layer(x) - torch.fft.fft(x)).abs().max() > 0.1
    bent = LearnedButterfly(32, heads=2, activation="gelu", dtype=F64)
    assert (bent(2 * x - z) - 2 * bent(x) + bent(z)).abs().max() > 0.1


def test_the_convolution_is_causal_and_plain_at_first():
    layer = ButterflyConv1d(2, 21, dtype=F64)
    x = normal(3, 2, 21)
    wanted = torch.zeros_like(x)
    for lag in range(21):
        wanted[..., lag:] += layer.weight[:, lag, None] * x[..., : 21 - lag]
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-12)


def test_dropout_brings_numbers_back_to_the_fourier_matrix_while_training_only():
    torch.manual_seed(0)
    layer = LearnedButterfly(16, (16,), heads=40, noise=0.3, dropout=0.4, dtype=F64)
    plain = torch.fft.fft(torch.eye(16, dtype=torch.complex128))
    learnt = layer.eval().matrix(16).detach()
    first, second = (torch.view_as_real(layer.train().matrix(16).detach() - plain) for _ in range(2))
    assert not torch.equal(first, second)
    kept = first.abs() > 1e-12
    assert abs(kept.double().mean().item() - 0.6) < 0.02
    torch.testing.assert_close(first[kept], (torch.view_as_real(learnt - plain) / 0.6)[kept])
    assert torch.equal(layer.eval()(normal(1, 40, 16)), layer(normal(1, 40, 16)))
    at_first = ButterflyConv1d(2, 8, dropout=0.4, dtype=F64)  # without noise there is nothing to drop
    x = normal(1, 2, 8)
    torch.testing.assert_close(at_first.train()(x), at_first.eval()(x), rtol=0, atol=1e-13)
    with torch.no_grad():
        for matrix in at_first.of_input.matrices:
            matrix.add_(0.1)
    assert (at_first.train()(x) - at_first.eval()(x)).abs().max() > 1e-4


def test_refusals():
    for wrong in (
        {"factors": (16, 3)},
        {"factors": (4, 2)},
        {"activation": "selu"},
        {"noise": -1},
        {"dropout": 1},
        {"n": 1},
        {"heads": 0},
    ):
        with pytest.raises(ArgumentError):
            LearnedButterfly(**({"n": 16} | wrong))
    with pytest.raises(ArgumentError, match="at most 16"):
        LearnedButterfly(16)(torch.zeros(1, 1, 17))
    with pytest.raises(ArgumentError, match="at most 4"):
        ButterflyConv1d(1, 4)(torch.zeros(1, 1, 5))
