"""Pyramid convolution and batch norm: one level, scale shifts, odd sizes, shifts of all levels, the concatenated batch norm."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError, DtypeError


def pyramid(sizes, channels=3, batch=2, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(batch, channels, *size, dtype=torch.float64) for size in sizes]


def stirred(layer):
    torch.manual_seed(5)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    return layer


def agree(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_one_level_is_a_convolution(ndim):
    layer = stirred(nn.PyramidConv(ndim, 3, dtype=torch.float64))
    (x,) = pyramid([(6, 5, 4)[:ndim]])
    conv = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[ndim - 1]
    agree(layer([x]), [conv(x, layer.same.weight, layer.same.bias, padding=1)])


@pytest.mark.parametrize("up", ["bilinear", "nearest"])
def test_it_is_its_formula(up):
    layer = stirred(nn.PyramidConv2d(3, 3, up=up, dtype=torch.float64))
    x = pyramid([(16, 12), (8, 6), (4, 3)])
    conv = torch.nn.functional.conv2d

    def part(conv_layer, x, stride=1):
        return conv(x, conv_layer.weight, conv_layer.bias, stride, 1)

    def enlarged(x, like):
        return torch.nn.functional.interpolate(x, like.shape[2:], mode=up)

    wanted = [
        part(layer.same, x[0]) + enlarged(part(layer.coarser, x[1]), x[0]),
        part(layer.same, x[1]) + part(layer.finer, x[0], 2) + enlarged(part(layer.coarser, x[2]), x[1]),
        part(layer.same, x[2]) + part(layer.finer, x[1], 2),
    ]
    agree(layer(x), wanted)


def test_without_the_finest_level_the_others_keep_their_formulas():
    layer = stirred(nn.PyramidConv2d(3, dtype=torch.float64))
    x = pyramid([(32, 16), (16, 8), (8, 4), (4, 2)])
    whole, rest = layer(x), layer(x[1:])
    agree(rest[1:], whole[2:])
    down = torch.nn.functional.conv2d(x[0], layer.finer.weight, layer.finer.bias, 2, 1)
    agree(rest[0] + down, whole[1])  # what the dropped level had given


@pytest.mark.parametrize("sizes", [[(13, 9), (7, 5), (4, 3), (2, 2), (1, 1)], [(10, 10), (6, 4), (3, 1)]])
@pytest.mark.parametrize("up", ["bilinear", "nearest"])
def test_odd_sizes(sizes, up):
    layer = stirred(nn.PyramidConv2d(3, up=up, dtype=torch.float64))
    x = pyramid(sizes)
    y = layer(x)
    assert [a.shape for a in y] == [a.shape for a in x]
    agree(y, layer.definition(x))


def test_shifts_of_all_levels():
    settings = {"padding_mode": "circular", "dtype": torch.float64}
    x = pyramid([(16, 24), (8, 12), (4, 6)])
    steps = [2 ** (len(x) - 1 - n) for n in range(len(x))]

    def moved(levels):
        return [a.roll((step, -step), (2, 3)) for a, step in zip(levels, steps, strict=True)]

    layer = stirred(nn.PyramidConv2d(3, up="nearest", **settings))
    agree(layer(moved(x)), moved(layer(x)))
    aligned = stirred(nn.PyramidConv2d(3, align_corners=True, **settings))
    assert (aligned(moved(x))[0] - moved(aligned(x))[0]).abs().max() > 1e-3


def test_it_is_linear():
    layer = stirred(nn.PyramidConv2d(3, bias=False, dtype=torch.float64))
    sizes = [(9, 8), (5, 4), (3, 2)]
    x, z = pyramid(sizes), pyramid(sizes, seed=1)
    both = [2 * a - 3 * b for a, b in zip(x, z, strict=True)]
    agree(layer(both), [2 * a - 3 * b for a, b in zip(layer(x), layer(z), strict=True)])


def test_first_values_and_parameters():
    layer = nn.PyramidConv2d(64)
    assert layer.parameter_count() == sum(p.numel() for p in layer.parameters()) == 3 * (64 * 64 * 9 + 64)
    for conv in (layer.same, layer.finer, layer.coarser):
        assert abs(conv.weight.std().item() - 0.01) < 3e-4
        assert (conv.bias == 0).all()


def test_the_norm_is_batch_norm_of_all_samples_side_by_side():
    x = pyramid([(16, 12), (8, 6), (3, 3)], batch=3)
    ours, theirs = nn.PyramidBatchNorm(3, dtype=torch.float64), torch.nn.BatchNorm1d(3, dtype=torch.float64)
    for _ in range(2):
        whole = theirs(torch.cat([a.flatten(2) for a in x], 2))
        parts = whole.split([a[0, 0].numel() for a in x], 2)
        agree(ours(x), [part.reshape(a.shape) for part, a in zip(parts, x, strict=True)])
    agree(list(ours.norm.buffers()), list(theirs.buffers()))
    for layer in (ours, theirs):
        layer.eval()
    agree(ours(x), [theirs(a.flatten(2)).reshape(a.shape) for a in x])


def test_large_levels_dominate_the_norm():
    large, small = torch.zeros(1, 1, 30, 30), torch.ones(1, 1, 10, 10)
    layer = nn.PyramidBatchNorm(1, momentum=1.0)
    layer([large, small])
    torch.testing.assert_close(layer.norm.running_mean, torch.tensor([0.1]))


def test_derivatives_go_through_shared_statistics():
    layer = nn.PyramidBatchNorm(2, dtype=torch.float64)
    x = [a.requires_grad_() for a in pyramid([(3, 2), (2, 1)], channels=2)]
    assert torch.autograd.gradcheck(lambda *x: tuple(layer(list(x))), x)
    (g,) = torch.autograd.grad(layer(x)[0].square().sum(), x[1])
    assert (g != 0).any()


def test_wrong_calls_are_refused():
    layer = nn.PyramidConv2d(3, 2)
    x = [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]
    for wrong in ([], x[:1], [*x, x[1]], [x[0], torch.zeros(2, 3, 4, 4)], [x[0], torch.zeros(1, 2, 4, 4)]):
        with pytest.raises(ArgumentError):
            layer(wrong)
    for wrong in (x[0], None, [x[0], 3]):
        with pytest.raises(DtypeError):
            layer(wrong)
    for options in ({"k": 2}, {"up": "cubic"}, {"levels": 0}, {"channels": 0}):
        with pytest.raises(ArgumentError):
            nn.PyramidConv2d(**{"channels": 3, **options})
    with pytest.raises(ArgumentError):
        nn.PyramidBatchNorm(3)([torch.zeros(1, 4, 5)])


def test_offsets_start_at_zero_and_then_nothing_moves():
    rigid = nn.PyramidConv2d(3, dtype=torch.float64)
    moving = nn.PyramidConv2d(3, deform_from=1, dtype=torch.float64)
    stirred(rigid)
    moving.load_state_dict(rigid.state_dict(), strict=False)
    x = pyramid([(9, 8), (5, 4), (3, 2)])
    agree(moving(x), rigid(x))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_only_levels_from_there_on_move(first):
    rigid, moving = (
        nn.PyramidConv1d(2, dtype=torch.float64),
        nn.PyramidConv1d(2, deform_from=first, dtype=torch.float64),
    )
    stirred(moving)
    rigid.load_state_dict({name: v for name, v in moving.state_dict().items() if "offsets" not in name})
    x = pyramid([(16,), (8,), (4,)], channels=2)
    same = [torch.allclose(a, b) for a, b in zip(moving(x), rigid(x), strict=True)]
    assert same == [level < first for level in range(3)]


def test_whole_offsets_read_other_samples():
    layer = stirred(nn.PyramidConv1d(1, levels=1, deform_from=0, bias=False, dtype=torch.float64))
    with torch.no_grad():
        layer.offsets[0].weight.zero_()
        layer.offsets[0].bias.copy_(torch.tensor([1.0, 0.0, -2.0]))
    (x,) = pyramid([(9,)], channels=1)
    wide, w = torch.nn.functional.pad(x, (3, 3)), layer.same.weight[0, 0]
    wanted = w[0] * wide[..., 3:12] + w[1] * wide[..., 3:12] + w[2] * wide[..., 2:11]
    agree(layer([x]), [wanted])


def test_losses_move_the_offsets():
    layer = nn.PyramidConv2d(2, deform_from=1)
    torch.manual_seed(1)
    with torch.no_grad():
        for conv in (layer.same, layer.coarser, layer.finer):
            conv.weight.normal_()
    sum(
        y.square().sum() for y in layer([torch.randn(1, 2, 8, 8), torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2)])
    ).backward()
    assert all(conv.weight.grad.abs().max() > 0 for conv in layer.offsets)


def test_deformed_pyramids_need_zeros_outside_and_a_level():
    with pytest.raises(ArgumentError, match="margins of zeros"):
        nn.PyramidConv2d(2, deform_from=1, padding_mode="circular")
    with pytest.raises(ArgumentError, match="below 2"):
        nn.PyramidConv2d(2, levels=2, deform_from=2)
    with pytest.raises(ArgumentError, match="deform_from"):
        nn.PyramidConv2d(2, deform_from=-1)
