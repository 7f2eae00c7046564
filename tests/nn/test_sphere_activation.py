"""Activations on a grid of the sphere: what they keep exactly, and how the error of other turns falls with the grid."""

from pathlib import Path

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.symmetry import sphere_activation
from faltung.nn.symmetry.so3 import rotate, wigner
from faltung.nn.symmetry.sphere_activation import ACTIVATIONS

DOUBLE = torch.float64


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def rotation(seed=0):
    q, r = torch.linalg.qr(drawn(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


@torch.no_grad()
def gap(layer, count=4):
    """The largest relative distance of turned results and results of turned input, over random rotations."""
    x = drawn(6, (layer.l + 1) ** 2, layer.channels)
    found = []
    for seed in range(count):
        d = wigner(layer.l, rotation(seed))
        wanted = rotate(layer(x), d)
        found.append(float((layer(rotate(x, d)) - wanted).norm() / wanted.norm()))
    return max(found)


def activation(name, l, times, hidden=()):
    torch.manual_seed(0)
    grid = (int(times * 2 * (l + 1)), int(times * 4 * (l + 1)))
    return nn.SphereActivation(3, l, name, hidden, grid=grid, dtype=DOUBLE)


@pytest.mark.parametrize("hidden", [(), (5,), (4, 6)])
@pytest.mark.parametrize("l", [1, 4])
def test_smooth_activations_lose_their_error_with_the_grid(l, hidden):
    coarse, usual, fine, finest = (gap(activation("silu", l, times, hidden)) for times in (0.5, 1, 2, 4))
    assert coarse > 5 * usual > 50 * fine > 1000 * finest
    assert 1e-6 < usual < 2e-2
    assert finest < 1e-6


def test_kinks_lose_it_slowly():
    coarse, usual, fine, finest = (gap(activation("relu", 3, times)) for times in (0.5, 1, 2, 4))
    assert coarse > 2 * usual > 4 * fine > 8 * finest
    assert finest > 1e-5


def test_the_errors_of_the_docstring():
    for name, times, wanted in (("silu", 1, 2e-3), ("silu", 2, 5e-6), ("relu", 1, 2e-2), ("relu", 2, 4e-3)):
        assert 0.3 < gap(activation(name, 4, times)) / wanted < 3, (name, times)


def test_the_errors_of_the_page():
    """The table of docs/symmetry.md, what is above rounding."""
    page = (Path(__file__).parents[2] / "docs" / "symmetry.md").read_text(encoding="utf-8")
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and "e-" in line]
    table = {cells[0]: [float(c) for c in cells[1:]] for cells in lines if cells[0] in ACTIVATIONS}
    assert set(table) == {"square", "silu", "gelu", "tanh", "relu"}
    for name, wanted in table.items():
        for times, error in zip((0.5, 1, 2, 4), wanted, strict=True):
            found = gap(activation(name, 4, times))
            assert found < 1e-12 if error < 1e-12 else 0.3 < found / error < 3, (name, times, found)


@pytest.mark.parametrize("l", [0, 1, 3])
def test_the_square_is_exact_and_a_product_of_two(l):
    """All rotations; equal to the couplings of `GauntPower` but for the scale of values."""
    layer = nn.SphereActivation(2, l, "square", dtype=DOUBLE)
    assert gap(layer) < 1e-12
    x = drawn(3, (l + 1) ** 2, 2)
    wanted = nn.GauntPower(2, l, 2, weights=False, dtype=DOUBLE)(x)
    assert torch.allclose(layer(x), wanted * (4 * torch.pi) ** 0.5 / (l + 1), atol=1e-12)
    scarce = nn.SphereActivation(2, 3, "square", grid=(4, 7), dtype=DOUBLE)
    assert gap(scarce) > 1e-2  # the grid that carries the functions does not carry their squares


@pytest.mark.parametrize(("l", "highest", "grid"), [(3, 3, (4, 7)), (4, 4, None), (4, 1, (5, 3)), (5, 2, None)])
def test_the_way_back_undoes_the_way_there(l, highest, grid):
    layer = nn.SphereActivation(1, l, highest=highest, grid=grid, dtype=DOUBLE)
    kept = torch.tensor([float(abs(m) <= highest) for k in range(l + 1) for m in range(-k, k + 1)], dtype=DOUBLE)
    assert torch.allclose(layer.back @ layer.there, kept.diag(), atol=1e-13)


@pytest.mark.parametrize(("l", "highest"), [(2, 2), (6, 6), (6, 2)])
def test_values_have_mean_square_one(l, highest):
    """For coefficients of variance 1 over the whole sphere, so that activations work where they bend."""
    layer = nn.SphereActivation(1, l, highest=highest, dtype=DOUBLE)
    area = layer.back[0] / layer.back[0].sum()
    assert float(area @ layer.there.square().sum(1)) == pytest.approx(1, abs=1e-12)


def test_layers_on_values_are_layers_at_each_point():
    """The last mixing is one of coefficients, the same for each degree; its bias is a constant function."""
    torch.manual_seed(0)
    layer = nn.SphereActivation(3, 2, "tanh", (3,), dtype=DOUBLE)
    x, last = drawn(4, 9, 3), layer.mixing[1]
    with torch.no_grad():
        layer.mixing[0].weight.copy_(torch.eye(3))
        layer.mixing[0].bias.zero_()
        inner = torch.tanh(torch.tanh(layer.there @ x))
        wanted = (layer.back @ inner) @ last.weight.T
        wanted[:, 0] += last.bias * layer.back[0].sum()
    assert torch.allclose(layer(x), wanted, atol=1e-12)


def message(longitudes, l=4, highest=2):
    """Turned to the edge, blocks conditioned on scalars, an activation on a grid, blocks, turned back."""
    torch.manual_seed(0)
    first = nn.SO2Conv(2, 4, l, l, highest, True, dtype=DOUBLE, edge_dim=3, hidden=6)
    act = nn.SphereActivation(4, l, highest=highest, grid=(2 * (l + 1), longitudes), dtype=DOUBLE)
    second = nn.SO2Conv(4, 2, l, l, highest, dtype=DOUBLE)
    x, edge, scalars, r = drawn(12, (l + 1) ** 2, 2), drawn(12, 3, seed=1), drawn(12, 3, seed=2), rotation(5)

    def call(x, edge):
        frame = first.frame(edge)
        return rotate(second.within(act(first.within(rotate(x, frame), scalars))), frame, back=True)

    with torch.no_grad():
        d = wigner(l, r)
        wanted = rotate(call(x, edge), d)
        return float((call(rotate(x, d), edge @ r.T) - wanted).norm() / wanted.norm())


def test_messages_in_the_frame_of_an_edge():
    """Few orders and few longitudes: only the roll about the edge is left to aliases, and they fall with the longitudes."""
    published, usual, fine = message(5), message(12), message(36)
    assert published > 10 * usual > 100 * fine
    assert published > 5e-2
    assert usual < 1e-2
    assert fine < 1e-5


def test_the_activation_of_e3nn_in_the_limit():
    pytest.importorskip("e3nn")
    from e3nn.nn import S2Activation
    from e3nn.o3 import Irreps

    irreps = Irreps("0e+1o+2e+3o")
    theirs = S2Activation(irreps, torch.tanh, 60, normalization="integral").to(DOUBLE)
    factor = theirs.act.cst  # it scales tanh so that a normal input has results of mean square 1
    ours = nn.SphereActivation(1, 3, "tanh", grid=(40, 80), dtype=DOUBLE)
    scale = (4 * torch.pi) ** 0.5 / 4
    x = drawn(3, 16)
    assert torch.allclose(ours(x[..., None])[..., 0] * scale * factor, theirs(x * scale), atol=1e-6)


def test_every_activation_by_name():
    x = drawn(2, 9, 3)
    results = [nn.SphereActivation(3, 2, name, dtype=DOUBLE)(x) for name in ACTIVATIONS]
    for n, y in enumerate(results):
        assert y.isfinite().all()
        assert all((y - other).abs().max() > 1e-3 for other in results[:n])


def test_settings_that_name_no_layer_are_refused():
    for wrong in (
        {"activation": "sine"}, {"highest": 3}, {"grid": (2, 12)}, {"grid": (6, 4)}, {"hidden": (0,)}, {"channels": 0},
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            nn.SphereActivation(**({"channels": 1, "l": 2} | wrong))
    with pytest.raises(ArgumentError):
        nn.SphereActivation(2, 2)(torch.zeros(1, 9, 3))


@pytest.mark.parametrize(("l", "highest", "grid"), [(11, 11, None), (12, 4, (15, 11)), (13, 0, (14, 1))])
def test_latitudes_and_longitudes_in_turn_are_the_one_matrix(l, highest, grid, monkeypatch):
    """Above l = 10; the same layer made to go by one matrix, its results and derivatives."""
    settings = {"highest": highest, "grid": grid, "hidden": (3, 2), "dtype": DOUBLE}
    torch.manual_seed(0)
    apart = nn.SphereActivation(2, l, **settings)
    monkeypatch.setattr(sphere_activation, "DENSE", 99)
    whole = nn.SphereActivation(2, l, **settings)
    whole.load_state_dict(apart.state_dict())
    assert apart.apart
    assert not whole.apart
    results = []
    for layer in (apart, whole):
        x = drawn(3, (l + 1) ** 2, 2).requires_grad_()
        y = layer(x)
        results.append((y, torch.autograd.grad((y * drawn(*y.shape, seed=1)).sum(), x)[0]))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
