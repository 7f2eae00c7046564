"""Hypercomplex layers: the algebras and their products, and what a kernel of an algebra must do."""

import itertools

import pytest
import torch

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import PHConv, PHConv2d, PHConvTranspose, PHLinear
from faltung.nn.algebraic.structure import of_tensor, structure
from faltung.nn.functional import conv

NAMED = [
    ("real", 1),
    ("complex", 2),
    ("quaternion", 4),
    ("octonion", 8),
    ("dyadic", 16),
    ("Cl(2,0)", 4),
    ("Cl(1,2)", 8),
]
NAMED += [("cyclic", n) for n in range(1, 9)]
HAMILTON = [
    torch.eye(4),
    torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]]),
    torch.tensor([[0.0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]]),
    torch.tensor([[0.0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]),
]


def hamilton(a, b):
    """The product of quaternions along axis 1, as Hamilton wrote it."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = a.unbind(1), b.unbind(1)
    return torch.stack([
        a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3, a0 * b1 + a1 * b0 + a2 * b3 - a3 * b2,
        a0 * b2 - a1 * b3 + a2 * b0 + a3 * b1, a0 * b3 + a1 * b2 - a2 * b1 + a3 * b0,
    ], 1)  # fmt: skip


@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize(("name", "n"), NAMED)
def test_the_algorithm_computes_the_table(name, n, field):
    found = structure(name, n, field)
    made = torch.einsum("pr,ri,rq->ipq", found.out, found.left, found.right)
    torch.testing.assert_close(made, found.table.to(made), rtol=0, atol=1e-14)
    assert found.rank == len(found.left) == len(found.right)


def test_products_saved():
    ranks = {(name, n): structure(name, n).rank for name, n in NAMED}
    assert [ranks["complex", 2], ranks["quaternion", 4], ranks["octonion", 8], ranks["dyadic", 16]] == [3, 8, 30, 16]
    assert [ranks["cyclic", n] for n in range(1, 9)] == [2 * n - n // 2 - 1 for n in range(1, 9)]
    assert [structure("cyclic", n, "complex").rank for n in range(1, 9)] == list(range(1, 9))
    assert structure("complex", 2, "complex").rank == 2


def test_the_quaternions_are_hamiltons():
    torch.testing.assert_close(structure("quaternion", 4).table, torch.stack(HAMILTON).double(), rtol=0, atol=0)
    a, b = torch.randn(2, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(structure("quaternion", 4).multiply(a, b), hamilton(a, b))


@pytest.mark.parametrize("name", ["real", "complex", "quaternion", "octonion"])
def test_norms_multiply_in_the_division_algebras(name):
    n = dict(NAMED)[name]
    a, b = torch.randn(2, 50, n, dtype=torch.float64)
    torch.testing.assert_close(structure(name, n).multiply(a, b).norm(dim=1), a.norm(dim=1) * b.norm(dim=1))


@pytest.mark.parametrize("signature", [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (0, 3)])
def test_clifford_algebras_keep_their_relations(signature):
    """e_a² = ±1, units anticommute, products associate."""
    p, q = signature
    n = 2 ** (p + q)
    algebra, unit = structure(f"Cl({p},{q})", n), torch.eye(n, dtype=torch.float64)
    for a, b in itertools.product(range(p + q), repeat=2):
        forth, back = algebra.multiply(unit[1 << a], unit[1 << b]), algebra.multiply(unit[1 << b], unit[1 << a])
        wanted = 2 * unit[0] * (1 if a < p else -1) if a == b else 0 * unit[0]
        torch.testing.assert_close(forth + back, wanted, rtol=0, atol=0)
    x, y, z = torch.randn(3, 20, n, dtype=torch.float64)
    torch.testing.assert_close(algebra.multiply(algebra.multiply(x, y), z), algebra.multiply(x, algebra.multiply(y, z)))


def test_octonions_alternate_and_do_not_associate():
    algebra = structure("octonion", 8)
    x, y, z = torch.randn(3, 20, 8, dtype=torch.float64)
    times = algebra.multiply
    torch.testing.assert_close(times(times(x, x), y), times(x, times(x, y)))
    torch.testing.assert_close(times(times(y, x), x), times(y, times(x, x)))
    assert (times(times(x, y), z) - times(x, times(y, z))).abs().max() > 0.1


def test_cyclic_is_circular_convolution():
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    wanted = torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b), 5)
    torch.testing.assert_close(structure("cyclic", 5).multiply(a, b), wanted)


@pytest.mark.parametrize(("n", "count"), [(1, 36_929), (2, 18_504), (4, 9_344)])
def test_parameters_of_a_learnt_algebra(n, count):
    assert sum(p.numel() for p in PHConv2d(n, 64, 64, 3).parameters()) == count


@pytest.mark.parametrize("method", ["dense", "products"])
def test_one_tap_of_quaternions_is_the_hamilton_product(method):
    layer = PHConv(2, 4, 4, 4, 1, bias=False, algebra="quaternion", method=method, dtype=torch.float64)
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64)
    q = layer.filters.detach().reshape(1, 4, 1, 1)
    torch.testing.assert_close(layer(x), hamilton(q, x))
    torch.testing.assert_close(layer(x).norm(dim=1), q.norm() * x.norm(dim=1))


@pytest.mark.parametrize("method", ["dense", "products"])
def test_quaternion_layer_is_real_layers_in_hamiltons_order(method):
    layer = PHConv(2, 4, 8, 12, 3, padding=1, bias=False, algebra="quaternion", method=method, dtype=torch.float64)
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    r, i, j, k = (lambda part, f=f: torch.nn.functional.conv2d(part, f, padding=1) for f in layer.filters)
    a, b, c, d = x.chunk(4, 1)
    wanted = torch.cat([
        r(a) - i(b) - j(c) - k(d), r(b) + i(a) + j(d) - k(c), r(c) - i(d) + j(a) + k(b), r(d) + i(c) - j(b) + k(a)
    ], 1)  # fmt: skip
    torch.testing.assert_close(layer(x), wanted)


def test_one_component_is_the_plain_layer():
    layer = PHConv(2, 1, 3, 5, 3, algebra="real", groups=1, padding="same", padding_mode="reflect")
    x = torch.randn(2, 3, 6, 6)
    wanted = conv(x, layer.filters[0], layer.bias, padding="same", padding_mode="reflect")
    torch.testing.assert_close(layer(x), wanted)


def test_groups_are_layers_side_by_side():
    layer = PHConv(2, 2, 8, 12, 3, groups=2, bias=False, dilation=2, dtype=torch.float64)
    x = torch.randn(1, 8, 7, 7, dtype=torch.float64)
    for part, (piece, filters) in enumerate(zip(x.chunk(2, 1), layer.filters.chunk(2, 1), strict=True)):
        alone = PHConv(2, 2, 4, 6, 3, bias=False, dilation=2, dtype=torch.float64)
        alone.load_state_dict({"rule": layer.rule, "filters": filters})
        torch.testing.assert_close(layer(x).chunk(2, 1)[part], alone(piece))


SETTINGS = [
    ("complex", 2, {"groups": 2, "stride": 2}),
    ("quaternion", 4, {"dilation": 2, "padding": 2}),
    ("octonion", 8, {"padding_mode": "circular", "padding": 1}),
    ("cyclic", 4, {"padding_mode": "reflect", "padding": 1, "groups": 2}),
    ("dyadic", 8, {}),
]


@pytest.mark.parametrize("kind", [PHConv, PHConvTranspose])
@pytest.mark.parametrize(("algebra", "n", "options"), SETTINGS)
def test_products_and_dense_kernels_agree(kind, algebra, n, options):
    made = [
        kind(2, n, 16, 16, 3, algebra=algebra, method=m, dtype=torch.float64, **options) for m in ("dense", "products")
    ]
    made[1].load_state_dict(made[0].state_dict())
    x = torch.randn(2, 16, 6, 7, dtype=torch.float64)
    (dense, by), grads = [layer(x) for layer in made], []
    torch.testing.assert_close(by, dense)
    for layer in made:
        layer(x).square().sum().backward()
        grads.append([p.grad for p in layer.parameters()])
    torch.testing.assert_close(grads[1], grads[0])


def test_the_choice_follows_the_planner():
    """A tiny layer is not worth the way by products, a wide one of few products is; both choices give the same."""
    tiny = PHConv2d(2, 2, 2, 3, algebra="complex")
    wide = PHConv2d(8, 256, 256, 3, algebra="dyadic", padding=1)
    assert not tiny._by_products(torch.randn(1, 2, 4, 4))
    x = torch.randn(1, 256, 8, 8)
    assert wide._by_products(x)
    assert not PHConv2d(8, 256, 256, 3)._by_products(x)
    torch.testing.assert_close(wide(x), conv(x, wide.kernel(), wide.bias, padding=1), rtol=1e-4, atol=1e-5)


def test_the_transpose_multiplies_from_the_left():
    layer = PHConvTranspose(1, 4, 4, 4, 1, bias=False, algebra="quaternion", dtype=torch.float64)
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), hamilton(layer.filters.detach().reshape(1, 4, 1), x))
    frozen = layer.freeze()
    assert type(frozen) is torch.nn.ConvTranspose1d
    torch.testing.assert_close(frozen(x), layer(x))


def test_hamilton_is_fitted_from_data():
    """The map x -> q x of one quaternion, by a linear layer whose algebra is learnt."""
    torch.manual_seed(0)
    q, x = torch.randn(1, 4), torch.randn(256, 4)
    wanted, layer = hamilton(q, x), PHLinear(4, 4, 4)
    steps = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        steps.zero_grad()
        loss = (layer(x) - wanted).square().mean()
        loss.backward()
        return loss

    steps.step(closure)
    assert closure() < 1e-6
    torch.testing.assert_close(layer.map.kernel().squeeze(-1) @ x.T, wanted.T, rtol=0, atol=1e-2)


def test_the_rule_is_learnt_from_products_of_many_quaternions():
    """Where the filters vary, the data leave the rule no choice: it becomes Hamilton's table."""
    torch.manual_seed(0)
    filters, x = torch.randn(2, 500, 4)
    layer = PHLinear(4, 4, 4, bias=False)
    rule = layer.map.rule
    steps = torch.optim.Adam([rule], lr=0.05)
    for _ in range(300):
        loss = (torch.einsum("ipq,bi,bq->bp", rule, filters, x) - hamilton(filters, x)).square().mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert loss < 1e-6
    torch.testing.assert_close(rule.detach(), torch.stack(HAMILTON), rtol=0, atol=1e-2)


