"""Inception depthwise convolution: what passes through does so bit for bit, what is filtered is a depthwise convolution."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import InceptionDWConv, MetaNeXtBlock


def test_parameters_and_multiplications_of_the_published_layer():
    layer = InceptionDWConv(2, 96)
    assert layer.parts == (60, 12, 12, 12)
    assert sum(p.numel() for p in layer.parameters()) == layer.parameter_count() == 408
    assert sum(w.numel() for w in layer.weights) == 372  # each tap multiplies once for each place
    assert nn.Conv2d(96, 96, 7, groups=96, bias=False).weight.numel() == 4704
    atto = InceptionDWConv(2, 40, band=9, ratio=0.25)
    assert atto.parts == (10, 10, 10, 10)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_s_channels_come_out_bit_for_bit(stride, memory, dtype):
    layer = InceptionDWConv(2, 32, stride=stride, dtype=dtype)
    x = torch.randn(2, 32, 13, 14, dtype=dtype).to(memory_format=memory)
    x[0, 0, 0, 0], x[1, 1, 2, 2], x[0, 2, 4, 4] = (
        torch.inf,
        torch.nan,
        1e-42,
    )  # what no arithmetic with zeros would survive
    kept = layer.parts[0]
    for y in (layer(x), layer.eval()(x.requires_grad_())):
        assert torch.equal(y[:, :kept].nan_to_num(7.5), x[:, :kept, ::stride, ::stride].nan_to_num(7.5))
        assert y[:, kept:].isfinite().all()


def test_every_part_is_what_the_reference_composes():
    torch.manual_seed(0)
    layer = InceptionDWConv(2, 16, square=5, band=7)
    square, wide, tall = (
        nn.Conv2d(2, 2, w.shape[2:], padding=[t // 2 for t in w.shape[2:]], groups=2) for w in layer.weights
    )
    for conv, weight, bias in zip((square, wide, tall), layer.weights, layer.biases, strict=True):
        conv.load_state_dict({"weight": weight, "bias": bias})
    assert (wide.kernel_size, tall.kernel_size) == ((1, 7), (7, 1))
    x = torch.randn(3, 16, 9, 10)
    parts = x.split((10, 2, 2, 2), 1)
    wanted = torch.cat([parts[0], square(parts[1]), wide(parts[2]), tall(parts[3])], 1)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_it_is_a_depthwise_convolution_with_the_effective_kernel(ndim):
    layer = InceptionDWConv(ndim, 12, band=5, ratio=1 / (ndim + 2), dtype=torch.float64)
    kernel = layer.effective_kernel()
    assert kernel.shape == (12, 1, *[5] * ndim)
    kept, part = layer.parts[:2]
    support = [(kernel[c, 0] != 0).nonzero() for c in range(12)]
    assert all(len(s) == 1 and (s == 2).all() and kernel[c, 0, *s[0]] == 1 for c, s in enumerate(support[:kept]))
    assert all(len(s) == 3**ndim for s in support[kept : kept + part])
    for branch in range(ndim):  # bands: the last axis first
        for s in support[kept + (branch + 1) * part : kept + (branch + 2) * part]:
            assert len(s) == 5
            assert [len(s[:, axis].unique()) for axis in range(ndim)] == [
                5 if a == ndim - 1 - branch else 1 for a in range(ndim)
            ]
    x = torch.randn(2, 12, *[6] * ndim, dtype=torch.float64)
    torch.testing.assert_close(layer.freeze()(x), layer(x), rtol=0, atol=1e-10)


def test_turning_the_image_swaps_the_bands():
    layer, turned = InceptionDWConv(2, 16), InceptionDWConv(2, 16)
    order = [0, 2, 1]
    for n, m in enumerate(order):
        turned.weights[n].data = layer.weights[m].data.transpose(2, 3).contiguous()
        turned.biases[n].data = layer.biases[m].data
    x = torch.randn(2, 16, 12, 9)
    first, square, wide, tall = layer(x).transpose(2, 3).split(layer.parts, 1)
    wanted = torch.cat([first, square, tall, wide], 1)
    first, square, wide, tall = x.transpose(2, 3).split(layer.parts, 1)
    got = turned(torch.cat([first, square, tall, wide], 1))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_inference_in_one_pass_is_the_same(ndim, padding_mode):
    layer = InceptionDWConv(ndim, 12, band=5, ratio=1 / (ndim + 2), padding_mode=padding_mode, dtype=torch.float64)
    x = torch.randn(2, 12, *[6] * ndim, dtype=torch.float64)
    want, kept = layer.definition(x), layer.parts[0]
    with torch.no_grad():
        for given, wanted in ((x, want), (x[0], want[0])):
            before = given.clone()
            got = layer(given)
            assert torch.equal(given, before)
            torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
            assert torch.equal(got.narrow(-ndim - 1, 0, kept), given.narrow(-ndim - 1, 0, kept))
            assert torch.equal(layer.forward_(before), got)
        assert layer(x[:0]).shape == x[:0].shape


def test_in_place_the_identity_is_not_touched():
    layer, x = InceptionDWConv(2, 32), torch.randn(2, 32, 12, 12)
    want = layer(x)
    with pytest.raises(ArgumentError, match="no_grad"):
        layer.forward_(x)
    with torch.no_grad():
        given = x.clone()
        got = layer.forward_(given)
        assert got is given
        torch.testing.assert_close(got, want)
        with pytest.raises(ArgumentError, match="stride"):
            InceptionDWConv(2, 32, stride=2).forward_(x)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((2, 8, 3, 11, 0.4), "ratio"), ((2, 8, 3, 11, 0.1), "ratio"), ((2, 16, 4), "odd"), ((2, 16, 3, 10), "odd"),
        ((1, 8, 3, 5, 0.7), "ratio")],
)  # fmt: skip
def test_wrong_settings_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        InceptionDWConv(*arguments)


def test_the_block_starts_close_to_the_identity_and_learns_away_from_it():
    torch.manual_seed(0)
    block = MetaNeXtBlock(2, 16, drop_path=0.1)
    x = torch.randn(4, 16, 8, 8)
    assert (block(x) - x).abs().max() < 1e-5
    assert block.widen.weight.std().item() == pytest.approx(0.02, abs=2e-3)
    optimizer = torch.optim.Adam(block.parameters(), 0.05)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        losses.append((block(x) - x.flip(1)).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]
