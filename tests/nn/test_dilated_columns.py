"""Columns of dilated convolutions: sizes, receptive field, every column alive, and what merges."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import MultiColumnDilated
from faltung.tools import merge_parallel


@pytest.mark.parametrize("size", [(1, 1), (7, 20), (33, 2)])
def test_the_result_has_the_input_s_size(size):
    layer = MultiColumnDilated(2, 3, mid=2)
    assert layer(torch.randn(2, 3, *size)).shape == (2, 1, *size)


def test_the_published_network_has_its_sizes():
    layer = MultiColumnDilated(2, 3)
    assert [len(column) for column in layer.columns] == [4] * 5
    assert layer.aggregate[0].in_channels == 160
    assert layer.parameter_count() == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize(
    ("ndim", "columns", "aggregate"),
    [
        (1, ((3, (1, 2, 4)), (5, (2, 3))), (2, 4)), (1, ((3, (1, 1, 2, 4)), (5, (4, 4, 8, 16))), (2, 4, 8, 16)),
        (2, ((3, (1, 2)), (5, (1,))), (2,)), (2, ((3, (2,)),), ()), (3, ((3, (1,)), (3, (2,))), ()),
    ],
)  # fmt: skip
def test_the_receptive_field_is_what_an_impulse_reaches(ndim, columns, aggregate):
    layer = MultiColumnDilated(ndim, 1, mid=1, columns=columns, aggregate=aggregate)
    for value in layer.parameters():
        nn.init.ones_(value) if value.ndim > 1 else nn.init.zeros_(value)
    field = layer.receptive_field()
    x = torch.zeros(1, 1, *[f + 4 for f in field])
    x[(0, 0, *[(f + 4) // 2 for f in field])] = 1
    reached = layer(x)[0, 0].nonzero()
    assert tuple((reached.amax(0) - reached.amin(0) + 1).tolist()) == field


def test_one_column_without_aggregator_is_a_plain_stack():
    torch.manual_seed(0)
    layer = MultiColumnDilated(2, 2, mid=3, columns=((3, (1, 2, 4)),), aggregate=())
    convs = [nn.Conv2d(c, 3, 3, padding=r, dilation=r) for c, r in ((2, 1), (3, 2), (3, 4))] + [nn.Conv2d(3, 1, 1)]
    for conv, ours in zip(convs, (*layer.columns[0], layer.last), strict=True):
        conv.load_state_dict(ours.state_dict())
    stack = nn.Sequential(*(part for conv in convs for part in (conv, nn.ReLU())))
    x = torch.randn(2, 2, 12, 11)
    torch.testing.assert_close(layer(x), stack(x), rtol=1e-5, atol=1e-6)


def test_every_column_reads_its_own_layers():
    torch.manual_seed(0)
    layer = MultiColumnDilated(2, 1, mid=2)
    x = torch.randn(1, 1, 24, 24)
    ends = {}
    for n, column in enumerate(layer.columns):
        column[-1].register_forward_hook(lambda module, given, got, n=n: ends.__setitem__(n, got.detach().clone()))
    layer(x)
    before = dict(ends)
    for n, column in enumerate(layer.columns):
        with torch.no_grad():
            column[0].bias += 1
        layer(x)
        moved = {m for m in ends if not torch.equal(ends[m], before[m])}
        assert moved == {n}
        with torch.no_grad():
            column[0].bias -= 1


def test_one_layer_of_several_columns_merges_into_one_convolution():
    torch.manual_seed(0)
    layer = MultiColumnDilated(2, 3, mid=4, columns=((3, (1,)), (3, (2,)), (5, (2,))), aggregate=())
    x = torch.randn(2, 3, 14, 13)
    firsts = [column[0] for column in layer.columns]
    joined = merge_parallel(firsts, "cat")
    assert (joined.kernel_size, joined.out_channels) == ((9, 9), 12)
    torch.testing.assert_close(layer.last(joined(x).relu()).relu(), layer(x), rtol=1e-4, atol=1e-5)
    mean = merge_parallel(firsts, "mean")
    torch.testing.assert_close(mean(x), torch.stack([conv(x) for conv in firsts]).mean(0), rtol=1e-4, atol=1e-5)


def test_first_values_follow_he():
    torch.manual_seed(0)
    layer = MultiColumnDilated(2, 8, mid=64, columns=((3, (1, 1)),), aggregate=())
    assert layer.columns[0][1].weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert layer.columns[0][1].bias.abs().max() == 0


@pytest.mark.parametrize("options", [{"columns": ()}, {"columns": ((3, ()),)}, {"columns": ((4, (1,)),)}, {"mid": 0}])
def test_wrong_settings_are_refused(options):
    with pytest.raises(ArgumentError):
        MultiColumnDilated(2, 1, **options)
