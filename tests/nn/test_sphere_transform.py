"""Transforms of the sphere: quadrature, Wigner's matrices, every spin, every grid, and the conventions of other libraries."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.sphere import SpinSHT, from_real, harmonics, sphere_grid, to_real, turn
from faltung.nn.sphere.base import harmonics_by_sum
from faltung.nn.sphere.grid import GRIDS, torus_weights
from faltung.nn.sphere.wigner import angles_of, big_d, random_rotation, rotation_matrix, small_d, small_d_by_sum
from faltung.nn.symmetry import so3

SEEDS = st.integers(0, 10_000)


def coefficients(degree, *lead, spin=0, seed=0):
    """Random coefficients, zero below |spin|."""
    a = torch.randn(*lead, (degree + 1) ** 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
    a[..., : spin * spin] = 0
    return a


def test_the_weights_of_eight_rows_and_of_the_torus():
    wanted = [0.02040816, 0.19014101, 0.35224242, 0.43720841]
    weights = sphere_grid(8).weights * 8 / (2 * np.pi)
    np.testing.assert_allclose(weights, wanted + wanted[::-1], atol=5e-9)
    assert weights.sum() == pytest.approx(2, abs=1e-15)
    wanted = [0.11111111, 0.89789429, 0.89789429, 0.11111111, -0.0090054, -0.0090054]
    np.testing.assert_allclose(torus_weights(4), wanted, atol=5e-9)


@pytest.mark.parametrize("n", [4, 8, 13])
def test_the_torus_folds_to_the_rows(n):
    torus = torus_weights(n)
    folded = torus[:n].copy()
    folded[1:-1] += torus[n:][::-1]
    np.testing.assert_allclose(folded, sphere_grid(n).weights * n / (2 * np.pi), atol=1e-15)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("rows", [2, 3, 8, 13])
def test_quadrature_is_exact_up_to_twice_the_degree_and_no_further_where_it_says_so(kind, rows):
    grid = sphere_grid((rows, 64), kind)
    x, weights = np.cos(grid.theta), grid.weights * 64 / (2 * np.pi)
    errors = [abs(weights @ x**p - (2 / (p + 1) if p % 2 == 0 else 0)) for p in range(2 * grid.degree + 4)]
    assert max(errors[: 2 * grid.degree + 1]) < 1e-14
    assert max(errors[2 * grid.degree + 1 :]) > 1e-9
    assert (np.diff(grid.theta) > 0).all()


def test_the_matrix_of_a_quarter_turn_of_degree_one():
    r = math.sqrt(0.5)
    np.testing.assert_allclose(
        small_d(1, [-1, 0, 1], np.pi / 2)[1, :, :, 0], [[0.5, r, 0.5], [-r, 0, r], [0.5, -r, 0.5]], atol=1e-15
    )


def test_the_recursion_gives_wigners_sums():
    beta = np.linspace(0, np.pi, 6)
    found = small_d(7, range(-7, 8), beta)
    for l in range(8):
        for m in range(-7, 8):
            for n in range(-7, 8):
                wanted = [small_d_by_sum(l, m, n, b) for b in beta]
                np.testing.assert_allclose(found[l, m + 7, n + 7], wanted, atol=4e-15)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_wigners_matrices_are_a_representation(seed):
    random = np.random.default_rng(seed)
    first, second = (rotation_matrix(*random_rotation(random)) for _ in range(2))
    for d, a, b in zip(big_d(12, first @ second), big_d(12, first), big_d(12, second), strict=True):
        np.testing.assert_allclose(d, a @ b, atol=1e-13)
        np.testing.assert_allclose(d @ d.conj().T, np.eye(len(d)), atol=1e-13)


def test_they_stay_unitary_at_high_degrees_and_at_the_poles():
    for rotation in ((0.3, 2.2, -1.0), (0.4, 0.0, 0.2), (0.4, np.pi, 0.2), (0.4, 1e-9, 0.2), (0.1, -0.7, 0.2)):
        top = big_d(96, rotation)[96]
        assert abs(top @ top.conj().T - np.eye(193)).max() < 1e-12
        again = big_d(3, rotation_matrix(*rotation))[3]
        np.testing.assert_allclose(big_d(3, rotation)[3], again, atol=1e-8 if rotation[1] == 1e-9 else 1e-13)


def test_euler_angles_give_the_matrix_back():
    for rotation in ((0.3, 2.2, -1.0), (0.4, 0.0, 0.2), (0.4, np.pi, 0.2)):
        matrix = rotation_matrix(*rotation)
        np.testing.assert_allclose(rotation_matrix(*angles_of(matrix)), matrix, atol=1e-15)
    for wrong in (np.eye(2), np.diag([1.0, 1, -1]), 2 * np.eye(3)):
        with pytest.raises(ArgumentError, match="rotation"):
            angles_of(wrong)


def test_harmonics_of_spin_0_are_scipys():
    from scipy.special import sph_harm_y

    random = np.random.default_rng(0)
    theta, phi = random.uniform(0, np.pi, 9), random.uniform(0, 2 * np.pi, 9)
    found = harmonics(20, 0, theta, phi)
    wanted = np.stack([sph_harm_y(l, m, theta, phi) for l in range(21) for m in range(-l, l + 1)], -1)
    np.testing.assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.parametrize("n", [8, 12])
@pytest.mark.parametrize("spin", [0, 1, 2])
def test_coefficients_come_back(n, spin):
    sht = SpinSHT(n, spin, dtype=torch.float64)
    a = coefficients(sht.degree, 5, spin=spin) / 4
    assert (sht(sht.inverse(a)) - a).abs().max() < 1e-14
    wanted = torch.tensor(harmonics_by_sum(sht.grid, spin, sht.degree))
    torch.testing.assert_close(sht.inverse(a), torch.einsum("ijk,bk->bij", wanted, a), rtol=0, atol=2e-14)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("size", [(9, 7), (24, 40), (20, 140)])
def test_coefficients_come_back_from_every_grid_and_long_rows(kind, size):
    spins = (0, 1, -2)
    sht = SpinSHT(size, spins, kind, dtype=torch.float64)
    a = torch.stack([coefficients(sht.degree, 2, spin=s, seed=s + 5) for s in spins], 1)
    x = sht.inverse(a)
    torch.testing.assert_close(sht(x), a, rtol=0, atol=1e-12)
    weights = torch.tensor(sht.grid.weights)[:, None]
    energy = (x.abs().square() * weights).sum((-2, -1))
    torch.testing.assert_close(energy, a.abs().square().sum(-1), rtol=1e-12, atol=0)  # Parseval


def test_cosine_has_one_coefficient():
    sht = SpinSHT(8, dtype=torch.float64)
    a = sht(torch.tensor(sht.grid.points[..., 2]))
    assert a[2].real.item() == pytest.approx(math.sqrt(4 * math.pi / 3), abs=1e-14)
    assert a[2].real.item() == pytest.approx(2.0466534, abs=5e-8)
    a[2] = 0
    assert a.abs().max() < 1e-15


@pytest.mark.parametrize("n", [6, 8])
@pytest.mark.parametrize("spin", [0, 1, -2])
def test_the_published_form_on_the_torus_is_the_same(n, spin):
    """Rows continued over the pole, two Fourier transforms, and twice the matrix of a quarter turn."""
    x = np.random.default_rng(0).normal(size=(n, n)) + 1j * np.random.default_rng(1).normal(size=(n, n))
    beyond = np.roll(x[1:-1][::-1], n // 2, 1) * (-1) ** spin
    around = np.concatenate([x, beyond]) * torus_weights(n)[:, None]
    waves = 2 * np.pi / n * np.fft.fft2(around)
    degree = n // 2 - 1
    delta = small_d(degree, range(-degree, degree + 1), np.pi / 2)[..., 0]
    found = []
    for l in range(degree + 1):
        for m in range(-l, l + 1):
            total = 0
            if l >= abs(spin):
                total = sum(
                    delta[l, k + degree, m + degree] * delta[l, k + degree, degree - spin] * waves[k, m]
                    for k in range(-l, l + 1)
                )
            found.append((-1) ** spin * math.sqrt((2 * l + 1) / (4 * math.pi)) * 1j ** (m + spin) * total)
    ours = SpinSHT(n, spin, dtype=torch.float64)(torch.tensor(x))
    np.testing.assert_allclose(ours.numpy(), found, atol=2e-15)


@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_a_turned_function_is_the_function_at_turned_places(seed):
    random = np.random.default_rng(seed)
    rotation = random_rotation(random)
    grid = sphere_grid((11, 14), "gauss")
    a = coefficients(grid.degree, seed=seed)
    sht = SpinSHT(grid, dtype=torch.float64)
    places = grid.points @ rotation_matrix(*rotation)  # R⁻¹ p
    theta, phi = (
        np.arctan2(np.hypot(places[..., 0], places[..., 1]), places[..., 2]),
        np.arctan2(places[..., 1], places[..., 0]),
    )
    wanted = torch.tensor(harmonics(grid.degree, 0, theta, phi)) @ a
    torch.testing.assert_close(sht.inverse(sht.rotate(a, rotation)), wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        turn(sht.inverse(a)[None], rotation_matrix(*rotation), grid)[0], wanted, rtol=0, atol=1e-12
    )


def test_spin_1_turns_like_tangent_vectors():
    """The gradient of a function, v_θ + i v_φ, is a field of spin 1 up to sign; turned with the function it stays the gradient."""
    grid = sphere_grid((12, 16), "gauss")  # no poles, where the frame has no direction
    sht = SpinSHT(grid, dtype=torch.float64, degree=5)
    a = coefficients(5, seed=3)
    l = torch.repeat_interleave(torch.arange(6), 2 * torch.arange(6) + 1)
    raised = a * (l * (l + 1)).double().sqrt()
    eth = SpinSHT(grid, 1, degree=5, dtype=torch.float64).inverse(raised)
    step = 1e-5
    theta, phi = np.meshgrid(grid.theta, grid.phi, indexing="ij")

    def value(t, p):
        return torch.tensor(harmonics(5, 0, t, p)) @ a

    along = (value(theta + step, phi) - value(theta - step, phi)) / (2 * step)
    around = (value(theta, phi + step) - value(theta, phi - step)) / (2 * step) / torch.tensor(np.sin(theta))
    torch.testing.assert_close(eth, -(along + 1j * around), rtol=0, atol=1e-7)
    assert sht.degree == 5


def test_real_coefficients_are_those_of_the_other_rooms():
    c = torch.randn(3, 36, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(to_real(from_real(c)), c)
    grid = sphere_grid((8, 11))
    values = so3.spherical_harmonics(5, torch.tensor(grid.points[..., [1, 2, 0]]))
    waves = torch.tensor(harmonics(5, 0, *np.meshgrid(grid.theta, grid.phi, indexing="ij")))
    found = torch.einsum("ijk,bk->bij", waves, from_real(c))
    torch.testing.assert_close(found.real, torch.einsum("ijk,bk->bij", values, c), rtol=0, atol=1e-13)
    assert found.imag.abs().max() < 1e-13


def test_rotations_are_those_of_the_other_rooms_and_of_e3nn():
    o3 = pytest.importorskip("e3nn.o3")
    rotation = rotation_matrix(0.4, 1.1, -2.0)
    cycled = torch.tensor(rotation[[1, 2, 0]][:, [1, 2, 0]])  # the same turn of (y, z, x)
    c = torch.randn(25, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sht = SpinSHT(10, dtype=torch.float64)
    turned = to_real(sht.rotate(from_real(c), rotation))
    for l, d in enumerate(so3.wigner(4, cycled)):
        here = slice(l * l, (l + 1) ** 2)
        torch.testing.assert_close(turned[here], d @ c[here], rtol=0, atol=1e-13)
        theirs = o3.Irrep(l, 1).D_from_matrix(cycled.float())
        torch.testing.assert_close(turned[here].float(), theirs @ c[here].float(), rtol=0, atol=1e-4)


def half(a, degree):
    """Coefficients of orders 0 ... as other libraries keep them, order by order."""
    return np.array([a[l * l + l + m] for m in range(degree + 1) for l in range(m, degree + 1)])


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
def test_ducc_has_the_same_functions(spin):
    """For spin s > 0 ducc's two maps and its E and B are ours by Q + iU = −Σ (E + iB) Y; spin −s takes the conjugates."""
    ducc0 = pytest.importorskip("ducc0")
    degree, shape = 6, (14, 16)
    draws = [torch.Generator().manual_seed(k) for k in (0, 1)]
    electric, magnetic = (from_real(torch.randn(49, dtype=torch.float64, generator=g)) for g in draws)
    electric[: spin * spin], magnetic[: spin * spin] = 0, 0
    parts = [electric] if spin == 0 else [electric, magnetic]
    packed = np.stack([half(p.numpy(), degree) for p in parts])
    maps = ducc0.sht.synthesis_2d(alm=packed, ntheta=14, nphi=16, lmax=degree, spin=spin, geometry="CC")
    sht = SpinSHT(shape, spin, dtype=torch.float64, degree=degree)
    a = electric if spin == 0 else -(electric + 1j * magnetic)
    ours = sht.inverse(a)
    np.testing.assert_allclose(ours.numpy(), maps[0] if spin == 0 else maps[0] + 1j * maps[1], atol=1e-13)
    if spin:
        other = SpinSHT(shape, -spin, dtype=torch.float64, degree=degree).inverse(electric - 1j * magnetic)
        np.testing.assert_allclose(other.numpy(), (-1) ** spin * (1j * maps[1] - maps[0]), atol=1e-13)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "theirs"), [("equiangular", "equiangular"), ("gauss", "legendre-gauss")])
