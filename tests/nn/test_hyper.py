"""Kernels made of coordinates: the layer that uses them, with and without context, and the kernels themselves."""

import math

import pytest
import torch
from torch import nn

from faltung import Policy
from faltung import nn as ours
from faltung.errors import ArgumentError

WIDE = {"dtype": torch.float64}


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def layer(*arguments, **settings):
    torch.manual_seed(0)
    made = ours.HyperConv(*arguments, **{"hidden": 5, **WIDE, **settings})
    if made.modulation is not None:
        nn.init.normal_(made.modulation)
    return made


@pytest.mark.parametrize("kernel", ["full", 5, (3, 7)])
def test_without_context_it_is_the_convolution_with_its_effective_kernel(kernel):
    made, x = layer(2, 3, kernel), drawn(2, 3, 8, 6)
    weight = made.effective_kernel(x.shape[2:])
    assert weight.shape[2:] == {"full": (15, 11), 5: (5, 5), (3, 7): (3, 7)}[kernel]
    pads = [(k - 1) // 2 for k in weight.shape[2:]]
    wanted = nn.functional.conv2d(x, weight, made.bias, padding=pads, groups=3)
    torch.testing.assert_close(made(x), wanted, rtol=1e-10, atol=1e-10)
    if kernel != "full":
        torch.testing.assert_close(made.freeze()(x), wanted, rtol=1e-10, atol=1e-10)


def test_of_a_full_kernel_every_sample_sees_every_other():
    made = layer(2, 1, bias=False)
    reached = made.effective_matrix((1, 4, 5)).abs() > 1e-12
    assert reached.all()


@pytest.mark.parametrize("context", ["none", "sample", "batch"])
def test_a_full_kernel_by_fourier_is_the_direct_one(context):
    made, x = layer(2, 3, context=context), drawn(2, 3, 9, 8)
    results = []
    for method in ("fft", "direct"):
        made.policy = Policy(only=method)
        results.append(made(x))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_kernel_may_be_sampled_at_another_resolution(ndim):
    """At the same coordinates it is the same but for the number of taps; smooth signals are answered alike within 5 %."""
    torch.manual_seed(0)
    kernel = ours.ImplicitKernel(ndim, (8, 1), omega=0.05, hidden=8, **WIDE)
    coarse, fine = 33, 65
    taps, more = coarse**ndim, fine**ndim
    low, high = kernel(coarse, taps=taps), kernel(fine, taps=taps)
    every_second = high[(..., *(slice(None, None, 2),) * ndim)]
    torch.testing.assert_close(every_second * more / taps, low, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(low, kernel(coarse), rtol=1e-12, atol=1e-12)

    def answer(weight):  # to a bump that is half as wide as the kernel
        at = torch.linspace(-1, 1, weight.shape[-1], dtype=torch.float64)
        bump = torch.stack(torch.meshgrid(*[at] * ndim, indexing="ij")).square().sum(0).mul(-8).exp()
        return (weight[:, 0] * bump).flatten(1).sum(1)

    assert (answer(high) - answer(low)).norm() < 0.05 * answer(low).norm()


@pytest.mark.parametrize("kernel", ["full", 5])
def test_the_context_of_a_sample_does_not_leak(kernel):
    made, x = layer(2, 3, kernel, context="sample"), drawn(4, 3, 7, 6)
    alone = torch.cat([made(one) for one in x.split(1)])
    torch.testing.assert_close(made(x), alone, rtol=1e-10, atol=1e-10)
    kernels = made.modulated(x, made.kernel(x.shape[2:]))
    assert (kernels[0] - kernels[1]).abs().max() > 0.1 * kernels.abs().max()


def test_the_context_of_a_batch_is_the_mean_of_its_samples():
    made, x = layer(1, 3, 5, context="batch"), drawn(4, 3, 7)
    mean = made.modulated(x.mean(0, keepdim=True), made.kernel((7,)))
    torch.testing.assert_close(made.modulated(x, made.kernel((7,))), mean, rtol=1e-10, atol=1e-10)
    assert (made(x)[:1] - made(x[:1])).abs().max() > 0.01  # as published: companions matter


def test_a_fresh_layer_has_no_context_yet():
    settings = {"ndim": 2, "channels": 3, "kernel": 5, "hidden": 5, **WIDE}
    torch.manual_seed(0)
    plain = ours.HyperConv(**settings)
    torch.manual_seed(0)
    made, x = ours.HyperConv(**settings, context="sample"), drawn(2, 3, 7, 6)
    made.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(made(x), plain(x), rtol=1e-10, atol=1e-10)


def test_context_is_the_adaptive_mean_of_the_input():
    made, x = layer(2, 3, (3, 5), context="sample"), drawn(2, 3, 7, 4)
    seen = nn.functional.adaptive_avg_pool2d(x, (3, 5))
    gate = 1 + torch.einsum("cd,ndhw->nchw", made.modulation, seen)
    kernel = made.kernel((7, 4))
    torch.testing.assert_close(made.modulated(x, kernel), kernel * gate[:, :, None], rtol=1e-10, atol=1e-10)


def test_a_slow_net_of_your_own():
    net = nn.Sequential(nn.Conv2d(2, 8, 1), nn.GELU(), nn.Conv2d(8, 3, 1))
    made = ours.HyperConv(2, 3, 5, slow_net=net)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(made(x), made.definition(x), rtol=1e-4, atol=1e-5)
    made(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_kernels_start_as_large_as_those_of_plain_layers():
    """The norm of a channel's kernel is about 1, whatever its size."""
    torch.manual_seed(0)
    for size in (7, 31):
        norms = ours.HyperConv(2, 256, size, hidden=64).kernel().flatten(1).norm(dim=1)
        assert 0.5 < norms.square().mean().sqrt() < 2


def test_wrong_calls():
    with pytest.raises(ArgumentError, match="odd"):
        ours.HyperConv(2, 3, 4)
    with pytest.raises(ArgumentError, match="kernel"):
        ours.HyperConv(2, 3, "half")
    with pytest.raises(ArgumentError, match="context"):
        ours.HyperConv(2, 3, 3, context="all")
    with pytest.raises(ArgumentError, match="sizes"):
        ours.HyperConv(2, 3).effective_kernel()
    with pytest.raises(ArgumentError, match="context='none'"):
        ours.HyperConv(2, 3, 3, context="sample").freeze()
    with pytest.raises(ArgumentError, match="omega"):
        ours.SineMFN(2, 3, omega=0)
    with pytest.raises(ArgumentError, match="sizes"):
        ours.ImplicitKernel(2, (3, 1))((3, 3, 3))
    assert math.isfinite(ours.ImplicitKernel(1, (2,))(1).sum().item())
