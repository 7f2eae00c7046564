"""Counts of operations: reference values of the literature, formulas by hand, and functions that modules do not show."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from faltung import look
from faltung.readers import read

sys.path.insert(0, str(Path(__file__).parent))
from architectures import Basic, Bottleneck, ResNet, vgg16_features


def on_meta(make):
    """The module without memory for its weights: shapes are enough to count."""
    with torch.device("meta"):
        return make().eval()


def test_the_reference_networks():
    x = torch.zeros(1, 3, 224, 224, device="meta")
    small = look.counts(on_meta(lambda: ResNet(Basic, (2, 2, 2, 2))), x)
    assert (small.macs, small.of("conv"), small.parameters) == (1_814_073_344, 1_813_561_344, 11_689_512)
    vgg = look.counts(on_meta(vgg16_features), x)
    assert vgg.macs == 15_346_630_656
    deep = look.counts(on_meta(lambda: ResNet(Bottleneck, (3, 4, 6, 3))), x)
    assert (deep.macs, deep.parameters) == (4_089_184_256, 25_557_032)


def test_a_transposed_convolution_multiplies_every_input_with_every_tap():
    assert look.counts(nn.ConvTranspose2d(3, 1, 2, stride=2), torch.zeros(1, 3, 2, 2)).macs == 48


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    "options", [{}, {"groups": 2}, {"stride": 2}, {"dilation": 2, "padding": 2}, {"padding": 1, "bias": False}]
)
def test_formulas_by_hand(ndim, options):
    x = torch.zeros(2, 4, *(9,) * ndim)
    layer = getattr(nn, f"Conv{ndim}d")(4, 6, 3, **options)
    row = look.counts(layer, x).rows[1]
    made = layer(x)
    assert row.macs == made.numel() * (4 // layer.groups) * 3**ndim
    assert row.bias == (made.numel() if layer.bias is not None else 0)
    assert row.parameters == sum(p.numel() for p in layer.parameters())
    assert row.bytes == 4 * (x.numel() + made.numel() + row.parameters)
    assert row.intensity == 2 * row.macs / row.bytes
    up = getattr(nn, f"ConvTranspose{ndim}d")(4, 6, 3, **options)
    assert look.counts(up, x).macs == x.numel() * (6 // up.groups) * 3**ndim


def products(call, *inputs):
    """Count by a mode of torch's own for everything that multiplies."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as mode:
        call(*inputs)
    return mode.get_total_flops() // 2


class Functions(nn.Module):
    """Convolutions and products that no module holds."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(4, 2, 3)), nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        y = nn.functional.conv1d(x, self.w, padding=1)
        y = y.transpose(1, 2) @ self.v
        weights = torch.softmax(y @ y.transpose(1, 2), -1)
        z = torch.einsum("bij,bjk->bik", weights, y)
        return nn.functional.scaled_dot_product_attention(z, y, y) + nn.functional.linear(z, self.v)


def test_functions_are_counted_as_torch_counts_them():
    model, x = Functions().eval(), torch.randn(2, 2, 8)
    with torch.no_grad():
        assert look.counts(model, x).macs == products(model, x)


def test_a_layer_called_twice_counts_twice_and_its_parameters_once():
    layer = nn.Conv1d(2, 2, 3, padding=1)
    found = look.counts(nn.Sequential(layer, nn.ReLU(), layer), torch.zeros(1, 2, 8))
    assert [r.name for r in found.rows if r.op == "conv"] == ["0", "0:2"]
    assert found.macs == 2 * 8 * 2 * 2 * 3
    assert found.parameters == 14


def test_what_is_not_known_is_not_counted_as_nothing():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x).abs()

    found = look.counts(Odd(), torch.zeros(1, 2, 8))
    assert found.macs is None
    assert found.unknown
    assert "at least" in found.table()


def test_pools_and_sums_cost_elements():
    model = nn.Sequential(nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d(1))
    rows = look.counts(model, torch.zeros(1, 2, 9, 9)).rows[1:]
    assert [(r.macs, r.elements) for r in rows] == [(0, 2 * 16 * 9), (0, 2 * 16)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_bytes_are_those_of_the_type(dtype):
    layer = nn.Conv1d(2, 2, 3, dtype=dtype)
    row = look.counts(layer, torch.zeros(1, 2, 8, dtype=dtype)).rows[1]
    assert row.bytes == dtype.itemsize * (16 + 12 + 14)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_passes_by_hand(groups, bias):
    """Forward, and the gradients of signal and filter, of a grouped convolution: counted by the loops that compute them."""
    N, C, O, side, t, step, pad = 3, 4, 8, 9, 3, 2, 1
    layer, x = nn.Conv2d(C, O, t, step, pad, groups=groups, bias=bias), torch.zeros(N, C, side, side)
    (node,) = read(layer, x).convolutions
    forward, signal, filter_ = look.passes(node)
    m = (side + 2 * pad - t) // step + 1
    products = sum(
        1 for _ in range(N) for _ in range(O) for _ in range(m * m) for _ in range(C // groups) for _ in range(t * t)
    )
    assert [p.name for p in (forward, signal, filter_)] == ["forward", "signal", "filter"]
    assert forward.macs == signal.macs == filter_.macs == products == look.counts(layer, x).macs
    sizes = x.numel() + N * O * m * m + O * (C // groups) * t * t
    assert forward.bytes == filter_.bytes == 4 * (sizes + (O if bias else 0))
    assert signal.bytes == 4 * sizes
    assert (forward.depth, signal.depth, filter_.depth) == (C // groups * t * t, O // groups * t * t, N * m * m)
    assert (forward.bias, signal.bias, filter_.bias) == ((N * O * m * m, 0, N * O * m * m) if bias else (0, 0, 0))
    assert forward.intensity == 2 * products / forward.bytes


def test_passes_of_a_transposed_convolution_are_those_of_its_transpose():
    down, up = nn.Conv2d(6, 4, 3, 2, 1, groups=2, bias=False), nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2, bias=False)
    (one,), (two,) = (read(m, torch.zeros(2, c, n, n)).convolutions for m, c, n in ((down, 6, 9), (up, 4, 5)))
    (a, b, c), (d, e, f) = look.passes(one), look.passes(two)
    assert (a.macs, a.bytes, a.depth) == (e.macs, e.bytes, e.depth)
    assert (b.macs, b.bytes, b.depth) == (d.macs, d.bytes, d.depth)
    assert (c.macs, c.bytes, c.depth) == (f.macs, f.bytes, f.depth)
    assert look.passes(read(nn.Linear(3, 3), torch.zeros(1, 3)).nodes[1]) == ()
