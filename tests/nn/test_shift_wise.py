"""The shift-wise layer: the support of its arms, three convolutions, merged copies, tables, sparse blocks."""

import copy

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError
from faltung.nn.functional.definition import conv_by_taps

SUPPORTS = {51: (-25, 25), 49: (-24, 26), 47: (-23, 24), 13: (-6, 8), 9: (-4, 4)}


def branches(layer, x):
    """The three branches of a two-dimensional layer by torch's own convolutions with its effective kernels."""
    part = x[:, layer.processed]
    horizontal, vertical, centre = layer.effective_kernels()
    (first, last), half = layer.support, layer.small // 2
    rest = layer.small - 1 - half
    pads = [(-first, last, half, rest), (half, rest, -first, last), (half, rest, half, rest)]
    return part, [
        torch.nn.functional.conv2d(torch.nn.functional.pad(part, pad), kernel.unsqueeze(1), groups=part.shape[1])
        for kernel, pad in zip((horizontal, vertical, centre), pads, strict=True)
    ]


@pytest.mark.parametrize(("big", "support"), SUPPORTS.items())
def test_support_of_the_arms(big, support):
    layer = nn.ShiftWiseConv2d(2, big=big, ghost=0.0, norm=False, dtype=torch.float64)
    assert layer.support == support
    x = torch.zeros(1, 2, 111, 111, dtype=torch.float64)
    x[..., 55, 55] = 1
    seen = layer(x)[0, 0] != 0
    rows, columns = (seen.any(axis).nonzero().flatten() for axis in (1, 0))
    # A result at p sees the impulse at offset 55 - p.
    for found in (rows, columns):
        assert (55 - found.max().item(), 55 - found.min().item()) == support
    assert seen[:, 55].sum() == seen[55].sum() == support[1] - support[0] + 1


@pytest.mark.parametrize(
    ("big", "small", "size"), [(51, 3, (40, 30)), (13, 3, (7, 9)), (9, 2, (12, 5)), (5, 5, (6, 6))]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_three_zero_padded_depthwise_convolutions(big, small, size, dtype):
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv(2, 7, big=big, small=small, norm=False, seed=5, dtype=dtype)
    x = torch.randn(2, 7, *size, dtype=dtype)
    part, parts = branches(layer, x)
    wanted = x.clone()
    wanted[:, layer.processed] = part + sum(parts)
    error = (layer(x) - wanted).abs().max() / wanted.abs().max()
    assert error < (1e-12 if dtype == torch.float64 else 1e-5)


def test_in_training_every_branch_is_normed_by_its_batch():
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv2d(6, big=9, dtype=torch.float64)
    x = torch.randn(3, 6, 8, 9, dtype=torch.float64)
    part, parts = branches(layer, x)
    wanted = x.clone()
    wanted[:, layer.processed] = part + sum(torch.nn.functional.batch_norm(h, None, None, training=True) for h in parts)
    torch.testing.assert_close(layer(x), wanted)
    for norm, h in zip(layer.norms, parts, strict=True):
        torch.testing.assert_close(norm.running_mean, 0.1 * h.mean((0, 2, 3)))
        torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * h.transpose(0, 1).flatten(1).var(1))


def test_evaluation_folds_what_training_has_learnt():
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv2d(6, big=9, dtype=torch.float64)
    for _ in range(3):
        layer(torch.randn(3, 6, 8, 9, dtype=torch.float64))
    layer.eval()
    x = torch.randn(3, 6, 8, 9, dtype=torch.float64)
    part, parts = branches(layer, x)
    wanted = x.clone()
    wanted[:, layer.processed] = part + sum(
        norm(h.flatten(2)).reshape(h.shape) for norm, h in zip(layer.norms, parts, strict=True)
    )
    torch.testing.assert_close(layer(x), wanted)
    with torch.no_grad():  # sums in place
        torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("training", [True, False])
def test_merging_paths_changes_nothing(training):
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv2d(8, big=9, paths=3, dtype=torch.float64).train(training)
    x = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    wanted, count = copy.deepcopy(layer)(x), layer.parameter_count()
    merged = layer.merge_paths()
    torch.testing.assert_close(merged(x), wanted, rtol=1e-13, atol=1e-13)
    assert merged.parameter_count() == sum(p.numel() for p in merged.parameters()) < count
    assert "paths=1" in repr(merged)


