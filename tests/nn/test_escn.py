"""Messages along edges: equal to tensor products with harmonics, path by path; turned, mirrored and permuted with the points."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry import tensor_product_with_sh
from faltung.nn.symmetry.edge_product import harmonic_paths, path_blocks
from faltung.nn.symmetry.so3 import rotate, wigner

DOUBLE = torch.float64
POLES = torch.tensor([[0, 1, 0], [0, -2, 0], [1e-7, 1, 0], [1e-7, -1, -1e-7], [1, 0, 0]], dtype=DOUBLE)


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def orthogonal(seed, mirrored):
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q) * (-1 if mirrored else 1)


def stirred(layer):
    """The layer with nothing left at the zeros it starts from."""
    with torch.no_grad():
        for n, p in enumerate(layer.parameters()):
            p.add_(0.3 * drawn(*p.shape, seed=n).to(p))
    return layer


def clebsch_gordan(i, f, o, m):
    """⟨i m; f 0 | o m⟩ of Condon and Shortley, by Racah's sum."""
    g = math.factorial
    if not abs(i - f) <= o <= i + f or abs(m) > min(i, o):
        return 0.0
    front = (2 * o + 1) * g(o + i - f) * g(o - i + f) * g(i + f - o) / g(i + f + o + 1)
    front *= g(o + m) * g(o - m) * g(i - m) * g(i + m) * g(f) ** 2
    total = 0.0
    for k in range(i + f - o + 1):
        terms = (k, i + f - o - k, i - m - k, f - k, o - f + m + k, o - i + k)
        if min(terms) >= 0:
            total += (-1) ** k / math.prod(g(t) for t in terms)
    return math.sqrt(front) * total


