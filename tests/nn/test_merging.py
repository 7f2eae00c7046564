"""Kernels in frames, norms in kernels, chains and sums of filters: each against the modules it stands for."""

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import Conv
from faltung.nn.branches.merging import AnyBatchNorm, Filter, chain_filters, embed_kernel, fold_norm, join_filters
from faltung.nn.functional import conv


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_an_embedded_kernel_does_what_the_dilated_one_does(ndim):
    x, kernel = torch.randn(1, 2, *[6] * ndim, dtype=torch.float64), torch.randn(3, 2, *[3] * ndim, dtype=torch.float64)
    wanted = conv(x, kernel, dilation=2, padding=2)
    sparse = embed_kernel(kernel, 7, dilation=2)
    assert (sparse != 0).sum() == kernel.numel()
    torch.testing.assert_close(conv(x, sparse, padding=3), wanted, rtol=0, atol=1e-12)
    early = embed_kernel(
        kernel, 6, dilation=2, lead=0
    )  # the first tap reads one sample later than from the middle of seven
    torch.testing.assert_close(conv(x, early, padding=2)[(..., *[slice(5)] * ndim)], wanted[(..., *[slice(5)] * ndim)])


def test_a_frame_must_hold_the_kernel():
    with pytest.raises(ArgumentError, match="even number of zeros"):
        embed_kernel(torch.ones(1, 1, 3), 4)
    with pytest.raises(ArgumentError, match="enlarge the frame"):
        embed_kernel(torch.ones(1, 1, 3), 5, lead=3)


@pytest.mark.parametrize("affine", [True, False])
def test_a_folded_norm_does_what_the_norm_does(affine):
    layer, norm = nn.Conv2d(2, 3, 3, dtype=torch.float64), nn.BatchNorm2d(3, affine=affine, dtype=torch.float64)
    for _ in range(3):
        norm(layer(torch.randn(4, 2, 5, 5, dtype=torch.float64)))
    if affine:
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    weight, bias = fold_norm(layer.weight, layer.bias, norm.eval())
    torch.testing.assert_close(nn.functional.conv2d(x, weight, bias), norm(layer(x)), rtol=0, atol=1e-12)


def test_norms_that_are_not_final_refuse():
    weight = torch.ones(3, 1, 1)
    with pytest.raises(ArgumentError, match="training mode"):
        fold_norm(weight, None, nn.BatchNorm1d(3))
    with pytest.raises(ArgumentError, match="keeps no statistics"):
        fold_norm(weight, None, nn.BatchNorm1d(3, track_running_stats=False).eval())
    with pytest.raises(DtypeError, match="a batch norm"):
        fold_norm(weight, None, nn.LayerNorm(3).eval())


def test_our_batch_norm_is_torch_s_in_any_dimension():
    ours, theirs = AnyBatchNorm(3), nn.BatchNorm2d(3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(4, 3, 5, 6)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours(x.reshape(4, 3, 5, 2, 3, 1)), theirs(x).reshape(4, 3, 5, 2, 3, 1))


def test_fewer_groups_compute_the_same():
    layer = nn.Conv2d(12, 24, 3, groups=6)
    x = torch.randn(2, 12, 5, 5)
    for groups in (1, 2, 3, 6):
        torch.testing.assert_close(Filter.of(layer).grouped(groups).layer()(x), layer(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [(1, 1), (2, 4), (4, 6)])
@pytest.mark.parametrize("pointwise", ["first", "second"])
def test_two_in_a_row(groups, pointwise):
    taps = {"kernel_size": 3, "dilation": 2, "stride": 2, "dtype": torch.float64}
    one, two = ({"kernel_size": 1, "dtype": torch.float64}, taps)[:: 1 if pointwise == "first" else -1]
    first, second = nn.Conv1d(8, 24, groups=groups[0], **one), nn.Conv1d(24, 12, groups=groups[1], **two)
    x = torch.randn(2, 8, 11, dtype=torch.float64)
    made = chain_filters(Filter.of(first), Filter.of(second)).layer()
    torch.testing.assert_close(made(x), second(first(x)), rtol=0, atol=1e-12)


def test_rows_that_are_no_single_convolution_refuse():
    spread, dot = Filter.of(nn.Conv1d(2, 2, 3, padding=1)), Filter.of(nn.Conv1d(2, 2, 1))
    with pytest.raises(ArgumentError, match="a single tap"):
        chain_filters(spread, spread)
    with pytest.raises(ArgumentError, match="margin of zeros"):  # the constant is missing in the margin
        chain_filters(dot, spread)
    with pytest.raises(ArgumentError, match="2 channels"):
        chain_filters(dot, Filter.of(nn.Conv1d(3, 2, 1)))
    wrapped = Filter.of(nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"))
    x = torch.randn(1, 2, 6)
    want = wrapped.layer()(dot.layer()(x))
    torch.testing.assert_close(chain_filters(dot, wrapped).layer()(x), want, rtol=1e-5, atol=1e-6)


def test_joined_outputs_stand_one_after_the_other():
    layers = [nn.Conv2d(4, 2, 3, padding=1, groups=2), nn.Conv2d(4, 3, 5, padding=4, dilation=2, bias=False)]
    x = torch.randn(2, 4, 7, 6)
    made = join_filters([Filter.of(layer) for layer in layers]).layer()
    torch.testing.assert_close(made(x), torch.cat([layer(x) for layer in layers], 1), rtol=1e-5, atol=1e-6)


def test_margins_that_differ_become_zeros_of_the_kernel():
    layer = Conv(1, 1, 1, 4, padding="same", padding_mode="circular")
    x = torch.randn(1, 1, 9)
    made = Filter.of(layer).layer()
    assert isinstance(made, nn.Conv1d)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-5, atol=1e-6)
