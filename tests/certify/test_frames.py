"""Admissible layers: what the condition says, what scaling does, and what is not known."""

import pytest
import torch
from torch import nn

from faltung.certify import Scattering1d, Scattering2d, admissible, lipschitz
from faltung.errors import ArgumentError


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 5),
    ).double()  # fmt: skip
    with torch.no_grad():
        for p in (model[1].running_mean, model[1].weight, model[1].bias):
            p.normal_()
        model[1].running_var.uniform_(0.5, 2)
        model[0].weight.mul_(3)
        model[8].weight.mul_(4)
    return model


def test_the_numbers_of_each_layer():
    found = admissible(network(), torch.zeros(1, 2, 8, 8, dtype=torch.float64))
    assert [layer.name for layer in found.layers] == ["1", "4", "8"]
    assert [(x.steep, x.pooling) for x in found.layers] == [(1.0, 2.0), (1.0, pytest.approx(0.5)), (1.0, 1.0)]
    model = network()
    largest = torch.linalg.matrix_norm(model[8].weight.detach(), 2) ** 2
    assert found.layers[2].energy == pytest.approx(float(largest), rel=1e-9)
    for layer in found.layers:
        assert layer.bound == max(layer.energy, layer.energy * (layer.steep * layer.pooling) ** 2)
    assert found.verdict is False
    assert "above 1" in str(found)


def test_scaled_filters_are_admissible_and_the_network_computes_what_it_did():
    model, x = network(), torch.randn(3, 2, 8, 8, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = admissible(model, x)
    scaled = found.rescale()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = admissible(scaled, x)
    assert again.verdict is True
    assert float(lipschitz(scaled, x)) <= 1 + 1e-9
    factor = 1.0
    for layer in found.layers:
        factor *= max(1, layer.bound) ** 0.5
    assert torch.allclose(scaled.eval()(x) * factor, model.eval()(x), rtol=1e-9)


def test_filters_of_one_input_channel_are_counted_by_their_energies():
    weight = torch.randn(6, 1, 5, dtype=torch.float64)
    model = nn.Sequential(nn.Conv1d(1, 6, 5, bias=False), nn.ReLU()).double()
    model[0].weight.data = weight
    energies = torch.fft.fft(weight, 512).abs().square().sum((0, 1)).max()
    found = admissible(model, torch.zeros(1, 1, 512, dtype=torch.float64), rtol=1e-3)
    assert float(energies) <= found.layers[0].energy <= float(energies) * 1.005


def test_a_nonlinearity_that_moves_zero_is_not_admissible():
    model = nn.Sequential(nn.Conv1d(1, 1, 1), nn.Sigmoid())
    nn.init.constant_(model[0].weight, 0.1)
    found = admissible(model, torch.zeros(1, 1, 4))
    assert not found.layers[0].zero
    assert found.verdict is False


def test_what_is_no_chain_is_not_known():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(2, 2, 3, padding=1)
            nn.init.constant_(self.conv.weight, 1e-3)

        def forward(self, x):
            return x + self.conv(x)

    found = admissible(Residual(), torch.zeros(1, 2, 8))
    assert found.verdict is None
    assert any("add" in name for name in found.unknown)
    with pytest.raises(ArgumentError, match="chain"):
        found.rescale()


def test_scattering_is_read_from_its_bank():
    x = torch.zeros(1, 64, 64)
    assert admissible(Scattering2d(3, filters="tight", padding_mode="circular"), x).verdict is True
    assert admissible(Scattering2d(3), x).verdict is False
    assert admissible(Scattering1d(3, filters="tight"), x).verdict is True


def test_shared_filters_are_not_scaled():
    layer = nn.Conv1d(2, 2, 3, padding=1)
    nn.init.constant_(layer.weight, 1.0)
    with pytest.raises(ArgumentError, match="each used once"):
        admissible(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 2, 8)).rescale()
