"""Steerable convolution: how many kernels there are, quarter turns exactly, other angles as far as sampling lets, fields alike."""

import math

import numpy as np
import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry.groups import grid_group
from faltung.nn.symmetry.harmonics import angular, pairing, rings, sampled
from faltung.nn.symmetry.irreps import irreps
from faltung.nn.symmetry.steerable import turn_field

DOUBLE = torch.float64


def image(size, angle, seed=0):
    """A scene of smooth blobs and the vector field of their gradients, sampled after a turn by an angle: (1, 3, size, size)."""
    random = np.random.default_rng(seed)
    at = np.arange(size) - (size - 1) / 2
    row, column = np.meshgrid(at, at, indexing="ij")
    x, y = column, -row
    c, s = math.cos(angle), math.sin(angle)
    scene, slope = np.zeros((size, size)), np.zeros((2, size, size))
    for _ in range(6):
        px, py = random.uniform(-size / 5, size / 5, 2)
        height, width = random.normal(), random.uniform(2.5, 4)
        dx, dy = x - (c * px - s * py), y - (s * px + c * py)
        bell = height * np.exp(-(dx**2 + dy**2) / (2 * width**2))
        scene += bell
        slope += np.stack([-dx * bell, -dy * bell]) / width**2
    return torch.from_numpy(np.concatenate([scene[None], slope]))[None]


@pytest.mark.parametrize(("source", "to", "so2", "o2"), [
    ("0", "0", 1, 1), ("0", "2", 2, 1), ("1", "0", 2, 1), ("1", "1", 4, 2), ("1", "2", 4, 2), ("2", "1", 4, 2), ("0", "0-", 1, 0),
    ("0-", "0-", 1, 1), ("0-", "1", 2, 1),
])  # fmt: skip
def test_kernels_of_one_wide_ring(source, to, so2, o2):
    """The numbers of the closed form, where a ring carries every frequency: the third of seven taps, frequency 3."""
    ring = rings(7)[2]
    highest = int(source.rstrip("-")) + int(to.rstrip("-"))
    assert ring.frequency == 3
    for group, wanted in (("so2", so2), ("o2", o2)):
        if group == "so2" and "-" in source + to:
            continue
        basis = pairing(7, source, to, group)
        per_ring = [sum(1 for f in _frequencies(source, to, group) if f <= r.frequency) for r in rings(7)]
        assert per_ring[2] == wanted or highest > 3
        assert len(basis) <= sum(per_ring)
        gram = np.einsum("axyt,bxyt->ab", basis, basis) if len(basis) else np.zeros((0, 0))
        assert np.linalg.matrix_rank(gram) == len(basis)


def _frequencies(source, to, group):
    m, n = int(source.rstrip("-")), int(to.rstrip("-"))
    if m == n == 0:
        return [0] if group == "so2" or source == to else []
    if m == 0 or n == 0:
        return [m + n] * (2 if group == "so2" else 1)
    return [abs(n - m), n + m] * (2 if group == "so2" else 1)


@pytest.mark.parametrize("group", ["so2", "o2"])
def test_every_basis_kernel_keeps_the_constraint_on_the_lattice(group):
    acting = grid_group("c4" if group == "so2" else "d4", 2)
    for source in ("0", "1", "2", "0-")[: 3 if group == "so2" else 4]:
        for to in ("0", "1", "3"):
            basis = torch.from_numpy(pairing(5, source, to, group))
            if not len(basis):
                continue
            whole = basis.reshape(-1, *basis.shape[1:3], 5, 5)
            for g in range(acting.order):
                after, before = irreps(to, group), irreps(source, group)
                rows = whole.permute(0, 2, 1, 3, 4).reshape(-1, after.dim, 5, 5)  # turned as a field of the result ...
                turned = turn_field(acting, g, after, rows).reshape(-1, before.dim, after.dim, 5, 5)
                moved = turned.permute(0, 2, 1, 3, 4).reshape(
                    -1, before.dim, 5, 5
                )  # ... and then of the input, unmoved
                matrix = torch.from_numpy(
                    before.matrix(np.array([[0, 1], [-1, 0]]) @ acting.matrices[g] @ [[0, -1], [1, 0]])
                )
                both = torch.einsum("ab,nbij->naij", matrix, moved).reshape(whole.shape)
                assert torch.allclose(both, whole, atol=1e-12), (source, to, g)


