"""Spherical features against e3nn: harmonics, Wigner matrices, Gaunt products, aligned blocks as tensor products."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry.gaunt import METHODS, cheapest
from faltung.nn.symmetry.so3 import (
    align,
    bracket_table,
    coupling,
    gaunt_table,
    generators,
    quadrature,
    rotate,
    spherical_harmonics,
    wigner,
)

o3 = pytest.importorskip("e3nn.o3")
DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(seed=0):
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


def test_harmonics_are_e3nns():
    points = torch.nn.functional.normalize(drawn(50, 3), dim=1)
    wanted = o3.spherical_harmonics(list(range(12)), points, True, "integral")
    assert torch.allclose(spherical_harmonics(11, points), wanted, atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 6, 13])
def test_quadrature_is_exact(degree):
    points, weights = (torch.from_numpy(a) for a in quadrature(degree))
    values = spherical_harmonics(degree, points)
    wanted = torch.zeros((degree + 1) ** 2, dtype=DOUBLE)
    wanted[0] = math.sqrt(4 * math.pi)
    assert torch.allclose(weights @ values, wanted, atol=1e-12)
    beyond = spherical_harmonics(degree + 2, points)
    assert (weights @ beyond)[(degree + 1) ** 2 :].abs().max() > 1e-3  # and no further


def test_wigner_matrices_to_degree_12():
    """Orthogonal, a representation, and e3nn's as far as its tables go."""
    first, second = rotation(1), rotation(2)
    a, b, both = (wigner(12, r) for r in (first, second, first @ second))
    for l in range(13):
        assert torch.allclose(a[l] @ a[l].T, torch.eye(2 * l + 1, dtype=DOUBLE), atol=1e-12)
        assert torch.allclose(a[l] @ b[l], both[l], atol=1e-10)
        if l < 12:
            wanted = o3.Irrep(l, 1 if l % 2 == 0 else -1).D_from_matrix(first)
            assert torch.allclose(a[l], wanted.to(DOUBLE), atol=1e-5)  # e3nn's tables are kept in single precision


POLES = torch.tensor(
    [[0, 1, 0], [0, -1, 0], [1e-7, 1, 0], [1e-7, -1, -1e-7], [1, 0, 0], [0, 0, -2], [1, 1e-12, 1], [1, -1e-12, 1]], dtype=DOUBLE
)  # fmt: skip


def test_aligned_edges_point_to_the_pole():
    edges = torch.cat([POLES, drawn(50, 3)])
    found = align(edges)
    pole = torch.tensor([0.0, 1, 0], dtype=DOUBLE)
    unit = torch.nn.functional.normalize(edges, dim=1)
    assert torch.allclose(torch.einsum("eij,ej->ei", found, unit), pole.expand(len(edges), 3), atol=1e-14)
    assert torch.allclose(torch.linalg.det(found), torch.ones(len(edges), dtype=DOUBLE), atol=1e-14)
    assert align(torch.zeros(1, 3)).isfinite().all()


GAUNT = [
    ((1, 1, 0), 0.28209479), ((1, 1, 2), 0.25231325), ((2, 2, 2), 0.18022375), ((1, 2, 3), 0.24776669), ((2, 2, 4), 0.24179554),
    ((3, 3, 2), 0.16820883), ((1, 1, 1), 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("degrees", "wanted"), GAUNT)
def test_gaunt_coefficients_of_order_zero(degrees, wanted):
    table = gaunt_table(*degrees)
    assert table[tuple(l * l + l for l in degrees)] == pytest.approx(wanted, abs=6e-9)


def test_gaunt_coefficients_of_other_orders():
    """Complex ⟨1,1;1,−1;2,0⟩ and ⟨1,1;1,1;2,∓2⟩ in the real basis: (z² − x²)-like and y-like combinations."""
    table = gaunt_table(1, 1, 2)
    x, z, zero, two = 1, 3, 6, 8  # x, z of degree 1; m = 0 and m = 2 of degree 2
    assert abs(table[x, x, zero]) == pytest.approx(0.12615663, abs=5e-9)
    assert (table[z, z, two] - table[x, x, two]) / 2**0.5 == pytest.approx(0.30901936, abs=5e-9)


def test_numbers_of_paths():
    def paths(highest, even):
        each = range(highest + 1)
        triples = [(a, b, c) for a in each for b in each for c in each if abs(a - b) <= c <= a + b]
        return [t for t in triples if not even or sum(t) % 2 == 0]

    assert [len(paths(l, False)) for l in (1, 2, 3, 4, 6)] == [5, 15, 34, 65, 175]
    assert [len(paths(l, True)) for l in (1, 2, 3, 4, 6)] == [4, 11, 23, 42, 106]
    table = gaunt_table(3, 3, 3)
    at = [slice(l * l, (l + 1) ** 2) for l in range(4)]
    blocks = [(a, b, c) for a, b, c in paths(3, False) if abs(table[at[a], at[b], at[c]]).max() > 1e-9]
    assert blocks == paths(3, True)


def product(l1, l2, l3=None, method="auto", channels=2):
    return nn.GauntProduct(channels, l1, l2, l3, False, method, dtype=DOUBLE)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (1, 1, 2), (3, 3, 6), (4, 2, 3), (5, 5, 5)])