@pytest.mark.parametrize("kind", [PHConv, PHConvTranspose])
def test_projection_keeps_what_is_of_the_algebra_and_is_nearest(kind):
    layer = kind(2, 4, 8, 16, 3, groups=2, algebra="quaternion", dtype=torch.float64)
    before = layer.kernel().detach()
    layer.project_algebra("quaternion")
    torch.testing.assert_close(layer.kernel().detach(), before)

    free = kind(2, 4, 8, 16, 3, groups=2, dtype=torch.float64)
    wanted = free.kernel().detach()
    free.project_algebra("quaternion")
    assert free.learns_algebra
    torch.testing.assert_close(free.rule.detach(), torch.stack(HAMILTON).double())
    # The residual is orthogonal to every kernel of the algebra.
    residual = wanted - free.kernel().detach()
    other = kind(2, 4, 8, 16, 3, groups=2, algebra="quaternion", dtype=torch.float64)
    assert (residual * other.kernel()).sum().abs() < 1e-10
    assert residual.norm() > 0.1


def test_projection_of_a_fixed_algebra_replaces_it():
    layer = PHConv2d(4, 8, 8, 3, algebra="quaternion", method="products")
    layer.project_algebra("dyadic")
    assert "algebra='dyadic'" in repr(layer)
    x = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(layer(x), conv(x, layer.definition_kernel(), layer.bias), rtol=1e-4, atol=1e-5)


