"""Work under the roof: exact counts, bounds that follow from them, the planner's choice, and chains that could be one pass."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


@st.composite
def chains(draw):
    """Convolutions one after the other along one axis, some transposed, with functions and margins between them."""
    whole = lambda low, high: draw(st.integers(low, high))  # noqa: E731 - a word for each draw
    layers, size = [], whole(8, 40)
    for n in range(whole(2, 4)):
        taps, step, rate, up = whole(1, 5), whole(1, 3), whole(1, 2), draw(st.booleans())
        pad = whole(0, (taps - 1) * rate)
        if up:
            made = nn.ConvTranspose1d(2, 2, taps, step, pad, dilation=rate)
        else:
            made = nn.Conv1d(2, 2, taps, step, pad, dilation=rate, groups=whole(1, 2))
        longer = (
            (size - 1) * step - 2 * pad + rate * (taps - 1) + 1
            if up
            else (size + 2 * pad - rate * (taps - 1) - 1) // step + 1
        )
        if longer < 1 or longer > 200:
            made, longer = nn.Conv1d(2, 2, 1), size
        size = longer
        layers += [made, *([nn.ReLU()] if draw(st.booleans()) else [])]
        if draw(st.booleans()) and n < 1:
            layers.append(nn.ConstantPad1d((1, 2), 0.0))
            size += 3
    for layer in layers:
        for value in layer.parameters():
            nn.init.ones_(value)  # nothing cancels: a derivative is zero only where nothing depends
    return nn.Sequential(*layers), whole(1, 12)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(chains(), st.integers(8, 40))
def test_bytes_that_tiles_read_again(made, n):
    net, tile = made
    x = torch.ones(1, 2, n, requires_grad=True)
    try:
        y = net(x)
    except RuntimeError:  # nothing is left of a short signal
        return
    with patch("faltung.look.efficiency.layer_plan", return_value=None):  # plans take time and no part in this
        (chain,) = look.efficiency(net, x.detach(), roof=ROOF, tile=tile).chains
    boxes = 0
    for start in range(0, y.shape[-1], tile):
        (slope,) = torch.autograd.grad(y[..., start : start + tile].sum(), x, retain_graph=True)
        places = slope[0, 0].nonzero()
        boxes += int(places.max() - places.min()) + 1 if len(places) else 0
    read, convs = 4 * 2 * n, [m for m in net if isinstance(m, nn.modules.conv._ConvNd)]
    exact = all(m.dilation == (1,) and m.stride[0] <= m.kernel_size[0] for m in convs)
    if exact:  # else a box's edge may lie on a place that no tap reads
        assert chain.reread == max(0, 8 * boxes - read)
    assert chain.reread >= 8 * boxes - read
    assert chain.reread == 0 or tile < y.shape[-1]
    last = len(net) - 1 - next(i for i, m in enumerate(reversed(net)) if m in convs)
    weights = sum(p.numel() for p in net.parameters())
    assert chain.fused == read + chain.reread + 4 * (net[: last + 1](x).numel() + weights)
    if chain.reread == 0:
        assert chain.pays
    assert chain.pays == (chain.saved > 0)


def test_small_tiles_of_wide_kernels_do_not_pay_and_the_table_says_so():
    net, x = nn.Sequential(nn.Conv2d(1, 1, 31, padding=15), nn.Conv2d(1, 1, 31, padding=15)), torch.zeros(1, 1, 64, 64)
    small, large = (look.efficiency(net, x, roof=ROOF, tile=tile) for tile in (4, 64))
    assert not small.chains[0].pays
    assert "B more" in small.table()
    assert large.chains[0].pays
    assert large.chains[0].reread == 0
    assert "B less" in large.table()


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
