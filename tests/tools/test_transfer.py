"""Fitting kernels: exactly where the layer has such a kernel, else as close as its kernels can be."""

import sys
from pathlib import Path

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError
from faltung.tools.transfer import dense, fit

sys.path.insert(0, str(Path(__file__).parent))
from structured import Bumps, Depthwise, LowRank, Masked, Weighted

SHAPE = (6, 4, 3, 3)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def wanted(*shape):
    return torch.randn(*shape, dtype=torch.float64), torch.randn(shape[0], dtype=torch.float64)


@pytest.mark.parametrize(("out", "taps"), [(6, 3), (64, 5)])
@pytest.mark.parametrize("kind", [nn.Conv, Weighted])
def test_layers_with_all_kernels_are_fitted_exactly(kind, out, taps):
    layer, (kernel, bias) = kind(2, 8, out, taps, groups=2, dtype=torch.float64), wanted(out, 4, taps, taps)
    assert fit(layer, kernel, bias) < 1e-12
    torch.testing.assert_close(layer.kernel(), kernel, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.bias, bias, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("out", "taps"), [(6, 3), (64, 5)])
def test_a_mask_gets_the_projection(out, taps):
    layer, (kernel, bias) = Masked(2, 4, out, taps, dtype=torch.float64), wanted(out, 4, taps, taps)
    before = layer.weight.detach().clone()
    off = fit(layer, kernel, bias)
    torch.testing.assert_close(layer.kernel(), kernel * layer.mask)
    torch.testing.assert_close(torch.tensor(off).double(), (kernel * (1 - layer.mask)).norm() / kernel.norm())
    hidden = (layer.mask == 0).expand_as(before)
    assert torch.equal(layer.weight[hidden], before[hidden])  # what the kernel does not see stays


def test_a_low_rank_gets_the_largest_singular_values():
    layer, (kernel, bias) = LowRank(2, 4, 6, 3, dtype=torch.float64), wanted(*SHAPE)
    off = fit(layer, kernel, bias)
    values = torch.linalg.svdvals(kernel.reshape(24, 9))
    best = (values[3:].norm() / values.norm()).item()
    assert best <= off <= best * 1.001


class Tilted(Depthwise):
    """Linear in its weight, and so badly conditioned that products with its matrix alone do not come to an end."""

    def kernel(self):
        taps = torch.arange(1, self.kernel_size[0] + 1, dtype=self.weight.dtype)
        return self.weight @ (1 / (taps[:, None] + taps))


def test_badly_conditioned_layers_are_fitted_too():
    layer, truth = Tilted(1, 2, 6, dtype=torch.float64), Tilted(1, 2, 6, dtype=torch.float64)
    assert fit(layer, truth.kernel()) < 1e-12


def test_what_is_not_linear_moves_too():
    truth, layer = Bumps(2, 4, 6, 5, dtype=torch.float64), Bumps(2, 4, 6, 5, dtype=torch.float64)
    with torch.no_grad():
        truth.width.fill_(1.6)
    assert fit(layer, truth.kernel(), truth.bias) < 1e-6
    assert abs(layer.width.abs() - 1.6) < 1e-4


def test_types_modes_and_fixed_parameters_are_kept():
    layer = Weighted(1, 2, 3, 3).train()
    layer.density.requires_grad_(False)
    density = layer.density.clone()
    kernel, bias = wanted(3, 2, 3)
    assert fit(layer, kernel.float(), bias.float()) < 1e-6
    assert torch.equal(layer.density, density)
    assert layer.weight.dtype == torch.float32
    assert layer.training
    complex_layer, kernel = nn.Conv1d(2, 3, 3, dtype=torch.complex64), torch.randn(3, 2, 3, dtype=torch.complex64)
    assert fit(complex_layer, kernel) < 1e-6
    assert complex_layer.bias.abs().max() < 1e-12


def test_grouped_kernels_meet_dense_ones():
    torch.testing.assert_close(
        torch.nn.functional.conv1d(x := torch.randn(2, 6, 9), k := torch.randn(4, 3, 2), groups=2),
        torch.nn.functional.conv1d(x, dense(k, 2)),
    )
    layer, (kernel, _) = Depthwise(1, 4, 3, dtype=torch.float64), wanted(4, 4, 3)
    fit(layer, kernel)
    torch.testing.assert_close(layer.weight[:, 0], kernel[range(4), range(4)])


def test_wrong_kernels_change_nothing():
    layer = nn.Conv2d(2, 3, 3)
    before = layer.weight.clone()
    with pytest.raises(ArgumentError, match="shape"):
        fit(layer, torch.zeros(3, 2, 5, 5))
    assert torch.equal(layer.weight, before)
    with pytest.raises(DtypeError, match="Linear"):
        fit(torch.nn.Linear(2, 3), torch.zeros(3, 2))


@pytest.mark.parametrize("make", [nn.LongConv1d, nn.SGConv1d])
def test_filters_over_all_of_time_have_no_one_kernel(make):
    with pytest.raises(DtypeError, match=f"fit: .*{make.__name__}"):
        fit(make(3, 9), torch.ones(3, 1, 9))
