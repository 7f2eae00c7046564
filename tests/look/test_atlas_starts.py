"""Kernels that start as an atlas has them: the atlas finds again what was asked for."""

from collections import Counter

import numpy as np
import pytest
import torch

from faltung import init, look
from faltung.errors import ArgumentError


def drawn(shape, seed=0, **how):
    return init.dog_(torch.empty(shape), generator=torch.Generator().manual_seed(seed), **how)


@pytest.mark.parametrize("mix", [{"dog": 0.5, "first": 0.3, "second": 0.2}, {"first": 2, "gaussian": 1, "cross": 1}])
def test_the_atlas_finds_the_shares_again(mix):
    places = look.place_kernels(drawn((120, 1, 9, 9), mix=mix).numpy())
    found = Counter(p.kind for p in places)
    total = sum(mix.values())
    for kind, share in mix.items():
        assert found[kind] == pytest.approx(120 * share / total, abs=6)
    signs = Counter(p.sign for p in places)
    assert min(signs[1], signs[-1]) > 30


def test_single_classes_are_exact():
    for kind in ("dog", "first", "second", "delta", "uniform", "cross"):
        places = look.place_kernels(drawn((40, 1, 9, 9), 1, mix={kind: 1.0}).numpy())
        assert sum(p.kind == kind for p in places) >= 38, kind
        assert min(p.score for p in places) > 0.95
    widths = [p.sigma for p in look.place_kernels(drawn((60, 1, 9, 9), mix={"first": 1}).numpy())]
    assert min(widths) < 0.9
    assert max(widths) > 2


def test_white_signals_keep_their_variance():
    weight = drawn((64, 1, 7, 7), gain=1.5)
    np.testing.assert_allclose(weight.square().sum((1, 2, 3)).numpy(), 1.5**2, rtol=1e-5)
    x = torch.randn(4, 64, 40, 40, generator=torch.Generator().manual_seed(1))
    y = torch.nn.functional.conv2d(x, weight, groups=64)
    assert y.var().item() == pytest.approx(1.5**2, rel=0.02)
    dense = drawn((16, 8, 5, 5), mix={"dog": 1, "other": 1})
    np.testing.assert_allclose(dense.square().sum((1, 2, 3)).numpy(), 1, rtol=1e-5)


def test_draws_are_the_generators():
    assert torch.equal(drawn((8, 1, 5, 5), 3), drawn((8, 1, 5, 5), 3))
    assert not torch.equal(drawn((8, 1, 5, 5), 3), drawn((8, 1, 5, 5), 4))
    layer = torch.nn.Conv2d(4, 4, 7, groups=4, dtype=torch.float16)
    assert init.dog_(layer.weight) is layer.weight


@pytest.mark.parametrize("shape", [(4, 1, 7), (4, 1, 1, 1)])
def test_other_axes_are_refused(shape):
    with pytest.raises(ArgumentError, match="two axes"):
        init.dog_(torch.empty(shape))


@pytest.mark.parametrize("mix", [{"ring": 1}, {}, {"dog": -1}, {"dog": 2, "first": -1}])
def test_other_shares_are_refused(mix):
    with pytest.raises(ArgumentError, match="atlas"):
        init.dog_(torch.empty(4, 1, 7, 7), mix)


def test_taps_that_are_all_equally_far_have_no_difference_of_gaussians():
    with pytest.raises(ArgumentError, match="distances"):
        drawn((4, 1, 2, 2))
    for size in ((2, 2), (2, 3), (3, 2)):
        found = drawn(
            (40, 1, *size),
            mix={"first": 1, "second": 1, "gaussian": 1, "other": 1, **({"dog": 1} if 3 in size else {})},
        )
        np.testing.assert_allclose(found.square().sum((1, 2, 3)).numpy(), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(0, 1, 5, 5), (4, 0, 5, 5)])
def test_a_tensor_without_slices_stays_as_it_is(shape):
    assert drawn(shape).shape == shape


@pytest.mark.parametrize("gain", [-1.0, float("nan"), float("inf")])
def test_other_gains_are_refused(gain):
    with pytest.raises(ArgumentError, match="gain"):
        drawn((4, 1, 5, 5), gain=gain)