def test_tables_travel_with_the_state_and_global_generators_stay():
    before = torch.get_rng_state()
    one = nn.ShiftWiseConv2d(8, big=9, norm=False, device="meta", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    del one
    one, other = (nn.ShiftWiseConv2d(8, big=9, norm=False, seed=seed) for seed in (1, 2))
    again = nn.ShiftWiseConv2d(8, big=9, norm=False, seed=1)
    for name in ("processed", "order", "centre"):
        assert torch.equal(one.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(one.order, other.order)
    x = torch.randn(1, 8, 9, 9)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


def test_channels_keep_their_order_and_ghosts_pass():
    layer = nn.ShiftWiseConv2d(64, big=9)
    assert len(layer.processed) == 48
    x = torch.randn(2, 64, 6, 6)
    y = layer(x)
    ghosts = sorted(set(range(64)) - set(layer.processed.tolist()))
    assert torch.equal(y[:, ghosts], x[:, ghosts])
    assert (y != x).flatten(2).any(2)[:, layer.processed].all()


def test_tables_are_permutations():
    layer = nn.ShiftWiseConv2d(64, big=51)
    assert layer.order.shape == (2, 4, 48, 17)
    assert (layer.order.sort(-1).values == torch.arange(17)).all()
    # Drawn anew for each channel, repetition and axis.
    assert len({tuple(row) for row in layer.order.flatten(0, 2).tolist()}) == 2 * 4 * 48


def test_gradient_of_tied_kernels_is_the_sum_over_three_dense_ones():
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv2d(6, big=9, paths=2, norm=False, dtype=torch.float64)
    x = torch.randn(2, 6, 10, 8, dtype=torch.float64)
    part, _ = branches(layer, x)
    cotangent = torch.randn_like(x)
    (got,) = torch.autograd.grad(layer(x), layer.weight, cotangent)
    pulled = torch.zeros_like(got[0])
    pads = [((1, 1), (4, 4)), ((4, 4), (1, 1)), ((1, 1), (1, 1))]
    for n, (kernel, pad) in enumerate(zip(layer.effective_kernels(), pads, strict=True)):
        dense = kernel.detach().unsqueeze(1).requires_grad_()
        y = conv_by_taps(part, dense, None, (1, 1), pad, (1, 1), 4)
        (g,) = torch.autograd.grad(y, dense, cotangent[:, layer.processed])
        g = g.squeeze(1)
        for c in range(4):
            for r in range(4):
                if n == 2:
                    pulled[c, layer.centre[r, c]] += g[c]
                    continue
                for i in range(3):
                    seen = slice(3 * i, 3 * i + 3)
                    j = layer.order[1 - n, r, c, i]
                    pulled[c, j] += g[c, :, seen] if n == 0 else g[c, seen]
    for path in got:
        torch.testing.assert_close(path, pulled)


def test_the_same_bits_every_time():
    layer, x = nn.ShiftWiseConv2d(16, big=13), torch.randn(2, 16, 20, 20)
    runs = [torch.autograd.grad(layer(x).square().sum(), list(layer.parameters())) for _ in range(3)]
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


def test_whole_blocks_are_switched_off_and_others_on():
    torch.manual_seed(0)
    layer = nn.ShiftWiseConv2d(16, big=13, norm=False)
    x = torch.randn(1, 16, 9, 9)
    score = (
        (layer.weight * torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]).sum(0).abs().flatten(2).sum(2)
    )
    layer.sparsify(0.3, score)
    off = ~layer.alive
    assert off.sum() == round(0.3 * layer.alive.numel())
    assert score[off].max() <= score[~off].min()
    for grown in torch.autograd.grad(layer(x).sum(), layer.weight)[0]:
        assert (grown[off] == 0).all()
        assert (grown[~off] != 0).any()
    before = layer.alive.clone()
    layer.explore(0.3, seed=7)
    assert layer.alive.sum() == before.sum()
    on = layer.alive & ~before
    assert on.sum() == min(round(0.3 * before.sum().item()), off.sum().item())
    assert (layer.weight[:, on] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 1},
        {"channels": 8, "big": 2},
        {"channels": 8, "ghost": 1.0},
        {"channels": 8, "small": 0},
        {"channels": 8, "reps": 1.5},
        {"channels": 8, "padding_mode": "zero"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ArgumentError):
        nn.ShiftWiseConv2d(**wrong)


def test_wrong_shares_are_refused():
    layer = nn.ShiftWiseConv2d(8, big=9)
    with pytest.raises(ArgumentError, match="sparsity"):
        layer.sparsify(1.5)
    with pytest.raises(ArgumentError, match="scores"):
        layer.sparsify(0.5, torch.zeros(3))
