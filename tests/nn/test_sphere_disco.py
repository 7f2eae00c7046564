"""Local convolution on the sphere: constants, how rotations are kept, hats that sum to one."""

import numpy as np
import pytest
import torch

from faltung.errors import ArgumentError
from faltung.nn import DiscoConv
from faltung.nn.sphere import SpinSHT, turn
from faltung.nn.sphere.disco import hats


def smooth(size, degree=3):
    """A function of low degree."""
    sht = SpinSHT(size, dtype=torch.float64, degree=degree)
    a = torch.randn(2, 1, (degree + 1) ** 2, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    return sht.inverse(a).real, sht.grid


def off(got, wanted):
    return ((got - wanted).norm() / wanted.norm()).item()


def test_hats_are_a_partition_of_one_within_the_last_ring():
    radius, azimuth = np.meshgrid(np.linspace(0, 0.66, 20), np.linspace(-np.pi, np.pi, 17))
    for points in (1, 2, 5):
        found = hats(radius, azimuth, 3, points, 1.0)
        assert found.shape[0] == 1 + 2 * points
        np.testing.assert_allclose(found.sum(0), 1, atol=1e-12)
        assert (found >= 0).all()


def test_constants_come_back_times_the_sum_of_weights():
    layer = DiscoConv(1, 2, (8, 16), (5, 8), points=4, out_grid="gauss", dtype=torch.float64)
    wanted = layer.weight.sum((1, 2)) * 3 + layer.bias
    y = layer(torch.full((1, 1, 8, 16), 3.0, dtype=torch.float64))
    torch.testing.assert_close(y, wanted[None, :, None, None].expand_as(y), rtol=0, atol=1e-12)


def test_round_filters_are_nearly_equivariant_and_more_so_on_finer_grids():
    errors = []
    for n in (12, 24, 40):
        torch.manual_seed(0)
        layer = DiscoConv(1, 1, n, reach=0.8, grid="gauss", bias=False, dtype=torch.float64)
        x, grid = smooth(layer.grid)
        rotation = (0.3, 1.2, 0.4)
        errors.append(off(layer(turn(x, rotation, grid)), turn(layer(x), rotation, grid)))
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 2e-2
    torch.manual_seed(0)
    directed = DiscoConv(1, 1, 24, points=4, reach=0.8, grid="gauss", bias=False, dtype=torch.float64)
    x, grid = smooth(directed.grid)
    assert off(directed(turn(x, rotation, grid)), turn(directed(x), rotation, grid)) > 5e-2  # north is not turned


def test_longitudes_roll_exactly():
    layer = DiscoConv(2, 2, (8, 12), (6, 4), points=3, dtype=torch.float64)
    x = torch.randn(1, 2, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert off(layer(x.roll(6, -1)), layer(x).roll(2, -1)) < 1e-14


def test_a_hat_at_the_centre_is_the_limit_of_the_identity():
    layer = DiscoConv(1, 1, (64, 64), rings=1, reach=0.12, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.fill_(1)
    x, _ = smooth(layer.grid, 2)
    assert off(layer(x), x) < 1e-2


def test_wrong_calls_say_what_to_do():
    for wrong in (
        lambda: DiscoConv(1, 1, (8, 12), (8, 5)),
        lambda: DiscoConv(1, 1, 8, reach=4.0),
        lambda: DiscoConv(1, 1, (8, 8), points=9, reach=0.05),
        lambda: DiscoConv(1, 1, 8)(torch.zeros(1, 1, 8, 8, dtype=torch.complex64)),
    ):
        with pytest.raises(ArgumentError):
            wrong()
