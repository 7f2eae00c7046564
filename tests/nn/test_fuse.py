"""Blocks in one pass equal the blocks they are made of, with gradients, in a bounded memory; or they say why they cannot."""

import copy
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung import Policy, fuse
from faltung.errors import ArgumentError, DtypeError
from faltung.kernels import threads
from faltung.kernels.block import contract
from faltung.kernels.block import on_numba as kernel
from faltung.kernels.block.layout import MOST, NARROWEST, cut
from faltung.nn import ConvFirstBlock, MBConvBlock

ACTS = ("gelu", "relu", "relu6", "silu")


def settled(module):
    """Numbers and statistics that are none of the first ones, evaluation mode."""
    with torch.no_grad():
        for value in module.parameters():
            value.add_(torch.randn_like(value) * 0.2)
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def made(kind, ndim, channels, taps, act, norm, **more):
    if kind == "first":
        return settled(ConvFirstBlock(ndim, channels, taps, activation=act, norm=norm, **more))
    return settled(MBConvBlock(ndim, channels, taps, activation=act, norm=norm, **more))


CASES = [
    ("first", 2, 8, 3, "gelu", True, {"group_width": 4, "layer_scale": 0.3}, (9, 11)),
    ("first", 1, 6, 5, "relu", False, {"group_width": 1, "expansion": 3}, (150,)),
    ("inverted", 2, 6, (3, 5), "silu", True, {"expansion": 3}, (13, 9)),
    ("inverted", 1, 5, 3, "relu6", False, {}, (40,)),
    ("inverted", 2, 4, 3, "gelu", True, {}, (1, 1)),
]


@pytest.mark.parametrize(("kind", "ndim", "channels", "taps", "act", "norm", "more", "sizes"), CASES)
def test_a_fused_block_is_the_block(kind, ndim, channels, taps, act, norm, more, sizes):
    torch.manual_seed(0)
    whole = made(kind, ndim, channels, taps, act, norm, **more)
    fused, wide = fuse.block(whole), copy.deepcopy(whole).double()
    x = torch.randn(2, channels, *sizes)
    exact = wide(x.double())
    near = 1e-5 * float(exact.detach().abs().max())
    with torch.no_grad():
        assert float((fused(x) - exact).abs().max()) < near
        odd = torch.randn(channels, 2, *sizes).transpose(0, 1)  # any memory order
        torch.testing.assert_close(fused(odd), whole(odd), atol=near, rtol=1e-5)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn_like(x)
    (fused(ours) * weights).sum().backward()
    got = {name: p.grad.clone() for name, p in whole.named_parameters()}
    whole.zero_grad()
    (whole(theirs) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert got.keys() == dict(whole.named_parameters()).keys()
    for name, p in whole.named_parameters():
        torch.testing.assert_close(got[name], p.grad)


def test_weights_and_statistics_that_change_are_seen():
    whole = made("inverted", 2, 4, 3, "relu", True)
    fused, x = fuse.block(whole), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        before = fused(x)
        whole.norms[1].running_var.data.mul_(4)
        whole.narrow.weight.data.mul_(-2)  # past torch's own counter of changes
        assert float((fused(x) - before).abs().max()) > 1e-3
        torch.testing.assert_close(fused(x), whole(x), atol=1e-5, rtol=1e-5)
    assert list(fused.state_dict()) == [f"block.{name}" for name in whole.state_dict()]


def test_nothing_in_between_is_kept_for_the_backward_pass():
    def kept(module, x):
        held = {}
        with torch.autograd.graph.saved_tensors_hooks(lambda t: held.setdefault(t.data_ptr(), t), lambda t: t):
            module(x)
        own = {p.data_ptr() for p in [*whole.parameters(), *whole.buffers()]}
        return sum(t.numel() * 4 for at, t in held.items() if at not in own)

    for whole in (made("first", 2, 8, 3, "gelu", True), made("inverted", 2, 8, 3, "silu", True)):
        x = torch.randn(1, 8, 20, 20, requires_grad=True)
        assert kept(fuse.block(whole), x) == x.numel() * 4
        assert kept(whole, x) > 8 * x.numel() * 4


@pytest.mark.parametrize("kind", ["first", "inverted"])
def test_working_memory_does_not_grow_with_the_image(kind):
    fused = fuse.block(made(kind, 2, 16, 3, "relu", False))

    def peak(side):
        x = torch.randn(1, 16, side, side).numpy()
        operands = [v.detach().numpy() for v in (fuse._first if kind == "first" else fuse._inverted)(fused.block)]
        run = getattr(kernel, kind)
        threads.scratch(1 << 27), threads.scratch(1)  # what earlier calls kept is given back
        tracemalloc.start()
        y = run(x, *operands, "relu", 1)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most - y.nbytes

    small, large = peak(200), peak(600)
    assert large < fused.workspace(600, 600) + (1 << 16)
    assert large < 1.1 * small
    assert large < 600 * 600 * 16 * 4 / 4  # a fraction of one result, and the wide channels are four


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(["first", "inverted"]), channels=st.integers(1, 800), expansion=st.integers(1, 6),
    height=st.integers(1, 2000), width=st.integers(1, 2000), taps=st.sampled_from([(1, 1), (1, 9), (3, 3), (7, 5)]),
)  # fmt: skip
def test_cuts_cover_the_result_and_bound_their_memory(kind, channels, expansion, height, width, taps):
    wide = channels * expansion
    found = kernel.planned(kind, (1, channels, height, width), wide, taps, 1)
    assert (found.strips - 1) * found.width < width <= found.strips * found.width
    assert (found.bands - 1) * found.rows < height <= found.bands * found.rows
    narrow = kernel.planned(kind, (1, channels, 10**6, NARROWEST), wide, taps, 1).bytes
    assert found.bytes <= max(MOST, narrow)