def test_all_forms_agree(degrees):
    l1, l2, l3 = degrees
    x, y = drawn(4, (l1 + 1) ** 2, 2), drawn(4, (l2 + 1) ** 2, 2, seed=1)
    found = {m: product(l1, l2, l3, m)(x, y) for m in METHODS[1 : 4 if l1 > 4 else 5]}
    for other in found:
        assert torch.allclose(found["grid"], found[other], atol=1e-12)
    low = {m: nn.GauntProduct(2, l1, l2, l3, False, m)(x.float(), y.float()) for m in found}
    for a in low.values():
        assert (a - found["dense"]).abs().max() <= 1e-5 * found["dense"].abs().max()


@given(l=st.integers(1, 4), seed=st.integers(0, 99), mirrored=st.booleans())
@settings(max_examples=15, deadline=None)
def test_products_turn_with_their_factors(l, seed, mirrored):
    """Rotations and reflections; commutative; Y₀ scales by 1 / √4π."""
    x, y = drawn(3, (l + 1) ** 2, 2, seed=seed), drawn(3, (l + 1) ** 2, 2, seed=seed + 1)
    d = wigner(2 * l, rotation(seed) * (-1 if mirrored else 1))
    layer = product(l, l)
    wanted = rotate(layer(x, y), d)
    assert torch.allclose(layer(rotate(x, d[: l + 1]), rotate(y, d[: l + 1])), wanted, atol=1e-11)
    assert torch.allclose(layer(x, y), layer(y, x), atol=1e-12)
    constant = torch.ones(3, 1, 2, dtype=DOUBLE)
    assert torch.allclose(product(l, 0, l)(x, constant), x / math.sqrt(4 * math.pi), atol=1e-12)


def test_products_of_degree_three_on_seven_by_thirteen_points():
    """The quadrature of 7 × 13 points gives every coefficient of a (3, 3) → 6 product: by e3nn's couplings."""
    x, y = drawn(1, 16, 1), drawn(1, 16, 1, seed=1)
    assert len(quadrature(12)[0]) == 7 * 13
    got = product(3, 3, 6, "grid", 1)(x, y)[0, :, 0]
    wanted = torch.zeros(49, dtype=DOUBLE)
    for a, b, c in paths_of(3, 6):
        if b > 3:
            continue
        zeros = o3.wigner_3j(a, b, c, dtype=DOUBLE)
        strength = math.sqrt((2 * a + 1) * (2 * b + 1) * (2 * c + 1) / (4 * math.pi)) * three_zeros(a, b, c)
        own, other = x[0, a * a : (a + 1) ** 2, 0], y[0, b * b : (b + 1) ** 2, 0]
        wanted[c * c : (c + 1) ** 2] += strength * torch.einsum("ijk,i,j->k", zeros, own, other)
    assert (got - wanted).abs().max() < 1e-6 * wanted.abs().max()  # e3nn's couplings are kept in single precision


def three_zeros(a, b, c):
    """|3j symbol (a b c; 0 0 0)|, by Racah's closed form; the sign is that of e3nn's coupling of the poles."""
    if (a + b + c) % 2:
        return 0.0
    g, f = (a + b + c) // 2, math.factorial
    root = math.sqrt(f(2 * g - 2 * a) * f(2 * g - 2 * b) * f(2 * g - 2 * c) / f(2 * g + 1))
    return root * f(g) / (f(g - a) * f(g - b) * f(g - c))


