"""Projections onto equivariant weights: reference numbers, their laws, penalties, softening, strengths that find a symmetry."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import nn as ours
from faltung.certify import equivariance
from faltung.errors import ArgumentError
from faltung.nn.symmetry import act, grid_group
from faltung.tools import AutoStrength, GridGroup, LinearGroup, soften, symmetric_share, symmetry_penalty

GROUPS = ("C1", "C2", "C4", "D1", "D2", "D4")


def turn(angle):
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)


def generator(a, b):
    found = torch.zeros(3, 3, dtype=torch.float64)
    found[a, b], found[b, a] = -1, 1
    return found


def test_reference_numbers():
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 0, 1] = 1
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.weight = nn.Parameter(kernel)
    assert symmetry_penalty(layer, {"C4": GridGroup("C4")})["C4"].item() == 0.375
    quarter = [(torch.matrix_power(torch.tensor([[0.0, -1.0], [1.0, 0.0]]), k),) * 2 for k in range(4)]
    linear = nn.Linear(2, 2, bias=False)
    linear.weight = nn.Parameter(torch.diag(torch.tensor([1.0, -1.0])))
    assert LinearGroup(quarter).project(linear.weight).abs().max() == 0
    assert symmetry_penalty(linear, {"C4": LinearGroup(quarter)})["C4"].item() == 1


@pytest.mark.parametrize(("k", "c4", "d4"), [(1, 1, 1), (3, 3, 3), (5, 7, 6), (7, 13, 10)])
def test_dimensions_of_invariant_kernels(k, c4, d4):
    units = torch.eye(k * k, dtype=torch.float64).reshape(k * k, 1, k, k)
    for name, wanted in (("C4", c4), ("D4", d4)):
        matrix = GridGroup(name).project(units).reshape(k * k, -1)
        assert torch.linalg.matrix_rank(matrix) == wanted


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(GROUPS), st.sampled_from(["trivial", "regular"]), st.sampled_from(["trivial", "regular"]))
def test_projections_are_idempotent_and_self_adjoint(name, first, second):
    group = GridGroup(name, first, second)
    order = group.order
    v, w = torch.randn(2, 2 * order, order, 3, 3, dtype=torch.float64)
    once = group.project(w)
    torch.testing.assert_close(group.project(once), once, rtol=0, atol=1e-12)
    torch.testing.assert_close((v * once).sum(), (group.project(v) * w).sum(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["C4", "D4", "D1"])
def test_projected_kernels_make_equivariant_layers_and_others_do_not(name):
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1).double()
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    assert equivariance(soften(layer, GridGroup(name), 0.0), name, x).error < 1e-13
    assert equivariance(soften(layer, GridGroup(name), 0.5), name, x).error > 1e-2
    assert torch.equal(soften(layer, GridGroup(name), 1)(x), layer(x))


def test_regular_fields_move_channels_with_the_picture():
    """f(g x) has the channels h of f(x) at gh, turned."""
    torch.manual_seed(0)
    group = GridGroup("D4", "trivial", "regular")
    lift = soften(nn.Conv2d(2, 8, 3, padding=1).double(), group, 0.0)
    second = GridGroup("D4", "regular", "regular")
    conv = soften(nn.Conv2d(8, 8, 3, padding=1).double(), second, 0.0)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    net = nn.Sequential(lift, nn.ReLU(), conv)
    acting = grid_group("p4m", 2)
    for g in range(8):
        got, wanted = net(act(x, acting, g)), act(net(x), acting, g, acting.fibre("regular"))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "first", "second", "sizes"), [
    ("p4m", "trivial", "d1", (3, 3)), ("p6", "regular", "regular", (3, 3)), ("O", "trivial", "c4", (3, 3, 3)),
    ("d1", "regular", "trivial", (4,)),
])  # fmt: skip
def test_projected_kernels_are_those_of_group_convolutions(name, first, second, sizes):
    """Every fibre that group convolutions know: what the layer makes of any numbers stays, what is projected the layer can take."""
    layer = ours.GroupConv(len(sizes), 2, 2, sizes, name.lower(), first, second, dtype=torch.float64)
    group, kernel = GridGroup(name, first, second), layer.kernel().detach()
    torch.testing.assert_close(group.project(kernel), kernel, rtol=0, atol=1e-14)
    near = group.project(torch.randn_like(kernel))
    torch.testing.assert_close(layer.take(near).kernel().detach(), near, rtol=0, atol=1e-14)
    bias = group.project_bias(torch.randn(layer.out_channels, dtype=torch.float64))
    assert torch.equal(bias, bias.reshape(2, -1)[:, :1].expand(2, layer.into.size).reshape(-1))


def test_the_penalty_is_zero_iff_the_layer_is_equivariant_and_its_gradient_is_the_rest():
    layer = nn.Conv2d(1, 2, 3, padding=1).double()
    group = GridGroup("C4")
    symmetry_penalty(layer, {"C4": group})["C4"].backward()
    torch.testing.assert_close(layer.weight.grad, layer.weight.detach() - group.project(layer.weight.detach()))
    near = soften(layer, group, 0.0)
    assert symmetry_penalty(near, {"C4": group})["C4"] < 1e-28
    assert symmetric_share(near, group) == {"": pytest.approx(1)}
    assert 0 < symmetric_share(layer, group)[""] < 1


@pytest.mark.parametrize("length", [1e-10, 1.0, 1e10])
def test_the_length_of_a_generator_says_nothing(length):
    """It generates the same group; beside a mirror, too, and where its end is nothing."""
    w, b = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0]))
    for discrete in ([], [(mirror, mirror)]):
        one, other = (
            LinearGroup(generators=[(size * generator(0, 1),) * 2], discrete=discrete) for size in (1.0, length)
        )
        torch.testing.assert_close(other.project(w), one.project(w), rtol=0, atol=1e-12)
        torch.testing.assert_close(other.project_bias(b), one.project_bias(b), rtol=0, atol=1e-12)
        assert (one.project(w) - w).abs().max() > 0.1
    still = LinearGroup(generators=[(torch.zeros(3, 3), torch.zeros(3, 3))])
    torch.testing.assert_close(still.project(w), w, rtol=0, atol=1e-14)
    torch.testing.assert_close(still.project_bias(b), b, rtol=0, atol=1e-14)


def test_rotations_by_generators_are_the_limit_of_many_turns():
    w = torch.randn(3, 3, dtype=torch.float64)
    lie = LinearGroup(generators=[(generator(0, 1), generator(0, 1))]).project(w)
    many = LinearGroup([(turn(2 * math.pi * k / 64),) * 2 for k in range(64)]).project(w)
    torch.testing.assert_close(lie, many, rtol=0, atol=1e-12)
    whole = LinearGroup(generators=[(generator(0, 1),) * 2, (generator(1, 2),) * 2]).project(w)
    torch.testing.assert_close(whole, w.trace() / 3 * torch.eye(3).double())


def spaces(counts):
    """For fields (scalars, vectors) of space: what turns of the vectors do to all of them, from a 3 × 3 matrix."""
    scalars, vectors = counts

    def act(matrix, scalar):
        blocks = [scalar * torch.eye(scalars, dtype=torch.float64), *[matrix] * vectors]
        return torch.block_diag(*blocks)

    return act


SO3 = tuple(generator(a, b) for a, b in ((0, 1), (1, 2), (0, 2)))
MIRROR = -torch.eye(3, dtype=torch.float64)


def lie_group(before, after, mirrored="none"):
    """SO(3) on sums of scalars and vectors, or O(3) by the mirror through the origin, in either way of saying so."""
    pairs = [(spaces(before)(g, 0.0), spaces(after)(g, 0.0)) for g in SO3]
    mirror = (spaces(before)(MIRROR, 1.0), spaces(after)(MIRROR, 1.0))
    still = (torch.eye(len(mirror[0])).double(), torch.eye(len(mirror[1])).double())
    if mirrored == "elements":
        return LinearGroup([still, mirror], pairs)
    return LinearGroup(generators=pairs, discrete=[mirror] if mirrored == "discrete" else [])


COUNTS = st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any)


@settings(max_examples=25, deadline=None)
@given(COUNTS, COUNTS, st.sampled_from(["none", "elements", "discrete"]), st.integers(0, 99))
def test_linear_projections_are_idempotent_self_adjoint_and_keep_scalars(before, after, mirrored, seed):
    """For weights and biases; the bias loses its vectors and nothing else, the weight what joins scalars and vectors."""
    group = lie_group(before, after, mirrored)
    torch.manual_seed(seed)
    v, w = torch.randn(2, after[0] + 3 * after[1], before[0] + 3 * before[1], dtype=torch.float64)
    for own, project in ((w, group.project), (w[:, 0], group.project_bias)):
        other = v if own is w else v[:, 0]
        once = project(own)
        torch.testing.assert_close(project(once), once, rtol=0, atol=1e-12)
        torch.testing.assert_close((other * once).sum(), (project(other) * own).sum(), rtol=0, atol=1e-11)
    kept = torch.cat([w[: after[0], 0], torch.zeros(3 * after[1]).double()])
    torch.testing.assert_close(group.project_bias(w[:, 0]), kept, rtol=0, atol=1e-12)
    near = group.project(w)
    torch.testing.assert_close(near[: after[0], : before[0]], w[: after[0], : before[0]], rtol=0, atol=1e-12)
    assert near[: after[0], before[0] :].abs().sum() + near[after[0] :, : before[0]].abs().sum() < 1e-12
    turned = torch.linalg.qr(torch.randn(3, 3).double())[0]
    turned = turned * (1 if mirrored != "none" else torch.linalg.det(turned))
    a, b = spaces(before)(turned, 1.0), spaces(after)(turned, 1.0)
    torch.testing.assert_close(near @ a, b @ near, rtol=0, atol=1e-12)


def test_one_element_generates_its_group():
    """A quarter turn and the mean over all four; a mirror beside generators takes the antisymmetric maps away, the bias too."""
    quarter = turn(math.pi / 2)
    w, b = torch.randn(3, 3).double(), torch.randn(3).double()
    whole = LinearGroup([(torch.matrix_power(quarter, k),) * 2 for k in range(4)])
    one = LinearGroup(discrete=[(quarter, quarter)])
    torch.testing.assert_close(one.project(w), whole.project(w), rtol=0, atol=1e-14)
    torch.testing.assert_close(one.project_bias(b), whole.project_bias(b), rtol=0, atol=1e-14)
    about = [(generator(0, 1),) * 2]
    mirror = torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()
    free, held = LinearGroup(generators=about), LinearGroup(generators=about, discrete=[(mirror, mirror)])
    torch.testing.assert_close(free.project_bias(b), b * torch.tensor([0, 0, 1]))
    assert held.project_bias(b).abs().max() < 1e-14
    assert (free.project(w)[0, 1] + free.project(w)[1, 0]).abs() < 1e-14 < free.project(w)[0, 1].abs()
    assert held.project(w)[0, 1].abs() < 1e-14


def test_softening_keeps_the_bias_of_scalars():
    """And the penalty of a layer that is equivariant, scalars' bias and all, is 0."""
    layer = nn.Linear(6, 5).double()
    group = lie_group((0, 2), (2, 1))
    near = soften(layer, group, 0.0)
    assert torch.allclose(near.bias[:2], layer.bias[:2], atol=1e-14)
    assert near.bias[2:].abs().max() < 1e-14
    assert symmetry_penalty(near, {"SO(3)": group})["SO(3)"] < 1e-28
    rest = (layer.weight - group.project(layer.weight)).square().sum() + layer.bias[2:].square().sum()
    torch.testing.assert_close(symmetry_penalty(layer, {"SO(3)": group})["SO(3)"], rest / 2)


