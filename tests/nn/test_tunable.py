"""Tunable layers, models and losses: what omega does, and what is left when it is fixed."""

import pytest
import torch
from torch import nn

from faltung import nn as ours
from faltung.errors import ArgumentError, DtypeError
from faltung.tools import fold_tunable

WIDE = {"dtype": torch.float64}


def layer(ndim=2, **settings):
    torch.manual_seed(0)
    return ours.TunableConv(ndim, 4, 6, 3, padding=1, **{"num_params": 3, **WIDE, **settings})


@pytest.fixture
def x():
    return torch.randn(5, 4, 9, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("chosen", [0, 1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_unit_vector_selects_its_kernel(x, chosen, groups):
    """Reference test 25."""
    made = layer(mixing="linear", groups=groups)
    plain = nn.Conv2d(4, 6, 3, padding=1, groups=groups).double()
    plain.load_state_dict({"weight": made.weight[chosen], "bias": made.bias[chosen]})
    one = torch.eye(3, dtype=torch.float64)[chosen]
    torch.testing.assert_close(made(x, one), plain(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(made(x, one.expand(5, 3)), plain(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mixing", ["linear", "affine"])
def test_the_result_is_affine_in_omega(x, mixing):
    """Second differences vanish."""
    made = layer(mixing=mixing, expand=2 if mixing == "affine" else 1)
    for parameter in made.mixing.parameters():
        nn.init.normal_(parameter)
    at, step = torch.rand(3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    low, middle, high = (made(x, at + n * step) for n in (-1, 0, 1))
    assert (low - 2 * middle + high).abs().max() <= 1e-5 * middle.abs().max()
    assert (high - low).abs().max() > 1e-2 * middle.abs().max()


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_one_omega_is_broadcast_over_the_batch(ndim):
    made = ours.TunableConv(ndim, 2, 3, 2, **WIDE)
    x, omega = torch.randn(3, 2, *(4,) * ndim, **WIDE), torch.rand(2, **WIDE)
    torch.testing.assert_close(made(x, omega), made(x, omega.expand(3, 2)), rtol=1e-12, atol=1e-12)


def test_samples_have_an_omega_each(x):
    made, omega = layer(), torch.rand(5, 3, dtype=torch.float64)
    alone = torch.cat([made(x[n : n + 1], omega[n]) for n in range(5)])
    torch.testing.assert_close(made(x, omega), alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (5, 3)])
def test_derivatives_in_omega(x, shape):
    made, omega = layer(expand=2), torch.rand(*shape, dtype=torch.float64, requires_grad=True)
    x = x[..., :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(made, (x, omega), fast_mode=True)
    dense = ours.TunableLinear(3, 2, num_params=3, **WIDE)
    value = ours.TunableParameter((2,), num_params=3, **WIDE)
    assert torch.autograd.gradcheck(lambda o: (dense(x.flatten(2)[..., :3], o), value(o)), (omega,), fast_mode=True)


@pytest.mark.parametrize("expand", [1, 4])
def test_kernels_are_drawn_as_ordinary_ones(expand):
    """By the fan-in of one; at first a corner's kernel is as large as a plain layer's, whatever `expand`."""
    made = ours.TunableConv(2, 32, 64, 3, num_params=2, expand=expand)
    bound = 1 / (32 * 9) ** 0.5
    assert 0.99 * bound <= made.weight.abs().max() <= bound
    corner = made.at(made.mixing(torch.tensor([0.0, 1.0])))
    assert corner.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_a_linear_layer_of_unlike_sizes(x):
    made = ours.TunableLinear(10, 7, mixing="linear", num_params=2, **WIDE)
    for n in range(2):
        plain = nn.Linear(10, 7).double()
        plain.load_state_dict({"weight": made.weight[n], "bias": made.bias[n]})
        one = torch.eye(2, dtype=torch.float64)[n]
        torch.testing.assert_close(made(x, one), plain(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(made(x, one.expand(5, 2)), plain(x), rtol=1e-12, atol=1e-12)


def test_parameters_start_as_repeated_copies():
    for settings in ({}, {"expand": 3}, {"mixing": "linear"}):
        made = ours.TunableParameter((2, 2), value=0.25, num_params=3, **settings)
        omega = torch.rand(4, 3)
        omega /= omega.sum(1, keepdim=True)
        torch.testing.assert_close(made(omega), torch.full((4, 2, 2), 0.25))


class Denoiser(ours.Tunable):
    """A model that hands omega on and uses a tunable number itself."""

    def __init__(self, body, strength):
        super().__init__()
        self.body, self.strength = body, strength

    def forward(self, x, omega):
        return x - self.strength(omega) * self.body(x, omega)

    def folded(self, omega):
        return Plain(self.body.folded(omega), self.strength.folded(omega))


class Plain(nn.Module):
    def __init__(self, body, strength):
        super().__init__()
        self.body, self.strength = body, strength

    def forward(self, x):
        return x - self.strength() * self.body(x)


def model():
    torch.manual_seed(0)
    body = ours.TunableSequential(
        ours.TunableConv2d(4, 6, 3, padding=1, expand=2, **WIDE),
        nn.ReLU(),
        nn.Conv2d(6, 6, 1, groups=2).double(),
        ours.TunableSequential(ours.TunableConv2d(6, 10, 3, padding=1, padding_mode="reflect", **WIDE), nn.Tanh()),
        ours.TunableLinear(10, 10, **WIDE),
        ours.TunableConv2d(10, 4, 3, padding=1, padding_mode="symmetric", **WIDE),
    )
    return Denoiser(body, ours.TunableParameter(value=0.5, **WIDE))


def test_a_folded_model_is_the_tunable_one_at_that_omega(x):
    made = model()
    for omega in ([1.0, 0.0], [0.3, 0.6]):
        plain = fold_tunable(made, omega)
        torch.testing.assert_close(plain(x), made(x, torch.tensor(omega, **WIDE)), rtol=1e-10, atol=1e-10)
        assert not any(isinstance(module, ours.Tunable) for module in plain.modules())
        kinds = [type(module) for module in plain.body]
        assert kinds == [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.Sequential, nn.Linear, ours.Conv]
    assert plain.body[2].weight is not made.body[2].weight


def test_a_folded_model_costs_what_plain_layers_cost():
    made = fold_tunable(ours.TunableSequential(layer(), nn.ReLU()), [0.2, 0.2, 0.6])
    assert type(made[0]) is nn.Conv2d
    assert sum(p.numel() for p in made.parameters()) == 6 * 4 * 9 + 6
    assert type(fold_tunable(layer(4), [0.0, 0.0, 1.0])) is ours.Conv


def test_tunable_parts_within_plain_modules_are_folded():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.ModuleList([layer(), nn.ReLU()])

    made = fold_tunable(Outer().eval(), [1.0, 0.0, 0.0])
    assert type(made.head[0]) is nn.Conv2d
    assert not made.training

    class Hands(Outer):
        def forward(self, x, omega):
            return self.head[0](x, omega)

    with pytest.raises(ArgumentError, match="derive it from"):
        fold_tunable(Hands(), [1.0, 0.0, 0.0])
    with pytest.raises(ArgumentError, match="a method folded"):
        ours.Tunable().folded(torch.zeros(2))


def test_the_loss_weighs_objectives_as_omega_says(x):
    target = torch.zeros_like(x)
    both = ours.MultiObjective([nn.MSELoss(), nn.L1Loss()], scales=[2.0, 0.5])
    omega = torch.tensor([0.3, 0.7], dtype=torch.float64)
    wanted = 0.3 * 2 * x.square().mean() + 0.7 * 0.5 * x.abs().mean()
    torch.testing.assert_close(both(x, target, omega), wanted, rtol=1e-6, atol=1e-6)
    each = ours.MultiObjective([nn.MSELoss(reduction="none"), nn.L1Loss(reduction="none")], scales=[2.0, 0.5])
    torch.testing.assert_close(each(x, target, omega.expand(5, 2)), wanted, rtol=1e-6, atol=1e-6)
    omegas = torch.rand(5, 2, dtype=torch.float64)
    alone = torch.stack([each(x[n : n + 1], target[n : n + 1], omegas[n]) for n in range(5)]).mean()
    torch.testing.assert_close(each(x, target, omegas), alone, rtol=1e-6, atol=1e-6)
    with pytest.raises(ArgumentError, match="reduction='none'"):
        both(x, target, omegas)


def test_drawn_omegas_fill_the_square_and_its_corners():
    both = ours.MultiObjective([nn.MSELoss(), nn.L1Loss()])
    drawn = both.draw(4000, corners=0.5, generator=torch.Generator().manual_seed(0))
    corner = (drawn.sort(1).values == torch.tensor([0.0, 1.0])).all(1)
    assert corner.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn[corner][:, 0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert drawn[~corner].mean().item() == pytest.approx(0.5, abs=0.03)
    assert both.draw().shape == (2,)


def test_wrong_calls(x):
    with pytest.raises(ArgumentError, match="mixing among"):
        layer(mixing="mlp")
    with pytest.raises(ArgumentError, match="expand 1 with linear mixing"):
        layer(mixing="linear", expand=2)
    with pytest.raises(ArgumentError, match=r"omega \(3,\) or \(5, 3\)"):
        layer()(x, torch.ones(4, 3, dtype=torch.float64))
    with pytest.raises(DtypeError, match="omega as a tensor"):
        layer()(x, [0.0, 0.0, 1.0])
    with pytest.raises(ArgumentError, match="10 features"):
        ours.TunableLinear(10, 2)(torch.zeros(2, 9), torch.zeros(2))
    with pytest.raises(ArgumentError, match="one scale for each"):
        ours.MultiObjective([nn.MSELoss()], scales=[1.0, 2.0])
    with pytest.raises(ArgumentError, match="omega"):
        ours.MultiObjective([nn.MSELoss()])(x, x, torch.ones(2))