def test_initial_kernel_has_glorots_variance():
    torch.manual_seed(0)
    for algebra in ("learned", "quaternion"):
        found = torch.stack([PHConv2d(4, 64, 32, 3, algebra=algebra).kernel().detach().var() for _ in range(20)])
        assert abs(found.mean() / (2 / (9 * (64 + 32))) - 1) < 0.1


def test_wrong_calls_say_what_is_wrong():
    for arguments, words in (
        ((2, 3, 4, 6, 3), "n = 3 divides"),
        ((2, 0, 4, 4, 3), "n: expected"),
    ):
        with pytest.raises(ArgumentError, match=words):
            PHConv(*arguments)
    with pytest.raises(ArgumentError, match="learned', quaternion"):
        PHConv2d(4, 8, 8, 3, algebra="complex")
    with pytest.raises(ArgumentError, match="4 components"):
        PHConv2d(2, 8, 8, 3, algebra="Cl(1,1)")
    with pytest.raises(ArgumentError, match="products"):
        PHConv2d(2, 8, 8, 3, method="products")
    with pytest.raises(ArgumentError, match=r"shape \(2, 2, 2\)"):
        of_tensor(torch.zeros(2, 2), 2)
    with pytest.raises(ArgumentError, match="name or numbers"):
        of_tensor(object(), 2)
    with pytest.raises(DtypeError, match="real numbers"):
        PHConv2d(2, 4, 4, 3, algebra=torch.zeros(2, 2, 2, dtype=torch.complex64))
    with pytest.raises(ArgumentError, match=r"\(\*, 8\)"):
        PHLinear(2, 8, 8)(torch.zeros(3, 4))
