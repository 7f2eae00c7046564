"""Sums of parallel convolutions: Inception depthwise, dilated reparameterisation, kernels of several sizes; blocks in one pass."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from faltung import fuse
from faltung.nn import ConvFirstBlock, DilatedReparam, InceptionDWConv, MBConvBlock, MultiKernelConv
from faltung.nn.branches.merging import fold_norm
from operator_rows import Row

TORCH = nn.functional.conv2d
# Name, block, channels, arguments, height and width: inverted bottlenecks, grouped convolutions first, filters as in ConvNeXt-T.
BLOCKS = (
    ("MBConvBlock 3 × 3, silu", MBConvBlock, 32, {}, 112),
    ("MBConvBlock 3 × 3, silu", MBConvBlock, 96, {}, 56),
    ("MBConvBlock 5 × 5, silu", MBConvBlock, 24, {"kernel_size": 5, "expansion": 6}, 56),
    ("MBConvBlock 3 × 3, relu6", MBConvBlock, 192, {"activation": "relu6"}, 28),
    ("MBConvBlock 3 × 3, silu", MBConvBlock, 384, {}, 14),
    ("ConvFirstBlock 3 × 3, groups of 8", ConvFirstBlock, 96, {}, 56),
    ("ConvFirstBlock 3 × 3, groups of 8", ConvFirstBlock, 192, {}, 28),
    ("ConvFirstBlock 7 × 7, depthwise", ConvFirstBlock, 96, {"kernel_size": 7, "group_width": 1}, 56),
    ("ConvFirstBlock 7 × 7, depthwise", ConvFirstBlock, 192, {"kernel_size": 7, "group_width": 1}, 28),
    ("ConvFirstBlock 7 × 7, depthwise", ConvFirstBlock, 384, {"kernel_size": 7, "group_width": 1}, 14),
    ("ConvFirstBlock 7 × 7, depthwise", ConvFirstBlock, 768, {"kernel_size": 7, "group_width": 1}, 7),
)


def rows() -> Iterator[Row]:
    """Inference, then training, all at 56 × 56 pixels."""
    torch.manual_seed(0)
    for batch in (8, 32):
        yield from inception(batch)
    yield from reparam()
    yield from several()
    for row in BLOCKS:
        yield blocks(*row)


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


def blocks(name: str, kind: type, channels: int, arguments: dict, side: int) -> Row:
    """A block in one pass against itself unfused, and against torch's layers with norms folded, in either memory order."""
    made = kind(2, channels, **arguments).eval()
    for part in made.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    fused, x = fuse.block(made), torch.randn(1, channels, side, side)
    act = getattr(nn.functional, made.activation)
    inverted = kind is MBConvBlock
    with torch.no_grad():
        pairs = made._parts if inverted else ((made.mix, made.norm), (made.widen, None), (made.narrow, None))
        folded = [(conv.weight, conv.bias) if n is None else fold_norm(conv.weight, conv.bias, n) for conv, n in pairs]
    folded = [(w.detach(), b.detach(), conv) for (w, b), (conv, _) in zip(folded, pairs, strict=True)]

    def torchs(x: Tensor) -> Tensor:
        y = x
        for n, (w, b, conv) in enumerate(folded):
            y = TORCH(y, w, b, padding=made.kernel_size[0] // 2 if conv is made.mix else 0, groups=conv.groups)
            y = act(y) if n == 1 or (inverted and n == 0) else y
        return x + y

    def without(call: object, x: Tensor) -> Tensor:
        with torch.no_grad():
            return call(x)

    last, small = x.contiguous(memory_format=torch.channels_last), torch.zeros(1, channels, 8, side)
    peers = {
        "unfused": lambda: without(made, x), "torch, norms folded": lambda: without(torchs, x),
        "torch, norms folded, channels last": lambda: without(torchs, last),
    }  # fmt: skip
    return Row(
        f"{name}, {channels} × {side}², in one pass", lambda: without(fused, x), peers, {"unfused": 1.0},
        lambda: [without(call, small) for call in (fused, made, torchs)],
    )  # fmt: skip
