"""Work under the roof: exact counts, bounds that follow from them, the planner's choice, and chains that could be one pass."""

import math

import pytest
import torch
from torch import nn

import faltung.nn
from faltung import look
from faltung.errors import ArgumentError
from faltung.look.efficiency import layer_plan, measured
from faltung.readers import read

ROOF = look.Roof(1e11, 1e10)


def block():
    return nn.Sequential(
        nn.Conv2d(16, 64, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.ReLU(),
        nn.Conv2d(64, 16, 1), nn.MaxPool2d(2), nn.Conv2d(16, 8, 3),
    ).eval()  # fmt: skip


def test_rows_follow_from_counts():
    x = torch.zeros(1, 16, 14, 14)
    found = look.efficiency(block(), x, roof=ROOF)
    assert [w.name for w in found.rows] == ["0", "3", "5", "7"]
    dw = found.rows[1]
    assert dw.ops == 2 * 64 * 14 * 14 * 9
    assert dw.bytes == 4 * (2 * 64 * 14 * 14 + 64 * 9 + 64)
    assert dw.attainable == dw.ops / dw.bytes / 10 < 1
    assert dw.ideal == pytest.approx(dw.ops / (1e11 * dw.attainable))
    slow = sum(w.ops * max(1, 10 / w.intensity) for w in found.rows)
    assert found.attainable == pytest.approx(sum(w.ops for w in found.rows) / slow)
    assert found.attainable <= 1
    assert [under for *_, under in found.waterline()] == [w.intensity < 10 for w in found.rows]
    assert found.gap()[1] == ("3", dw.ops / 1e11, None)
    assert "in one pass" in found.table()


def test_with_enough_bandwidth_everything_is_attainable():
    found = look.efficiency(block(), torch.zeros(1, 16, 14, 14), roof=look.Roof(1e11, 1e13))
    assert found.attainable == 1
    assert all(w.attainable == 1 for w in found.rows)


def test_chains_that_could_be_one_pass():
    (chain,) = look.efficiency(block(), torch.zeros(1, 16, 14, 14), roof=ROOF, tile=16).chains
    assert chain.names == ("0", "1", "2", "3", "4", "5")
    assert chain.halo == (18 / 16) ** 2
    inside = 4 * 64 * 14 * 14
    assert chain.saved == 10 * inside  # five results between the first input and the last result, written and read
    branched = look.efficiency(Both(), torch.zeros(1, 4, 8, 8), roof=ROOF)
    assert branched.chains == ()


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.a(x)
        return self.b(y) + y


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 5, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
        faltung.nn.Conv(2, 4, 6, 3, stride=2, padding=1, groups=2),
    ],
)
def test_the_plan_is_that_of_the_layer(layer):
    ndim = layer.weight.ndim - 2
    x = torch.randn(
        2,
        layer.weight.shape[0] if "Transpose" in type(layer).__name__ else layer.weight.shape[1] * layer.groups,
        *(9,) * ndim,
    )
    (node,) = read(layer, x).convolutions
    plan = layer_plan(node)
    assert plan is not None
    groups = layer.groups
    k = layer.weight.detach().reshape(groups, -1, *layer.weight.shape[1:]) if groups > 1 else layer.weight.detach()
    signal = x.reshape(2, groups, -1, *x.shape[2:]) if groups > 1 else x
    y = plan(y=signal, k=k) if node.transposed else plan(signal, k)
    y = y.flatten(1, 2) if groups > 1 else y
    bias = layer.bias.detach().reshape(-1, *(1,) * ndim)
    torch.testing.assert_close(y + bias, layer(x).detach(), atol=1e-4, rtol=1e-4)
    row = look.efficiency(layer, x, roof=ROOF).rows[0]
    assert row.method == plan.method
    assert row.predicted == plan.cost


def test_times_are_measured_only_if_asked_for():
    layer, x = nn.Conv2d(4, 4, 3), torch.zeros(1, 4, 9, 9)
    assert look.efficiency(layer, x, roof=ROOF).rows[0].speedup is None
    row = look.efficiency(layer, x, roof=ROOF, measure=True, repeats=2).rows[0]
    assert row.torch > 0
    assert row.speedup == row.torch / row.faltung
    assert row.efficiency == row.ops / (1e11 * row.torch)
    (node,) = read(nn.Conv2d(1, 1, 3, padding=(1, 0)), torch.zeros(1, 1, 9, 9)).convolutions
    assert all(seconds > 0 for seconds in measured(node, 1))
    uneven = read(faltung.nn.Conv(1, 1, 1, 3, padding=1, padding_mode="circular"), torch.zeros(1, 1, 9)).convolutions[0]
    with pytest.raises(ArgumentError, match="margins of zeros"):
        measured(uneven)


def test_this_machine_has_a_roof():
    roof = look.this_roof()
    assert math.isfinite(roof.balance)
    assert roof.peak > 1e8
    assert roof is look.this_roof()