@pytest.mark.parametrize("method", ["grid", "separable", "dense"])
def test_odd_couplings_are_what_the_product_lacks(method):
    """Every path with an odd sum and no other; on degree 1 the cross product; antisymmetric; all of them turn, mirrors negate."""
    v, w = drawn(3, 3), drawn(3, 3, seed=1)
    x, y = (torch.cat([torch.zeros(3, 1, dtype=DOUBLE), u], 1)[..., None] for u in (v, w))
    layer = nn.GauntProduct(1, 1, 1, 1, False, method, dtype=DOUBLE, couplings="odd")
    wanted = math.sqrt(3 / (4 * math.pi)) * torch.linalg.cross(v, w)
    assert torch.allclose(layer(x, y)[:, 1:, 0], wanted, atol=1e-14)
    assert torch.allclose(layer(x, y)[:, 0], torch.zeros(3, 1, dtype=DOUBLE), atol=1e-14)
    layer = nn.GauntProduct(2, 3, 2, 4, False, method, dtype=DOUBLE, couplings="odd")
    x, y, r = drawn(2, 16, 2), drawn(2, 9, 2, seed=1), rotation(2)
    assert torch.allclose(
        nn.GauntProduct(2, 2, 3, 4, False, method, dtype=DOUBLE, couplings="odd")(y, x), -layer(x, y), atol=1e-13
    )
    for mirror in (1, -1):
        d = wigner(4, mirror * r)
        turned = layer(rotate(x, d[:4]), rotate(y, d[:3]))
        assert torch.allclose(turned, mirror * rotate(layer(x, y), d), atol=1e-12)
    both = nn.GauntProduct(2, 3, 2, 4, False, method, dtype=DOUBLE, couplings="all")(x, y)
    assert torch.allclose(
        both, layer(x, y) + nn.GauntProduct(2, 3, 2, 4, False, method, dtype=DOUBLE)(x, y), atol=1e-13
    )


def test_odd_paths_and_couplings_are_e3nns():
    table = bracket_table(6, 6, 6)
    at, each = [slice(l * l, (l + 1) ** 2) for l in range(7)], range(7)
    found = {(a, b, c) for a in each for b in each for c in each if abs(table[at[a], at[b], at[c]]).max() > 1e-9}
    wanted = {(a, b, c) for a in each for b in each for c in each if abs(a - b) <= c <= a + b and (a + b + c) % 2}
    assert found == wanted
    assert len(found) == 175 - 106
    for degrees in [(0, 2, 2), (1, 1, 1), (2, 3, 4), (3, 3, 6), (4, 2, 3), (5, 5, 5)]:
        theirs = o3.wigner_3j(*degrees, dtype=DOUBLE).numpy()
        assert abs(coupling(*degrees) - theirs).max() < 1e-6
    with pytest.raises(ArgumentError):
        coupling(1, 1, 3)


def test_small_turns_are_derivatives_of_wigner_matrices():
    axis, step = torch.tensor([0.2, -0.5, 0.8], dtype=DOUBLE), 1e-5
    x, y, z = axis
    skew = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=DOUBLE)
    ends = [torch.block_diag(*wigner(5, torch.linalg.matrix_exp(s * step * skew))) for s in (1, -1)]
    wanted = torch.einsum("i,iab->ab", axis, torch.from_numpy(generators(5)))
    assert torch.allclose((ends[0] - ends[1]) / (2 * step), wanted, atol=1e-8)


@pytest.mark.parametrize("weights", [True, "channels"])
def test_weights_are_numbers_or_matrices_for_each_degree(weights):
    layer = nn.GauntProduct(3, 2, 2, 2, weights, dtype=DOUBLE)
    assert layer.parameter_count() == (3 * 3 * 3 if weights is True else 3 * 3 * 9)
    x, y, d = drawn(2, 9, 3), drawn(2, 9, 3, seed=1), wigner(2, -rotation(4))
    for mix in layer.mixing:
        torch.nn.init.normal_(mix.weight)
    assert torch.allclose(layer(rotate(x, d), rotate(y, d)), rotate(layer(x, y), d), atol=1e-12)
    changed = y.clone()
    changed[..., 0] += 1
    moved = (layer(x, changed) - layer(x, y)).abs().amax((0, 1)) > 1e-9
    assert moved.tolist() == [True, weights == "channels", weights == "channels"]


@pytest.mark.parametrize("bodies", [1, 2, 4])
def test_powers_are_products_in_a_row(bodies):
    """With intermediate degrees whole, products one after the other; two factors with their own weights are no square."""
    layer = nn.GauntPower(2, 2, bodies, 3, False, dtype=DOUBLE)
    x = drawn(3, 9, 2)
    wanted = x
    for n in range(1, bodies):
        wanted = product(2 * n, 2)(wanted, x)
    wanted = torch.nn.functional.pad(wanted, (0, 0, 0, 7 if bodies == 1 else 0))[:, :16]
    assert torch.allclose(layer(x), wanted, atol=1e-12)


def test_three_bodies_in_any_bracketing():
    x, y, z = (drawn(2, 9, 1, seed=s) for s in range(3))
    two, left, right = product(2, 2, channels=1), product(4, 2, 6, channels=1), product(2, 4, 6, channels=1)
    assert torch.allclose(left(two(x, y), z), right(x, two(y, z)), atol=1e-12)


def test_the_method_follows_the_degree():
    assert cheapest(0, 0, 0) == "dense"
    assert cheapest(4, 4, 4) == "grid"
    assert cheapest(30, 30, 30) == "separable"