class Own(MBConvBlock):
    def forward(self, input):
        return 2 * super().forward(input)


def test_what_cannot_be_one_pass_says_why():
    good = MBConvBlock(2, 4)
    hooked = MBConvBlock(2, 4).eval()
    hooked.mix.register_forward_hook(lambda *_: None)
    for module, why in (
        (nn.Linear(3, 3), "Linear"), (Own(2, 4).eval(), "Own"), (MBConvBlock(3, 4).eval(), "not 3"),
        (MBConvBlock(2, 4).double().eval(), "float64"), (hooked, "hook"), (good, "training mode"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=why):
            fuse.block(module)
        assert why in fuse.refusal(module)
    fused, x = fuse.block(good.eval()), torch.randn(1, 4, 5, 5)
    assert fuse.refusal(good) is None
    with pytest.raises(DtypeError, match="float64"):
        fused(x.double())
    with pytest.raises(ArgumentError, match="3"):
        fused(x[:, :3])
    fused.train()
    with pytest.raises(ArgumentError, match="statistics of a batch"):
        fused(x)
    free = fuse.block(ConvFirstBlock(2, 8, norm=False))  # without norms both modes are the same
    assert free(torch.randn(1, 8, 4, 4)).requires_grad
    assert fused.eval()(x[:0]).shape == (0, 4, 5, 5)


def test_derivatives_of_derivatives():
    whole = made("first", 1, 4, 3, "silu", True, group_width=2)
    fused, x = fuse.block(whole), torch.randn(2, 4, 9, requires_grad=True)

    def penalty(module):
        (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [x, *whole.parameters()])

    for a, b in zip(penalty(fused), penalty(whole), strict=True):
        assert float(b.abs().max()) > 0
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)


def test_parameters_given_for_one_call_are_those_of_the_derivative():
    whole = made("inverted", 1, 3, 3, "silu", False)
    fused, x = fuse.block(whole), torch.randn(1, 3, 7)
    other = {name: (p.detach() * 1.5).requires_grad_() for name, p in fused.named_parameters()}
    ours = torch.autograd.grad(torch.func.functional_call(fused, other, (x,)).square().sum(), list(other.values()))
    plain = {name.removeprefix("block."): p for name, p in other.items()}
    theirs = torch.autograd.grad(torch.func.functional_call(whole, plain, (x,)).square().sum(), list(other.values()))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("change", [
    lambda whole: whole.train(),
    lambda whole: whole.norms[1].running_var.mul_(2),
    lambda whole: whole.mix.register_forward_hook(lambda *_: None),
    lambda whole: whole.train()(torch.randn(4, 3, 9)) is whole.eval(),
])  # fmt: skip
def test_derivatives_of_a_block_that_has_changed_since_are_refused(change):
    whole = made("inverted", 1, 3, 3, "silu", True)
    x = torch.randn(2, 3, 9, requires_grad=True)
    y = fuse.block(whole)(x)
    with torch.no_grad():
        change(whole)
    with pytest.raises(ArgumentError, match="FusedBlock: expected the block as it was"):
        y.sum().backward()
    assert x.grad is None


def test_the_policies_of_the_convolutions_limit_the_threads(monkeypatch):
    asked = []
    run = kernel.inverted
    monkeypatch.setattr(kernel, "inverted", lambda *given: asked.append(given[-1]) or run(*given))
    monkeypatch.setattr(fuse, "available", lambda: 5)
    with torch.no_grad():
        for policy in (None, Policy(), Policy(threads=3), Policy(threads=8)):
            fuse.block(MBConvBlock(2, 4, norm=False, policy=policy))(torch.randn(1, 4, 6, 6))
    assert asked == [5, 5, 3, 5]


def test_cuts_are_made_once():
    cut.cache_clear()
    fused = fuse.block(made("first", 2, 8, 3, "relu", False))
    with torch.no_grad():
        for _ in range(3):
            fused(torch.randn(1, 8, 20, 20))
    assert cut.cache_info().misses == 1
    assert cut.cache_info().hits == 2


@pytest.mark.parametrize("act", ACTS)
def test_activations_at_the_ends_of_the_numbers(act):
    """The kernel and the contract agree at infinities, at NaN and where exponentials overflow; with torch at all but the first."""
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e38, -1e38, 100.0, -100.0, 0.0]).repeat(5).reshape(1, 1, 5, 8)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    operands = one[:, None], one, zero, np.ones((1, 1, 1), np.float32), zero, one[:, None], one, zero
    found = kernel.inverted(x.numpy(), *operands, act, 1)
    with np.errstate(all="ignore"):
        stated = contract.inverted(x.numpy().astype(float), *operands, act)
    bend = {"gelu": nn.GELU(), "relu": nn.ReLU(), "relu6": nn.ReLU6(), "silu": nn.SiLU()}[act]
    np.testing.assert_allclose(found, stated, rtol=1e-5, atol=1e-5)
    told = ~np.isinf(x.numpy())  # torch's vectors of gelu say NaN at infinity, its single numbers do not
    np.testing.assert_allclose(found[told], (x + bend(bend(x))).numpy()[told], rtol=1e-5, atol=1e-5)
    if act in ("gelu", "silu"):
        assert np.isnan(found[..., 1]).all()