def test_torch_harmonics_has_the_same_coefficients(kind, theirs):
    peer = pytest.importorskip("torch_harmonics")
    sht = SpinSHT((12, 24), 0, kind, dtype=torch.float64)
    transform = peer.RealSHT(12, 24, lmax=sht.degree + 1, mmax=sht.degree + 1, grid=theirs).double()
    x = torch.randn(12, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted, a = transform(x), sht(x)
    for l in range(sht.degree + 1):
        torch.testing.assert_close(a[l * l + l : (l + 1) ** 2], wanted[l, : l + 1], rtol=0, atol=1e-12)


def test_derivatives_compilation_and_precision():
    sht = SpinSHT(6, (0, 1), dtype=torch.float64)
    x = torch.randn(2, 6, 6, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(sht, (x,))
    assert torch.autograd.gradcheck(sht.inverse, (sht(x).detach().requires_grad_(),))
    compiled = torch.compile(sht, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), sht(x))
    again = SpinSHT(6, (0, 1)).double()  # tables are made anew, not widened
    assert torch.equal(again(x), sht(x))
    narrow = SpinSHT(6, (0, 1))
    assert narrow(x.detach().to(torch.complex64)).dtype == torch.complex64


def test_wrong_calls_say_what_to_do():
    for wrong in (
        lambda: SpinSHT(1),
        lambda: SpinSHT(8, grid="healpix"),
        lambda: SpinSHT(8, (1, 1)),
        lambda: SpinSHT(8, degree=9),
    ):
        with pytest.raises(ArgumentError):
            wrong()
    with pytest.raises(ArgumentError, match="samples"):
        SpinSHT(8)(torch.zeros(8, 9))
    with pytest.raises(DtypeError):
        SpinSHT(8)(torch.zeros(8, 8, dtype=torch.int64))
    with pytest.raises(ArgumentError):
        to_real(torch.zeros(5, dtype=torch.complex64))