def paths_of(l_in, l_out):
    return [(i, f, o) for i in range(l_in + 1) for o in range(l_out + 1) for f in range(abs(i - o), i + o + 1)]


def test_blocks_are_the_dense_tensor_product():
    """All orders mixed: equal to e3nn's couplings of x with harmonics of the edge; see `test_escn` for our own, more precisely."""
    l_in, l_out = 3, 2
    layer, paths = nn.SO2Conv(1, 1, l_in, l_out, dtype=DOUBLE), paths_of(l_in, l_out)
    h = drawn(len(paths))
    layer.take_paths(h[:, None, None])
    x, edge = drawn(len(POLES) + 6, 16, 1), torch.cat([POLES, drawn(6, 3)])
    y = spherical_harmonics(l_in + l_out, torch.nn.functional.normalize(edge, dim=1))
    wanted = torch.zeros(len(x), 9, dtype=DOUBLE)
    for (i, f, o), weight in zip(paths, h, strict=True):
        coupled = o3.wigner_3j(i, f, o, dtype=DOUBLE)
        own, around = x[:, i * i : (i + 1) ** 2, 0], y[:, f * f : (f + 1) ** 2]
        wanted[:, o * o : (o + 1) ** 2] += weight * torch.einsum("abc,ea,eb->ec", coupled, own, around)
    got = layer(x, edge)[..., 0]
    assert (got - wanted).abs().max() < 1e-6 * wanted.abs().max()  # e3nn's couplings are kept in single precision


def test_counts_of_l6():
    layer = nn.SO2Conv(1, 1, 6, 6, 2)
    assert layer.parameter_count() == 171
    assert len(layer._stacked()) == 29
    assert nn.SO2Conv(1, 1, 6, 6).parameter_count() == 231


@pytest.mark.parametrize("highest", [0, 1, 3])
def test_convolution_turns_with_edge_and_features(highest):
    layer = nn.SO2Conv(2, 3, 3, 3, highest, bias=True, dtype=DOUBLE)
    with torch.no_grad():
        layer.bias.normal_()
    x, edge = drawn(len(POLES) + 5, 16, 2), torch.cat([POLES, drawn(5, 3)])
    r = rotation(5)
    d = wigner(3, r)
    got, wanted = layer(rotate(x, d), edge @ r.T), rotate(layer(x, edge), d)
    assert torch.allclose(got, wanted, atol=1e-10)
    order = torch.randperm(len(x))
    assert torch.equal(layer(x, edge)[order].isfinite(), torch.ones_like(wanted, dtype=torch.bool))
    assert torch.allclose(layer(x[order], edge[order]), layer(x, edge)[order], atol=1e-12)


def test_a_mix_that_is_no_block_is_not_equivariant():
    """The check above finds a wrong map: the sign of B turned around."""
    layer = nn.SO2Conv(1, 1, 2, 2, dtype=DOUBLE)
    x, edge, r = drawn(4, 9, 1), drawn(4, 3, seed=1), rotation(3)
    d = wigner(2, r)
    right = layer.mix

    def wrong(x, frame, scalars=None):
        y = right(x, frame, scalars).clone()
        y[:, 1] *= -1
        return y

    layer.mix = wrong
    assert not torch.allclose(layer(rotate(x, d), edge @ r.T), rotate(layer(x, edge), d), atol=1e-3)


def test_derivatives_at_the_poles_are_those_of_differences():
    layer = nn.SO2Conv(1, 1, 2, 2, dtype=DOUBLE)
    x = drawn(len(POLES), 9, 1)
    edge = POLES.clone().requires_grad_()
    weights = drawn(9, 1, seed=4)

    def value(e):
        return (layer(x, e) * weights).sum()

    (slope,) = torch.autograd.grad(value(edge), edge)
    for axis in range(3):
        step = torch.zeros(3, dtype=DOUBLE)
        step[axis] = 1e-5
        difference = torch.stack([((layer(x, POLES + step) - layer(x, POLES - step)) * weights).sum((1, 2)) / 2e-5])[0]
        assert torch.allclose(slope[:, axis], difference, atol=1e-7)


def test_wrong_shapes_are_refused():
    with pytest.raises(ArgumentError):
        nn.SO2Conv(1, 1, 2, 2)(torch.zeros(3, 9, 1), torch.zeros(2, 3))
    with pytest.raises(ArgumentError):
        nn.GauntProduct(1, 1, 1)(torch.zeros(3, 4, 1), torch.zeros(2, 4, 1))
    with pytest.raises(ArgumentError):
        nn.GauntProduct(1, 1, 1, method="fourier", couplings="odd")
    with pytest.raises(ArgumentError):
        nn.GauntPower(1, 2, weights="both")
    with pytest.raises(ArgumentError):
        nn.GauntPower(1, 2)(torch.zeros(3, 9, 2))
