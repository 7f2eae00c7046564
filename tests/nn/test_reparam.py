"""Dilated branches beside a large kernel: they merge exactly, and only when the norms are final."""

import copy

import pytest
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.nn import DilatedReparam, LargeKernelBlock
from faltung.nn.branches.large_kernel_block import kernel_plan
from faltung.nn.branches.reparam import BRANCHES, usual_branches


def trained(layer, shape, steps=3):
    """The layer after some steps that move weights and statistics, still in training mode."""
    torch.manual_seed(0)
    dtype = next(layer.parameters()).dtype
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(torch.randn(shape, dtype=dtype) * 2 + 1).square().mean().backward()
        optimizer.step()
    return layer


def test_training_costs_more_by_the_published_ratios():
    ratios = {5: 1.72, 7: 1.878, 9: 1.84, 11: 1.636, 13: 1.598, 15: 1.449, 17: 1.46}
    for taps, ratio in ratios.items():
        assert DilatedReparam(2, 2, taps).cost_ratio() == pytest.approx(ratio, abs=5e-4)


def test_the_usual_branches_fit_and_go_on_beyond_the_table():
    for taps in range(1, 60, 2):
        reaches = [rate * (k - 1) + 1 for k, rate in usual_branches(taps)]
        assert all(k % 2 for k, _ in usual_branches(taps))
        assert all(reach <= taps for reach in reaches)
        assert taps < 7 or max(reaches) >= taps - 2
    assert usual_branches(17) == BRANCHES[17]


@pytest.mark.parametrize(
    ("ndim", "taps", "options"),
    [(2, k, {}) for k in (5, 7, 9, 11, 13, 15, 17, 19)]
    + [
        (1, 7, {}), (3, 5, {}), (4, 3, {"branches": ((3, 1), (1, 1))}), (2, 7, {"groups": 2}), (2, 7, {"groups": 1, "stride": 2}),
        (2, 9, {"norm": False}), (2, 9, {"bias": True}), (2, 5, {"padding_mode": "circular"}), (2, 5, {"padding_mode": "reflect"}),
        (2, (5, 7), {"branches": (((3, 1), (2, 1)), (3, (1, 3)))}),
    ],
)  # fmt: skip
def test_merged_it_equals_the_branches(ndim, taps, options):
    torch.manual_seed(0)
    shape = (3, 4, *[{1: 20, 2: 12, 3: 6, 4: 4}[ndim]] * ndim)
    layer = trained(DilatedReparam(ndim, 4, taps, dtype=torch.float64, **options), shape).eval()
    x = torch.randn(shape, dtype=torch.float64)
    want = layer.definition(x)
    torch.testing.assert_close(layer(x), want, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.deploy()(x), want, rtol=0, atol=1e-10)
    single = copy.deepcopy(layer).float()
    torch.testing.assert_close(single.deploy()(x.float()), single.definition(x.float()), rtol=0, atol=1e-5)


def test_training_mode_takes_each_branch_s_own_statistics():
    layer = DilatedReparam(2, 3, 7).train()
    x = torch.randn(4, 3, 9, 9)
    wanted = 0
    for weight, (taps, rates) in zip(layer.weights, layer.branches, strict=True):
        pads = [r * (k // 2) for k, r in zip(taps, rates, strict=True)]
        wanted = wanted + nn.BatchNorm2d(3)(nn.functional.conv2d(x, weight, None, 1, pads, rates, 3))
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    assert all(norm.num_batches_tracked == 1 for norm in layer.norms)


@pytest.mark.parametrize("call", ["deploy", "freeze", "kernel", "effective_bias"])
def test_training_mode_refuses_to_merge(call):
    with pytest.raises(ArgumentError, match=r"training mode; call \.eval\(\) first"):
        getattr(DilatedReparam(2, 3, 5).train(), call)()
    block = LargeKernelBlock(2, 4, 7).train()
    with pytest.raises(ArgumentError, match=r"call \.eval\(\) first"):
        block.deploy()
    assert DilatedReparam(2, 3, 5, norm=False).train().deploy() is not None


def test_the_merged_state_loads_into_torch_s_layer():
    layer = DilatedReparam(2, 6, 9).eval()
    made = nn.Conv2d(6, 6, 9, padding=4, groups=6)
    made.load_state_dict(layer.deploy().state_dict())
    x = torch.randn(1, 6, 12, 12)
    torch.testing.assert_close(made(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((2, 3, 6), "odd numbers of taps"), ((2, 3, 5, ((4, 1),)), "odd numbers of taps"), ((2, 3, 5, ((3, 3),)), "reach over"),
        ((2, 3, (5, 7)), "no cube"), ((2, 3, 5, (3,)), "pairs"), ((2, 3, 5, "auto", 1, 2), "groups divide"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        DilatedReparam(*arguments)


@pytest.mark.parametrize(
    "options", [{"kernel_size": 7}, {"kernel_size": 3, "ndim": 1}, {"squeeze": None, "kernel_size": 5}]
)
def test_a_deployed_block_equals_the_trained_one(options):
    torch.manual_seed(0)
    options = {"ndim": 2, "channels": 8, "layer_scale": 0.5, "drop_path": 0.3, "dtype": torch.float64, **options}
    shape = (4, 8, *[9] * options["ndim"])
    block = trained(LargeKernelBlock(**options), shape).eval()
    nn.init.normal_(block.gamma), nn.init.normal_(block.beta)
    made = block.deploy()
    x = torch.randn(shape, dtype=torch.float64)
    assert (block(x) - x).abs().max() > 0.1
    torch.testing.assert_close(made(x), block(x), rtol=0, atol=1e-10)
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in made.modules())
    assert made.deploy() is made
    assert block.norm is not None  # the trained block is left as it is


def test_stochastic_depth_leaves_out_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    block = LargeKernelBlock(1, 2, 3, squeeze=None, layer_scale=1.0, drop_path=0.5).train()
    x = torch.randn(2000, 2, 4)
    own = block(x) - x
    left_out = (own == 0).flatten(1).all(1)
    assert 0.45 < left_out.float().mean() < 0.55
    assert torch.equal(left_out, (own == 0).flatten(1).any(1))
    block.residual.drop_path = 0.0
    kept = (block(x) - x)[~left_out]
    torch.testing.assert_close(own[~left_out], 2 * kept, rtol=1e-3, atol=1e-5)
    with pytest.raises(ArgumentError, match="probability"):
        LargeKernelBlock(1, 2, 3, squeeze=None, drop_path=1.0)


def test_the_plan_of_kernels_is_the_published_one():
    assert kernel_plan([3, 3, 18, 3]) == [[3] * 3, [13] * 3, [13, 3] * 9, [13] * 3]
    assert kernel_plan([3, 3, 27, 3], small=2) == [[3] * 3, [13] * 3, [13, 3, 3] * 9, [13] * 3]
    with pytest.raises(ArgumentError, match="four"):
        kernel_plan([3, 3])