def our_coefficient(i, f, o, m):
    """The number of a path at an order, of norm and sign of Clebsch and Gordan: m below 0 by A = A and −B of m above it."""
    n, odd = harmonic_paths(i, o).index((i, f, o)), (i + f + o) % 2
    number = path_blocks(i, o, abs(m))[n, odd, o - abs(m), i - abs(m)]
    number = number * (-1 if odd and m < 0 else 1) * math.sqrt(4 * math.pi * (2 * o + 1) / (2 * f + 1))
    return number * (-1.0) ** (i - f + (i + f + o) // 2)


def test_clebsch_gordan_is_known():
    root = 0.5**0.5
    assert [clebsch_gordan(1, 0, 1, m) for m in (-1, 0, 1)] == pytest.approx([1, 1, 1])
    assert [clebsch_gordan(1, 1, 1, m) for m in (-1, 0, 1)] == pytest.approx([-root, 0, root])
    assert [clebsch_gordan(1, 2, 1, m) for m in (-1, 0, 1)] == pytest.approx([0.31622777, -0.63245553, 0.31622777])
    assert clebsch_gordan(2, 1, 1, 1) == pytest.approx(-(0.3**0.5))


@pytest.mark.parametrize(("i", "o"), [(1, 1), (2, 1), (2, 3), (4, 4), (0, 3), (6, 5)])
def test_aligned_blocks_are_clebsch_gordan_coefficients_with_their_signs(i, o):
    for f in range(abs(i - o), i + o + 1):
        for m in range(-min(i, o), min(i, o) + 1):
            assert our_coefficient(i, f, o, m) == pytest.approx(clebsch_gordan(i, f, o, m), abs=1e-12)


@pytest.mark.parametrize(
    ("f", "wanted"), [(0, (1, 1, 1)), (1, (-(0.5**0.5), 0, 0.5**0.5)), (2, (0.31622777, -0.63245553, 0.31622777))]
)
def test_known_aligned_blocks(f, wanted):
    assert [our_coefficient(1, f, 1, m) for m in (-1, 0, 1)] == pytest.approx(wanted, abs=6e-9)


@settings(max_examples=25, deadline=None)
@given(l_in=st.integers(0, 4), l_out=st.integers(0, 4), each=st.booleans(), seed=st.integers(0, 99))
def test_both_ways_are_the_tensor_product(l_in, l_out, each, seed):
    """float64 to 1e-12, float32 to 1e-6 of the largest result; edges at the poles and close to them too."""
    edge = torch.cat([POLES, drawn(6, 3, seed=seed)])
    x, paths = drawn(len(edge), (l_in + 1) ** 2, 3, seed=seed + 1), len(harmonic_paths(l_in, l_out))
    h = drawn(paths, 3, seed=seed + 2) if each else drawn(paths, seed=seed + 2)
    wanted = tensor_product_with_sh(x, edge, l_out, h, "cg")
    got = tensor_product_with_sh(x, edge, l_out, h)
    assert (got - wanted).abs().max() <= 1e-12 * wanted.abs().max()
    for path in ("aligned", "cg"):
        single = tensor_product_with_sh(x.float(), edge.float(), l_out, h.float(), path)
        assert (single - wanted).abs().max() <= 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("path", ["aligned", "cg"])
def test_degree_one_by_hand(path):
    """Scalars times a vector, scalar and cross products, whose norms are those of couplings of norm 1."""
    x = torch.cat([torch.zeros(4, 1, 1, dtype=DOUBLE), drawn(4, 3, 1)], 1)
    edge = torch.nn.functional.normalize(drawn(4, 3, seed=1), dim=1)
    paths = harmonic_paths(1, 1)
    one = math.sqrt(3 / (4 * math.pi))
    for path_, wanted, at in (
        ((1, 1, 0), one / 3**0.5 * (x[:, 1:, 0] * edge).sum(1, keepdim=True), slice(0, 1)),
        ((1, 0, 1), x[:, 1:, 0] / math.sqrt(4 * math.pi * 3), slice(1, 4)),
        ((1, 1, 1), one / 6**0.5 * torch.linalg.cross(x[:, 1:, 0], edge), slice(1, 4)),
    ):
        h = torch.tensor([float(p == path_) for p in paths], dtype=DOUBLE)
        got = tensor_product_with_sh(x, edge, 1, h, path)[..., 0]
        assert torch.allclose(got[:, at], wanted, atol=1e-14)
        assert torch.allclose(got.square().sum(1), wanted.square().sum(1), atol=1e-14)


@pytest.mark.parametrize("mirrors", [False, True])
@pytest.mark.parametrize(("l_in", "l_out"), [(3, 2), (2, 4), (0, 2)])
def test_blocks_of_paths_are_the_tensor_product(l_in, l_out, mirrors):
    """A layer set to paths, with its mixing of channels: float64 to 1e-12, float32 to 1e-6."""
    layer = nn.SO2Conv(2, 3, l_in, l_out, mirrors=mirrors, dtype=DOUBLE)
    paths, every = harmonic_paths(l_in, l_out, mirrors), harmonic_paths(l_in, l_out)
    h = drawn(len(paths), 3, 2)
    layer.take_paths(h)
    edge = torch.cat([POLES, drawn(6, 3, seed=1)])
    x = drawn(len(edge), (l_in + 1) ** 2, 2, seed=2)
    wanted = torch.zeros(len(edge), (l_out + 1) ** 2, 3, dtype=DOUBLE)
    for out in range(3):
        each = torch.zeros(len(every), 2, dtype=DOUBLE)
        each[[every.index(p) for p in paths]] = h[:, out]
        wanted[..., out] = tensor_product_with_sh(x, edge, l_out, each, "cg").sum(2)
    assert (layer(x, edge) - wanted).abs().max() < 1e-12 * wanted.abs().max()
    assert (layer.float()(x.float(), edge.float()) - wanted).abs().max() < 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("highest", [0, 1, 2, 3])
def test_orders_left_out_before_the_rotation_are_those_left_out_within(highest):
    """Rows of the rotations that no block reads are not computed, and the results are the same."""
    layer = stirred(nn.SO2Conv(2, 3, 3, 4, highest, True, dtype=DOUBLE))
    edge = torch.cat([POLES, drawn(6, 3, seed=1)])
    x, frame = drawn(len(edge), 16, 2, seed=2), layer.frame(edge)
    whole = rotate(layer.within(rotate(x, frame[:4])), frame, back=True)
    assert torch.allclose(layer.mix(x, frame), whole, atol=1e-13)
    shapes = [tuple(d.shape[1:]) for d in layer._rows(frame, 4)]
    assert shapes == [(2 * min(k, highest) + 1, 2 * k + 1) for k in range(5)]


def graph(points, count, seed=0):
    """Senders and receivers, and vectors between them: those of positions, the last one 0 for an edge to itself."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(points, (2, count), generator=generator)
    edges[:, -1] = 0
    places = drawn(points, 3, seed=seed + 1)
    return edges, places[edges[0]] - places[edges[1]]


@settings(max_examples=25, deadline=None)
@given(
    l_in=st.integers(0, 3), l_out=st.integers(0, 3), highest=st.integers(0, 3), mirrored=st.booleans(),
    receivers=st.booleans(), edge_dim=st.sampled_from([None, 3]), seed=st.integers(0, 99),
)  # fmt: skip
def test_messages_turn_with_the_points(l_in, l_out, highest, mirrored, receivers, edge_dim, seed):
    """Any rotation, and with `mirrors` any mirror; permuted points; scalars stay what they are."""
    layer = stirred(
        nn.ESCNConv(2, 3, l_in, l_out, highest, True, edge_dim, 4, receivers, 2.0, mirrors=mirrored, dtype=DOUBLE)
    )
    edges, vectors = graph(5, 12, seed)
    x, scalars = drawn(5, (l_in + 1) ** 2, 2, seed=seed + 2), drawn(12, 3, seed=seed + 3) if edge_dim else None
    for mirror in {False, mirrored}:
        r = orthogonal(seed, mirror)
        d = wigner(max(l_in, l_out), r)
        got = layer(rotate(x, d[: l_in + 1]), vectors @ r.T, scalars, edges)
        wanted = layer(x, vectors, scalars, edges)
        assert torch.allclose(got, rotate(wanted, d[: l_out + 1]), atol=1e-10)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    moved = layer(x[order.argsort()], vectors, scalars, order[edges])
    assert torch.allclose(moved[order], wanted, atol=1e-12)


def test_mirrors_are_broken_without_the_word():
    """And by nothing else than B: the check sees it."""
    edges, vectors = graph(5, 12)
    x, r = drawn(5, 9, 2), orthogonal(1, True)
    d = wigner(2, r)

    def gap(layer):
        off = layer(rotate(x, d), vectors @ r.T, None, edges) - rotate(layer(x, vectors, None, edges), d)
        return off.detach().abs().max()

    assert gap(nn.ESCNConv(2, 3, 2, 2, dtype=DOUBLE)) > 1e-2
    assert gap(nn.ESCNConv(2, 3, 2, 2, mirrors=True, dtype=DOUBLE)) < 1e-12


def test_lists_of_edges_and_whole_clouds_agree():
    """Every pair of a cloud; edges of length 0, as those of points to themselves, send nothing."""
    layer = stirred(nn.ESCNConv(2, 3, 2, 1, edge_dim=3, hidden=4, bias=True, dtype=DOUBLE))
    x, places, scalars = drawn(2, 4, 9, 2), drawn(2, 4, 3, seed=1), drawn(2, 4, 4, 3, seed=2)
    whole = layer(x, places[:, None] - places[:, :, None], scalars)
    i, j = (a.flatten() for a in torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
    apart = i != j
    edges = torch.stack([j, i])[:, apart]
    for n in range(2):
        one = layer(x[n], (places[n, j] - places[n, i])[apart], scalars[n, i, j][apart], edges)
        assert torch.allclose(one, whole[n], atol=1e-13)


def test_activations_keep_turns_as_well_as_their_grid_does():
    """Along the edges "square" on the usual grid is exact; "silu" is off by less the finer the grid."""
    edges, vectors = graph(5, 12)
    x, r = drawn(5, 25, 2), orthogonal(1, False)
    d = wigner(4, r)

    def gap(**settings):
        torch.manual_seed(0)
        layer = nn.ESCNConv(2, 3, 4, 4, 2, dtype=DOUBLE, **settings)
        wanted = rotate(layer(x, vectors, None, edges), d)
        off = layer(rotate(x, d), vectors @ r.T, None, edges) - wanted
        return float((off.norm() / wanted.norm()).detach())

    assert gap(activation="square") < 1e-12
    found = [gap(activation="silu", grid=(10, n)) for n in (5, 12, 24)]
    assert found[0] > 0.03 > 1e-2 > found[1] > 10 * found[2]


def test_derivatives_are_those_of_differences():
    layer = stirred(nn.ESCNConv(1, 2, 1, 2, edge_dim=2, hidden=3, activation="tanh", dtype=DOUBLE))
    edges, vectors = torch.tensor([[0, 1, 2, 1], [1, 0, 1, 2]]), drawn(4, 3)
    vectors[0] = POLES[1]
    inputs = [drawn(3, 4, 1), vectors, drawn(4, 2, seed=2)]
    torch.autograd.gradcheck(lambda *a: layer(*a, edges), [a.requires_grad_() for a in inputs])
    still = torch.zeros(4, 3, dtype=DOUBLE, requires_grad=True)
    layer(inputs[0], still, inputs[2], edges).sum().backward()
    assert still.grad.abs().max() == 0  # finite where there is no direction


def test_what_does_not_fit_is_refused():
    x, edges, layer = torch.zeros(3, 4, 1), torch.zeros(2, 5, dtype=torch.int64), nn.ESCNConv(1, 1, 1, 1)
    for call in (
        lambda: layer(x, torch.zeros(4, 3), None, edges), lambda: layer(x, torch.zeros(5, 3), None, edges + 3),
        lambda: layer(x, torch.zeros(5, 3), None, edges.int()), lambda: layer(x, torch.zeros(5, 3), torch.zeros(5, 1), edges),
        lambda: layer(x[None], torch.zeros(1, 3, 2, 3)), lambda: nn.ESCNConv(1, 1, 1, 1, neighbours=0),
        lambda: nn.ESCNConv(1, 1, 1, 1, grid=(4, 4)), lambda: nn.SO2Conv(1, 1, 1, 1).take_paths(torch.zeros(5, 1, 1)),
        lambda: nn.ESCNConv(1, 1, 1, 1, edge_dim=2)(x[None], torch.zeros(1, 3, 3, 3), torch.zeros(1, 3, 2, 2)),
        lambda: tensor_product_with_sh(x, torch.zeros(2, 3)), lambda: tensor_product_with_sh(x, torch.ones(3, 3), path="x"),
        lambda: tensor_product_with_sh(x, torch.ones(3, 3), weights=torch.ones(4)),
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            call()


def test_other_kinds_of_inputs_are_refused_in_the_callers_terms():
    x, vectors, edges = torch.zeros(3, 4, 1), torch.ones(2, 3), torch.tensor([[0, 1], [1, 2]])
    plain, told = nn.ESCNConv(1, 1, 1, 1), nn.ESCNConv(1, 1, 1, 1, edge_dim=2, hidden=3)
    for layer, inputs, word in (
        (plain, (x, vectors, None, [[0, 1], [1, 2]]), r"edges \(2, count\) of int64"),
        (plain, (x, [[1.0, 0.0, 0.0]] * 2, None, edges), "vectors as a tensor"),
        (plain, (x, vectors.long(), None, edges), "vectors as a tensor"),
        (plain, (x, vectors, torch.zeros(2, 2), edges), "no scalars"),
        (told, (x, vectors, None, edges), r"scalars \(2, 2\)"),
        (told, (x, vectors, [[0.0, 0.0]] * 2, edges), r"scalars \(2, 2\)"),
        (told, (x[None], torch.ones(1, 3, 3, 3), [0.0]), r"scalars \(1, 3, 3, 2\)"),
    ):
        with pytest.raises(ArgumentError, match=f"ESCNConv: expected {word}"):
            layer(*inputs)
