"""Statistics of filters: published values, exact cases, and what changes nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group
from torch import nn

from faltung import look
from faltung.errors import ArgumentError
from faltung.look.filters import bounded_entropy


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    ("n", "value"),
    [(9, 0.5515074123), (16, 0.7220830538), (64, 0.9055617474), (256, 0.9433073096), (65536, 0.9512897355)],
)
def test_the_published_ceiling(n, value):
    assert abs(look.entropy_ceiling(n) - value) < 1e-10


def test_the_limit_of_the_published_ceiling():
    assert abs(look.entropy_ceiling(2**60) - 0.95129636) < 1e-8


@pytest.mark.parametrize(("n", "ratio"), [(16, 1.124), (64, 1.016), (256, 1.003), (4096, 1.003)])
def test_random_filters_against_the_published_ceiling(n, ratio):
    for kind in ("standard_normal", "random"):
        values = [getattr(np.random.default_rng(s), kind)((n, 1, 3, 3)) for s in range(40)]
        found = np.mean([look.variance_entropy(w) for w in values]) / look.entropy_ceiling(n)
        assert abs(found - ratio) < (0.03 if n < 64 else 0.004)  # uniform numbers lie above normal ones


@pytest.mark.parametrize(("n", "taps"), [(3, 9), (16, 9), (64, 25), (20, 27), (500, 5)])
def test_the_drawn_ceiling_is_the_mean_of_random_layers(n, taps):
    values = [look.variance_entropy(drawn(n, 1, taps, seed=s)) for s in range(60)]
    assert abs(look.entropy_ceiling(n, taps, "montecarlo") - np.mean(values)) < 4 * np.std(values) / np.sqrt(30) + 1e-3


def test_drawing_the_ceiling_leaves_random_numbers_alone():
    state = np.random.get_state()[1].copy()
    assert look.entropy_ceiling(77, 49) == look.entropy_ceiling(77, 49)
    assert (np.random.get_state()[1] == state).all()


@given(st.integers(2, 30), st.integers(1, 3), st.integers(0, 99))
def test_entropy_is_bounded_and_does_not_see_scale_or_rotation(n, axes, seed):
    w = drawn(n, 1, *(3,) * axes, seed=seed)
    value, taps = look.variance_entropy(w), 3**axes
    assert 0 <= value <= bounded_entropy(taps, n) + 1e-12
    turned = (w.reshape(n, taps) @ ortho_group.rvs(taps, random_state=seed)).reshape(w.shape)
    assert abs(look.variance_entropy(-3e-5 * w) - value) < 1e-9
    assert abs(look.variance_entropy(turned) - value) < 1e-9


def test_entropy_of_exact_cases():
    edge = drawn(1, 1, 3, 3)
    assert look.variance_entropy(np.arange(1, 9).reshape(8, 1, 1, 1) * edge) < 1e-12  # rank one
    assert look.variance_entropy(np.repeat(edge, 8, 0)) == 0  # all equal
    assert look.variance_entropy(np.zeros((4, 4, 3, 3))) == 0
    assert look.variance_entropy(drawn(8, 8, 1, 1)) == 0
    assert look.variance_entropy(drawn(1, 1, 3, 3)) == 0
    assert abs(look.variance_entropy(np.eye(9).reshape(9, 1, 3, 3)) - np.log10(8)) < 1e-12


def test_entropy_without_dead_filters_and_of_scaled_ones():
    w = drawn(8, 4, 3, 3)
    dead = w.copy()
    dead[:2] *= 1e-6
    mask = look.dead_filters(dead)
    assert mask.sum() == 8
    assert look.variance_entropy(dead, mask) == look.variance_entropy(w[2:])
    scaled = w / np.abs(w).max((2, 3), keepdims=True)
    assert abs(look.variance_entropy(w, scale="absmax") - look.variance_entropy(scaled)) < 1e-12
    row = look.look_at_filters(dead)
    assert row.clean_ratio == look.variance_entropy(w[2:]) / look.entropy_ceiling(24)
    assert row.sparsity == 0.25


def test_sparsity_of_exact_cases():
    assert look.filter_sparsity(np.zeros((2, 2, 3))) == 1
    assert look.filter_sparsity(np.ones((2, 2, 3))) == 0
    assert look.filter_sparsity(np.stack([np.zeros((1, 3)), np.ones((1, 3))])) == 0.5


def test_orthogonality_of_exact_cases():
    assert abs(look.filter_orthogonality(ortho_group.rvs(9, random_state=0).reshape(9, 1, 3, 3)) - 1) < 1e-12
    same = drawn(1, 3, 3, 3) * np.array([1, -2, 1e-200, 5e100]).reshape(4, 1, 1, 1)
    assert look.filter_orthogonality(same) < 1e-12
    assert np.isnan(look.filter_orthogonality(drawn(1, 3, 3, 3)))
    wide = drawn(200, 64, 3, 3)
    assert abs(look.filter_orthogonality(wide) - 0.96675) < 2e-4  # 1 − √(2 / (π 576))
    holes = np.concatenate([ortho_group.rvs(9, random_state=0).reshape(9, 1, 9), np.zeros((3, 1, 9))])
    assert abs(look.filter_orthogonality(holes) - 1) < 1e-12


def test_copies_and_products_of_lines():
    w = drawn(6, 2, 3, 3)
    w[4], w[2] = -2 * w[1], 0
    ((first, second, cosine),) = look.duplicate_filters(w)
    assert (first, second) == (1, 4)
    assert abs(cosine + 1) < 1e-12
    lines = np.einsum("oi,oj->oij", drawn(5, 3), drawn(5, 4, seed=1))[:, None]
    assert look.separable_share(lines) == 1
    assert look.separable_share(drawn(50, 1, 3, 3)) < 0.1
    assert np.isnan(look.separable_share(drawn(5, 1, 7)))
    cube = np.einsum("oi,oj,ok->oijk", drawn(4, 3), drawn(4, 3, seed=1), drawn(4, 3, seed=2))[:, None]
    assert look.separable_share(cube) == 1
    assert look.separable_share(np.einsum("oij,ok->oijk", drawn(4, 3, 3), drawn(4, 3, seed=2))[:, None]) < 1


def test_the_basis_of_filters_of_one_direction():
    v = np.array([[1.0, 2.0], [3.0, -4.0]])
    w = np.stack([v, -v, 2 * v, -v])[:, None]
    basis = look.FilterBasis.fit(w)
    assert abs(basis.ratios[0] - 1) < 1e-12
    np.testing.assert_allclose(np.abs(basis.vectors[0]), np.abs(v) / np.linalg.norm(v), atol=1e-12)
    assert look.FilterBasis.fit(np.ones((4, 1, 3))).ratios.sum() == 0


@pytest.mark.parametrize("shape", [(20, 3, 5), (30, 2, 3, 3), (20, 4, 2, 3, 2)])
def test_the_basis_is_orthonormal_and_rebuilds_filters(shape):
    w = drawn(*shape)
    basis = look.FilterBasis.fit(w)
    flat = basis.vectors.reshape(len(basis.vectors), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
    scaled = w.reshape(-1, flat.shape[1]) / np.abs(w.reshape(-1, flat.shape[1])).max(1, keepdims=True)
    np.testing.assert_allclose(basis.transform(w) @ flat + basis.mean.ravel(), scaled, atol=1e-12)
    variances = basis.transform(w).var(0)
    np.testing.assert_allclose(variances / variances.sum(), basis.ratios, atol=1e-12)


def test_drift_is_a_distance_of_populations():
    a, b = drawn(64, 8, 3, 3), drawn(64, 8, 3, 3, seed=1)
    c = b * np.linspace(0.1, 3, 9).reshape(3, 3)
    basis = look.FilterBasis.fit([a, b, c])
    assert basis.drift(a, a) == 0
    assert basis.drift(a, c) == pytest.approx(basis.drift(c, a), rel=1e-12)
    assert 0 < basis.drift(a, b) < basis.drift(a, c) / 3
    table = look.population_drift([a, [b, a], c])
    np.testing.assert_allclose(table, table.T)
    assert (np.diag(table) == 0).all()
    assert basis.drift(a, b, span=(-3, 3), weights=np.full(9, 1 / 9)) > 0


class Net(nn.Module):
    def __init__(self, ndim):
        super().__init__()
        conv, norm = getattr(nn, f"Conv{ndim}d"), getattr(nn, f"BatchNorm{ndim}d")
        self.a, self.n, self.b = conv(2, 6, 3, padding=1), norm(6), conv(6, 6, 3, groups=6)
        self.up = getattr(nn, f"ConvTranspose{ndim}d")(6, 4, 2, groups=2)

    def forward(self, x):
        return self.up(self.b(self.b(torch.relu(self.n(self.a(x))))))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_whole_model(ndim):
    torch.manual_seed(0)
    model = Net(ndim).eval()
    with torch.no_grad():
        model.n.weight[2] = 0
    found = look.filters(model, torch.zeros(1, 2, *(9,) * ndim))
    assert [row.name for row in found.layers] == ["a", "b", "up"]
    a, b, up = found.layers
    assert a.dead_outputs == 1
    assert (b.filters, b.taps) == (6, 3**ndim)
    assert up.shape == (4, 3, *(2,) * ndim)
    assert a == look.look_at_filters(model.a.weight, "a", gamma=model.n.weight.detach())
    assert "entropy" in found.table()
    assert [row.name for row in look.filters(model).layers] == ["a", "b", "up"]
    assert not look.filters(model, kernel_size=(7,) * ndim).layers


def test_means_by_depth():
    layers = [nn.Conv1d(2, 2, 3) for _ in range(11)]
    rows = look.filters(nn.Sequential(*layers), torch.zeros(1, 2, 99))
    depths = rows.by_depth()
    assert [d["layers"] for d in depths] == [0, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    assert depths[4]["orthogonality"] == rows.layers[4].orthogonality


def test_pointwise_layers_have_no_entropy_to_speak_of():
    row = look.look_at_filters(drawn(4, 4, 1, 1))
    assert row.entropy == 0
    assert np.isnan(row.ratio)
    assert "n/a" in look.filters(drawn(4, 4, 1, 1)).table()


def test_wrong_kernels_are_refused():
    with pytest.raises(ArgumentError, match="finite"):
        look.variance_entropy(np.full((2, 2, 3), np.nan))
    with pytest.raises(ArgumentError, match="layer's weight"):
        look.filter_sparsity(np.zeros(3))
    with pytest.raises(ArgumentError, match="absmax"):
        look.variance_entropy(drawn(2, 2, 3), scale="max")
    with pytest.raises(ArgumentError, match="mask"):
        look.variance_entropy(drawn(2, 2, 3), np.zeros(4))
    with pytest.raises(ArgumentError, match="nine taps"):
        look.entropy_ceiling(9, 25, "published")
    with pytest.raises(ArgumentError, match="each size apart"):
        look.FilterBasis.fit([drawn(2, 2, 3), drawn(2, 2, 5)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_kernels_are_looked_at_in_double_precision(dtype):
    """All numbers of a kernel in half precision are those of the same kernel in double, tails of the spectrum included."""
    torch.manual_seed(0)
    w = (1e-3 * torch.randn(8, 4, 3, 3)).to(dtype)
    w[:, :, 0] *= 1e-2
    w[0, 0] = 0
    wide = w.double()
    for look_at in (
        look.variance_entropy, look.filter_sparsity, look.filter_orthogonality, look.separable_share, look.duplicate_filters,
    ):  # fmt: skip
        assert look_at(w) == look_at(wide), look_at.__name__