@pytest.mark.parametrize("degrees", [10, 30, 45, 75])
def test_other_angles_are_as_exact_as_sampling(degrees):
    """A turned scene of scalars and vectors gives the turned result, to a few thousandths in the middle of smooth images."""
    torch.manual_seed(0)
    layer = nn.SteerableConv("0 + 1", "2x0 + 2x1 + 2", 7, padding=3, dtype=DOUBLE)
    angle = math.radians(degrees)
    size = 33
    plain, turned = layer(image(size, 0)), layer(image(size, angle))
    matrix = irreps("2x0 + 2x1 + 2", "so2").matrix(
        np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    )
    wanted = torch.einsum("ab,nbij->naij", torch.from_numpy(matrix), plain)[0, :, size // 2, size // 2]
    got = turned[0, :, size // 2, size // 2]
    assert (got - wanted).abs().max() < 5e-3 * plain.abs().max()
    wrong = torch.einsum("ab,nbij->naij", torch.from_numpy(matrix.T.copy()), plain)[0, :, size // 2, size // 2]
    assert (got - wrong).abs().max() > 5e-2 * plain.abs().max()


def test_a_net_of_fields_commutes_while_it_trains():
    torch.manual_seed(0)
    acting = grid_group("d4", 2)
    middle = "2x0 + 0- + 2x1 + 2"
    gated = nn.GatedFields(middle, "o2")
    net = torch.nn.Sequential(
        nn.SteerableConv("0 + 1", middle + f" + {gated.gates}x0", 5, "o2", padding=2, dtype=DOUBLE),
        gated,
        nn.SteerableConv(middle, middle, 5, "o2", padding=2, dtype=DOUBLE),
        nn.NormReLU(middle, "o2", dtype=DOUBLE),
        nn.SteerableConv(middle, "0 + 1", 5, "o2", padding=2, dtype=DOUBLE),
    )
    x = torch.randn(1, 3, 7, 8, dtype=DOUBLE)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    before, after = irreps("0 + 1", "o2"), irreps("0 + 1", "o2")
    for _ in range(3):
        for g in range(8):
            wanted = turn_field(acting, g, after, net(x))
            assert torch.allclose(
                net(turn_field(acting, g, before, x)), wanted, atol=1e-10 * float(wanted.abs().max().detach())
            )
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()


def test_gradients_of_scalars_are_vectors():
    """Among the kernels from scalars to vectors are derivatives: a layer fitted to a ramp points uphill, x to the right, y up."""
    layer = nn.SteerableConv("0", "1", 3, bias=False, dtype=DOUBLE)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.0]))
    cosine = layer.kernel().detach()
    ramp = torch.arange(5, dtype=DOUBLE).expand(5, 5)[None, None]
    right = layer(ramp)[0, :, 1, 1].detach()
    up = layer(torch.rot90(ramp, 1, (2, 3)))[0, :, 1, 1].detach()
    assert cosine.shape == (2, 1, 3, 3)
    assert right[0] > 1
    assert abs(right[1]) < 1e-12
    assert torch.allclose(up, torch.stack([-right[1], right[0]]), atol=1e-12)


def test_first_values_keep_the_variance():
    torch.manual_seed(0)
    layer = nn.SteerableConv("16x0 + 8x1", "16x0 + 16x1 + 8x2", 5, bias=False, dtype=DOUBLE)
    y = layer(torch.randn(4, 32, 40, 40, dtype=DOUBLE)).detach()
    at = 0
    for many, wide in ((16, 1), (16, 2), (8, 2)):
        assert 0.6 < y[:, at : at + many * wide].var() < 1.6
        at += many * wide


