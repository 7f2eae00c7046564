"""Residuals of cells of any side: their laws, and the convolution that they are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faltung import look, nn
from faltung.errors import ArgumentError

some = settings(max_examples=30, deadline=None)


def drawn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@some
@given(
    cell=st.integers(1, 5), size=st.lists(st.integers(1, 7), min_size=1, max_size=3), seed=st.integers(0, 99),
    reference=st.sampled_from(["topleft", "mean"]),
)  # fmt: skip
def test_it_is_its_definition_for_every_cell_cut_ones_too(cell, size, seed, reference):
    layer = nn.NeighborResidual(cell, reference)
    x = drawn(seed, 2, 3, *size)
    made = layer(x)
    torch.testing.assert_close(made, layer.definition(x))
    assert torch.equal(made, look.neighbor_residual(x, cell, reference))
    torch.testing.assert_close(layer(x + 7), made)
    big = x
    for axis in range(2, x.ndim):
        big = big.repeat_interleave(cell, axis)
    assert layer(big).abs().max() < 1e-12


@pytest.mark.parametrize("cell", [2, 3, 4])
def test_it_is_a_strided_convolution_and_a_shuffle(cell):
    """cell² fixed kernels, one for each place of a cell: the place less the first."""
    kernels = torch.eye(cell * cell, dtype=torch.float64)
    kernels[:, 0] -= 1
    x = drawn(0, 2, 3, 3 * cell, 2 * cell)
    weight = kernels.reshape(cell * cell, 1, cell, cell).repeat(3, 1, 1, 1)
    wanted = F.pixel_shuffle(F.conv2d(x, weight, stride=cell, groups=3), cell)
    torch.testing.assert_close(nn.NeighborResidual(cell)(x), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("cell", [2, 3])
def test_it_moves_with_whole_cells_and_not_with_parts(cell):
    layer, x = nn.NeighborResidual(cell), drawn(1, 1, 1, 4 * cell)
    torch.testing.assert_close(layer(x.roll(cell, -1)), layer(x).roll(cell, -1))
    for part in range(1, cell):
        assert not torch.allclose(layer(x.roll(part, -1)), layer(x).roll(part, -1))


@pytest.mark.parametrize("given", [{"cell": 0}, {"cell": 1.5}, {"reference": "last"}])
def test_wrong_settings_are_refused(given):
    with pytest.raises(ArgumentError):
        nn.NeighborResidual(**given)


@pytest.mark.parametrize("reference", ["topleft", "mean"])
@pytest.mark.parametrize("size", [(0,), (4, 0), (0, 3)])
def test_an_axis_without_samples_stays_without(reference, size):
    x = torch.zeros(2, 3, *size)
    assert nn.NeighborResidual(2, reference)(x).shape == x.shape


def test_shifts_are_declared_for_sizes_that_cells_divide_alone():
    (shift,) = nn.NeighborResidual(3).symmetries()
    assert shift.fits(torch.zeros(1, 1, 6, 3))
    assert not shift.fits(torch.zeros(1, 1, 6, 4))