def test_strengths_find_which_symmetry_the_data_have():
    """Moments of inertia-like maps: symmetric about the third axis and about no other."""
    torch.manual_seed(0)
    groups = {
        "about z": LinearGroup(generators=[(generator(0, 1),) * 2]),
        "about x": LinearGroup(generators=[(generator(1, 2),) * 2]),
    }
    truth = torch.diag(torch.tensor([1.0, 1.0, 4.0])).double() + 0.5 * generator(0, 1)
    model, strength = nn.Linear(3, 3).double(), AutoStrength(0.01)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for step in range(300):
        x = torch.randn(64, 3, dtype=torch.float64)
        optimizer.zero_grad()
        penalties = symmetry_penalty(model, groups)
        ((model(x) - x @ truth.T).square().mean() + strength.update(penalties)).backward()
        optimizer.step()
        if step == 150:
            strength.adjust()
    found = strength.strengths
    assert found["about z"] / found["about x"] > 10


def test_wrong_calls_are_refused():
    layer = nn.Conv2d(1, 1, 3)
    wrong = [
        lambda: GridGroup("C3"),
        lambda: GridGroup("C4", "vector"),
        lambda: GridGroup("O").project(torch.randn(1, 1, 3, 3)),
        LinearGroup,
        lambda: AutoStrength(0),
    ]
    wrong += [lambda: soften(layer, GridGroup("C4"), 2), lambda: AutoStrength().adjust()]
    wrong += [
        lambda: LinearGroup([(torch.eye(2), torch.eye(2)[:1])]),
        lambda: LinearGroup(discrete=[(torch.eye(2),) * 2, (torch.eye(3),) * 2]),
    ]
    wrong += [lambda: symmetry_penalty(nn.Linear(2, 2), {"C4": GridGroup("C4")})]
    wrong += [lambda: GridGroup("O").project(torch.randn(1, 1, 3, 3))]
    wrong += [lambda: GridGroup("C4", "regular").project(torch.randn(1, 3, 3, 3))]
    for call in wrong:
        with pytest.raises(ArgumentError):
            call()
