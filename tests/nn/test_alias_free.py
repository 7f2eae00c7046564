"""Ideal filters and activations without aliases: the reference errors, exactness under fractions of a sample, the whole network."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import low_pass, resample_ideal, shift_ideal
from faltung.nn.phase import alias_free_convnext


def band(*shape, seed=0, dtype=torch.float64):
    """Noise without frequency n/2 along any axis."""
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        x = low_pass(x.movedim(axis, -1), (n - 1) / n, 1).movedim(-1, axis) if n % 2 == 0 else x
    return x.to(dtype)


def off(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def test_the_published_polynomial():
    values = nn.PolyActivation()(torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(values, torch.tensor([0.01694, 0.82478, -0.17522, 2.24829]).double(), rtol=0, atol=1e-5)


def test_down_scaling_an_impulse():
    torch.testing.assert_close(
        resample_ideal(torch.tensor([1.0, 0, 0, 0, 0]).double(), (3,)), torch.tensor([0.6, 0, 0]).double()
    )


def test_reference_errors_of_activations():
    """A quadratic with ×2 commutes to rounding; a GELU misses by 0.017 at 0.3, not at multiples of 1/2; without ×2 far more."""
    x = band(4, 3, 16)
    quadratic = nn.AliasFreeActivation(1, 3).double()
    assert quadratic.up == 2
    kinked, plain = nn.Oversampled(torch.nn.GELU(), 1, 2), torch.nn.GELU()
    errors = {
        (name, t): off(layer(shift_ideal(x, (t,))), shift_ideal(layer(x), (t,)))
        for name, layer in (("p", quadratic), ("gelu", kinked), ("plain", plain))
        for t in (0.3, 0.5)
    }
    assert errors["p", 0.3] < 5e-15
    assert errors["p", 0.5] < 5e-15
    assert 1e-3 < errors["gelu", 0.3] < 0.1
    assert errors["gelu", 0.5] < 5e-15
    assert errors["plain", 0.3] > 5 * errors["gelu", 0.3]


@settings(max_examples=25, deadline=None)
@given(degree=st.integers(1, 5), n=st.integers(4, 17), up=st.integers(1, 4), shift=st.floats(-3, 3))
def test_a_degree_is_exact_iff_enlarging_is_enough(degree, n, up, shift):
    x = band(2, 1, n)
    layer = nn.AliasFreeActivation(1, 1, degree, [0.1] + [0.3] * degree, up=up).double()
    error = off(layer(shift_ideal(x, (shift,))), shift_ideal(layer(x), (shift,)))
    if up >= (degree + 1) / 2 and up > 1:
        assert error < 1e-12


def test_too_little_enlarging_is_seen():
    x = band(2, 1, 16)
    layer = nn.AliasFreeActivation(1, 1, 5, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0], up=2).double()
    assert off(layer(shift_ideal(x, (0.3,))), shift_ideal(layer(x), (0.3,))) > 1e-3


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(2, 12), min_size=1, max_size=3), cutoff=st.floats(0.05, 1))
def test_the_low_pass_is_idempotent_real_and_takes_any_size(sizes, cutoff):
    x = torch.randn(2, 1, *sizes, dtype=torch.float64)
    once = low_pass(x, cutoff, len(sizes))
    assert once.dtype == x.dtype
    torch.testing.assert_close(low_pass(once, cutoff, len(sizes)), once, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 15), more=st.integers(0, 9), shift=st.floats(-4, 4))
def test_up_then_down_is_the_identity_and_resampling_commutes_with_shifts(n, more, shift):
    x = band(2, 1, n)
    fine = resample_ideal(x, (n + more,))
    torch.testing.assert_close(resample_ideal(fine, (n,)), x, rtol=0, atol=1e-12)
    moved = resample_ideal(shift_ideal(x, (shift,)), (n + more,))
    torch.testing.assert_close(moved, shift_ideal(fine, (shift * (n + more) / n,)), rtol=0, atol=1e-11)


def test_shifts_are_samples_of_the_shifted_wave():
    t = torch.arange(9, dtype=torch.float64)
    wave = torch.cos(2 * math.pi * 3 * t / 9 + 0.4)[None, None]
    wanted = torch.cos(2 * math.pi * 3 * (t - 0.37) / 9 + 0.4)[None, None]
    torch.testing.assert_close(shift_ideal(wave, (0.37,)), wanted, rtol=0, atol=1e-14)
    assert torch.equal(shift_ideal(wave, (2.0,)), wave.roll(2, -1))


def test_the_norm_commutes_with_fractions():
    x = band(2, 4, 8, 9)
    norm = nn.GlobalLayerNorm(4).double()
    torch.nn.init.normal_(norm.weight)
    moved = norm(shift_ideal(x, (0.3, 1.7)))
    torch.testing.assert_close(moved, shift_ideal(norm(x), (0.3, 1.7)), rtol=0, atol=1e-12)


def convnext(dtype):
    torch.manual_seed(0)
    model = alias_free_convnext(5, 2, widths=(6, 8), depths=(1, 1), layer_scale=0.5, scale=(1.0, 1.0)).to(dtype)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    return model


@pytest.mark.parametrize(
    ("dtype", "most"), [pytest.param(torch.float32, 1e-4, marks=pytest.mark.slow), (torch.float64, 1e-10)]
)
@pytest.mark.parametrize("shift", [1 / 2, 1 / 3, 0.3])
def test_the_whole_network_with_random_weights(dtype, most, shift):
    model, x = convnext(dtype), band(2, 2, 32, 24, dtype=dtype)
    features = model[:-3]
    with torch.no_grad():
        moved = features(shift_ideal(x, (shift, shift)))
        assert off(moved, shift_ideal(features(x), (shift / 8, shift / 8))) < most
        assert off(model(shift_ideal(x, (shift, shift))), model(x)) < most


def test_exactness_survives_training_steps_and_other_sizes():
    model, x = convnext(torch.float64), band(4, 2, 16, 16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before = model(x)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()
    with torch.no_grad():
        assert not torch.allclose(model(x), before)
        for other in (x, band(2, 2, 24, 32)):
            assert off(model(shift_ideal(other, (0.3, 2.6))), model(other)) < 1e-9
    model.load_state_dict(model.state_dict(), strict=True)


def test_constants_give_constants():
    y = convnext(torch.float64)[:-3](torch.full((1, 2, 16, 16), 0.7, dtype=torch.float64))
    assert (y - y[..., :1, :1]).abs().max() < 1e-12 * y.abs().max()


def test_higher_degrees_keep_their_highest_coefficient_and_fits_are_least_squares():
    cubic = nn.PolyActivation(3, coeffs=[0.0, 0.0, 0.0, 1.0])
    assert cubic(torch.tensor([2.0])).item() == 8
    fitted = nn.PolyActivation(3).double().fit(lambda v: v**3 - v)
    torch.testing.assert_close(fitted.coefficients[0], torch.tensor([0.0, -1, 0, 1]).double(), rtol=0, atol=1e-10)


def test_wrong_settings_are_refused():
    for wrong in (0.0, 1.5, True, "half"):
        with pytest.raises(ArgumentError):
            nn.IdealLowPass2d(wrong)
    with pytest.raises(ArgumentError):
        nn.IdealResample1d(down=2)(torch.randn(1, 1, 5))
    with pytest.raises(ArgumentError):
        nn.PolyActivation(2, coeffs=[1.0, 2.0])
    with pytest.raises(ArgumentError):
        nn.AliasFreeStem2d(3, 2)
    with pytest.raises(ArgumentError):
        alias_free_convnext(2, widths=(4,), depths=(1, 1))
    with pytest.raises(DtypeError):
        resample_ideal(torch.arange(4), (2,))
