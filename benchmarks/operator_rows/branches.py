"""Sums of parallel convolutions: Inception depthwise, dilated reparameterisation, kernels of several sizes."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from faltung.nn import DilatedReparam, InceptionDWConv, MultiKernelConv
from operator_rows import Row

TORCH = nn.functional.conv2d


def rows() -> Iterator[Row]:
    """Inference, then training, all at 56 × 56 pixels."""
    torch.manual_seed(0)
    for batch in (8, 32):
        yield from inception(batch)
    yield from reparam()
    yield from several()


def inception(batch: int) -> Iterator[Row]:
    """Against what it stands in for (other results, so nothing is compared), and against split, convolutions and cat."""
    x, layer = torch.randn(batch, 96, 56, 56), InceptionDWConv(2, 96)
    seven, eleven = (nn.Conv2d(96, 96, k, padding=k // 2, groups=96) for k in (7, 11))

    def composed(x: Tensor) -> Tensor:
        kept, *rest = x.split(layer.parts, 1)
        branches = zip(rest, layer.weights, layer.biases, strict=True)
        ends = [TORCH(p, w, b, padding=[t // 2 for t in w.shape[2:]], groups=12) for p, w, b in branches]
        return torch.cat([kept, *ends], 1)

    def warm() -> None:
        with torch.no_grad():
            layer(torch.zeros(1, 96, 8, 56)), composed(torch.zeros(1, 96, 8, 8)), seven(torch.zeros(1, 96, 8, 8))

    given = x.clone()

    def without(call: object, *arguments: Tensor) -> object:
        with torch.no_grad():
            return call(*arguments)

    size = f"({batch}, 96, 56, 56)"
    peers = {"split, conv, cat": lambda: without(composed, x)}
    yield Row(f"InceptionDWConv {size}", lambda: without(layer, x), peers, {"split, conv, cat": 1.0}, warm)
    others = {"depthwise 7 × 7": lambda: without(seven, x), "depthwise 11 × 11": lambda: without(eleven, x)}
    yield Row(f"InceptionDWConv {size}, stands in for", lambda: without(layer, x), others, {}, warm, math.inf)
    yield Row(
        f"InceptionDWConv.forward_ {size}", lambda: without(layer.forward_, given), peers, {"split, conv, cat": 1.0}, warm, math.inf
    )  # fmt: skip
    taught, parameters = x.clone().requires_grad_(), list(layer.parameters())

    def trained(call: object) -> Tensor:
        return torch.autograd.grad(call(taught).square().sum(), [taught, *parameters])[0]

    peers = {"split, conv, cat": lambda: trained(composed)}
    yield Row(f"InceptionDWConv {size}, training", lambda: trained(layer), peers, {}, warm)


def reparam() -> Iterator[Row]:
    """One convolution of 13 × 13 against the branches with their norms."""
    x, layer = torch.randn(8, 96, 56, 56), DilatedReparam(2, 96, 13)
    for norm in layer.norms:
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    made = layer.eval().deploy()

    def branches(x: Tensor) -> Tensor:
        total = 0
        for weight, norm, (taps, rates) in zip(layer.weights, layer.norms, layer.branches, strict=True):
            pads = [r * (t // 2) for t, r in zip(taps, rates, strict=True)]
            total = total + norm(TORCH(x, weight, None, 1, pads, rates, 96))
        return total

    def without(call: object, x: Tensor) -> Tensor:
        with torch.no_grad():
            return call(x)

    def warm() -> None:
        small = torch.zeros(1, 96, 16, 16)
        without(layer, small), without(branches, small), without(made, small)

    peers = {"branches in torch": lambda: without(branches, x), "merged, torch's Conv2d": lambda: without(made, x)}
    yield Row("DilatedReparam 13 × 13, evaluation", lambda: without(layer, x), peers, {"branches in torch": 1.0}, warm)
    yield Row("DilatedReparam 13 × 13, training mode, forward", lambda: without(layer.train(), x), {
        "branches in torch": lambda: without(branches, x)}, {}, warm)  # fmt: skip


def several() -> Iterator[Row]:
    """Kernels of 1, 3, ..., 11 as one against one after the other, in inference and training."""
    x, layer = torch.randn(8, 32, 24, 24), MultiKernelConv(2, 32, 32)
    taught, parameters = x.clone().requires_grad_(), list(layer.parameters())

    def composed(x: Tensor) -> Tensor:
        kernels = zip(layer.weights, layer.biases, strict=True)
        return torch.stack([TORCH(x, w, b, padding=w.shape[-1] // 2) for w, b in kernels]).mean(0)

    def without(call: object) -> Tensor:
        with torch.no_grad():
            return call(x)

    def trained(call: object) -> Tensor:
        return torch.autograd.grad(call(taught).square().sum(), [taught, *parameters])[0]

    def warm() -> None:
        with torch.no_grad():
            layer(x[:1]), composed(x[:1])

    yield Row("MultiKernelConv 1 to 11, (8, 32, 24, 24)", lambda: without(layer), {
        "six convolutions": lambda: without(composed)}, {"six convolutions": 1.0}, warm)  # fmt: skip
    yield Row("MultiKernelConv 1 to 11, training", lambda: trained(layer), {
        "six convolutions": lambda: trained(composed)}, {"six convolutions": 1.0}, warm, 1e-3)  # fmt: skip
