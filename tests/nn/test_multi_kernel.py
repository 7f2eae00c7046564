"""Kernels of several sizes are one kernel, in results, gradients and cost."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import MultiKernelConv
from faltung.tools import merge_parallel


def test_the_mean_of_six_kernels_is_one_of_eleven_taps():
    torch.manual_seed(0)
    layer = MultiKernelConv(2, 3, 4, dtype=torch.float64)
    for bias in layer.biases:
        nn.init.normal_(bias)
    convs = [nn.Conv2d(3, 4, k, padding=k // 2, dtype=torch.float64) for k in (1, 3, 5, 7, 9, 11)]
    for conv, weight, bias in zip(convs, layer.weights, layer.biases, strict=True):
        conv.load_state_dict({"weight": weight, "bias": bias})
    x = torch.randn(2, 3, 13, 6, dtype=torch.float64)
    want = torch.stack([conv(x) for conv in convs]).mean(0)
    merged = layer.merge()
    assert type(merged) is nn.Conv2d
    assert merged.kernel_size == (11, 11)
    assert sum(w[0, 0].numel() for w in layer.weights) == 286
    assert merged.weight[0, 0].numel() == 121
    for made in (layer, merged, merge_parallel(convs, "mean")):
        torch.testing.assert_close(made(x), want, rtol=0, atol=1e-10)


def test_gradients_are_those_of_the_separate_kernels():
    torch.manual_seed(0)
    layer = MultiKernelConv(2, 2, 3, [1, 3, 5], dtype=torch.float64)
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    wanted = torch.autograd.grad(layer.definition(x).square().sum(), list(layer.parameters()))
    got = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_second_version_has_bands_along_every_axis():
    layer = MultiKernelConv.bands(2, 2, 2, 3)
    assert [tuple(w.shape[2:]) for w in layer.weights] == [(1, 3), (3, 1), (1, 5), (5, 1), (1, 7), (7, 1), (1, 1)]
    assert (layer.kernel() != 0).sum() == 4 * 13  # a cross
    volume = MultiKernelConv.bands(3, 1, 1, 1, reduce="sum", bias=False)
    assert [tuple(w.shape[2:]) for w in volume.weights] == [(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 1, 1)]
    x = torch.randn(1, 1, 4, 4, 4)
    torch.testing.assert_close(volume.merge()(x), volume.definition(x), rtol=1e-4, atol=1e-5)


def test_first_values_follow_he_by_fan_out():
    torch.manual_seed(0)
    for weight in MultiKernelConv(2, 16, 64, (3, 5)).weights:
        fan = 64 * weight[0, 0].numel()
        assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.05)


@pytest.mark.parametrize("options", [{"sizes": (2, 3)}, {"sizes": ()}, {"sizes": 3}, {"reduce": "max"}])
def test_wrong_settings_are_refused(options):
    with pytest.raises(ArgumentError):
        MultiKernelConv(2, 2, 2, **options)
