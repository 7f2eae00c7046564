"""check_autoregressive: right about right models, and it names the pair where one is wrong."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.tools import check_autoregressive


def test_it_names_the_first_forbidden_pair():
    found = check_autoregressive(nn.Conv2d(1, 1, 3, padding=1), (1, 3, 4))
    assert not found.holds
    assert ((0, 0, 0), (0, 0, 0)) in found.forbidden
    assert ((0, 0, 0), (0, 1, 1)) in found.forbidden
    assert ((0, 1, 1), (0, 0, 0)) not in found.forbidden
    assert "not autoregressive" in str(found)


def test_the_number_of_pairs_is_that_of_the_windows():
    found = check_autoregressive(nn.MaskedConv1d(1, 1, 3, mask="A"), (1, 5))
    assert found.holds
    assert len(found.unseen) == sum(range(5)) - 4  # of 10 earlier pairs, 4 are neighbours


def test_other_orders():
    """A quadrant mask serves columns first as well as rows first; a raster mask serves rows only."""
    columns = torch.arange(12).reshape(3, 4).T.flatten()
    quadrant = nn.MaskedConv2d(1, 1, 3, mask="quadrant", zero_diagonal=True)
    raster = nn.MaskedConv2d(1, 1, 3, mask="A")
    assert check_autoregressive(quadrant, (1, 3, 4), columns).holds
    assert check_autoregressive(quadrant, (1, 3, 4)).holds
    assert check_autoregressive(raster, (1, 3, 4)).holds
    assert not check_autoregressive(raster, (1, 3, 4), columns).holds


def test_a_kink_hides_nothing_and_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    model = torch.nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), torch.nn.ReLU(), torch.nn.Dropout(0.5))
    assert not check_autoregressive(model, (1, 6), probes=5).holds
    assert model.training
    assert model[0].weight.dtype == torch.float32


@pytest.mark.parametrize("order", ["snake", [0, 1, 2, 2], [0, 1]])
def test_wrong_orders_are_refused(order):
    with pytest.raises(ArgumentError, match="permutation"):
        check_autoregressive(nn.MaskedConv1d(1, 1, 3), (1, 4), order)


def test_wrong_sizes_are_refused():
    with pytest.raises(ArgumentError, match="keeps the sizes"):
        check_autoregressive(nn.Conv1d(1, 1, 3), (1, 5))
    with pytest.raises(ArgumentError, match="channel groups"):
        check_autoregressive(nn.MaskedConv1d(2, 2, 3), (2, 5), channel_groups=3)