def test_bases_come_from_a_formula():
    """Sixteen angles and seven taps, high frequencies: frequency 1 on three rings, 3 on one, two phases each."""
    assert nn.GroupConv2d(1, 1, 7, "d16", filters="harmonics").weight.shape[-1] == 32 * 18
    assert pairing(7, "1", "2", "so2").shape == (2 * 3 + 2 * 1, 2, 2, 49)
    assert len(angular(7)) == sampled(7).shape[1] == 1 + 5 + 7 + 5


@pytest.mark.parametrize("group", ["c8", "d6"])
def test_harmonic_filters_turn_by_any_element(group):
    """Turned twice is turned once by the product: on coefficients, so at every tap; interpolated taps do not."""
    acting = grid_group(group, 2)
    basis = np.stack([sampled(9, m) for m in acting.matrices])
    for g in range(acting.order):
        mixed, *_ = np.linalg.lstsq(basis[0], basis[g], rcond=None)
        assert abs(basis[0] @ mixed - basis[g]).max() < 1e-9  # a turned harmonic is a sum of its own cosine and sine
    assert nn.GroupConv2d(1, 1, 9, group, filters="harmonics").interpolation_error() == 0
    assert nn.GroupConv2d(1, 1, 9, group).interpolation_error() > 0.1


def test_harmonic_group_convolution_of_a_turned_scene():
    """Lifting to c8: an eighth of a turn moves the values by one element, better than with interpolated filters."""
    errors = {}
    for filters in ("harmonics", "taps"):
        torch.manual_seed(0)
        layer = nn.GroupConv2d(1, 4, 7, "c8", "trivial", padding=3, bias=False, dtype=DOUBLE, filters=filters)
        plain, turned = (layer(image(33, a)[:, :1])[0, :, 16, 16].detach() for a in (0, math.pi / 4))
        wanted = plain.reshape(4, 8).roll(1, 1).flatten()
        errors[filters] = float((turned - wanted).abs().max() / plain.abs().max())
    assert errors["harmonics"] < 0.01
    assert errors["harmonics"] < errors["taps"] / 3


def test_more_samples_leave_fewer_aliases():
    """FourierReLU commutes with rotations by a sample exactly, and with others the better the more samples it takes."""
    x = torch.randn(2, 10, 1, 1, dtype=DOUBLE)
    found = []
    for samples in (5, 8, 16, 64):
        layer = nn.FourierReLU(2, 2, samples, dtype=DOUBLE)
        fields = irreps(layer.irreps, "so2")

        def turned(a, angle, fields=fields):
            matrix = fields.matrix(np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]))
            return torch.einsum("ab,nbij->naij", torch.from_numpy(matrix), a)

        exact = 2 * math.pi / samples
        assert torch.allclose(layer(turned(x, exact)), turned(layer(x), exact), atol=1e-12)
        found.append(float((layer(turned(x, 0.3 * exact)) - turned(layer(x), 0.3 * exact)).abs().max()))
    assert found[0] > found[1] > found[3]
    assert found[3] < 1e-2


def test_lengths_of_nothing_have_a_slope():
    layer = nn.NormReLU("1", dtype=DOUBLE)
    x = torch.zeros(1, 2, 1, 1, dtype=DOUBLE, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.isfinite().all()


def test_wrong_settings_are_refused():
    for wrong in (("0", "0-"), ("x", "0"), ("0", "0x1"), ("", "0")):
        with pytest.raises(ArgumentError):
            nn.SteerableConv(*wrong, 3)
    with pytest.raises(ArgumentError, match="carry every field"):
        nn.SteerableConv("0", "4", 2)
    with pytest.raises(ArgumentError):
        nn.SteerableConv("0", "1", 3, stride=2, padding=1)(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ArgumentError):
        nn.FourierReLU(1, 2, 4)
    with pytest.raises(ArgumentError):
        nn.GroupConv1d(1, 1, 3, "d1", filters="harmonics")
