"""Large receptive fields: what replaces a large kernel against that kernel, and layers against their composition in torch."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as plain

from faltung import nn
from faltung.nn import functional
from operator_rows import Row

ANY = math.inf  # for peers that compute something else with the same reach


def forward(call: Callable, x: Tensor) -> Callable:
    """The result, without derivatives."""

    def run() -> Tensor:
        with torch.no_grad():
            return call(x)

    return run


def backward(call: Callable, x: Tensor, *learnt: Tensor) -> Callable:
    """The input's derivative of the sum of the results; those of the learnt tensors are computed too."""
    x = x.clone().requires_grad_()
    return lambda: torch.autograd.grad(call(x).sum(), (x, *learnt))[0]


def both(label: str, x: Tensor, ours: nn.Layer, peers: dict, **settings: object) -> Iterator[Row]:
    """A row forwards and one with derivatives; peers are calls with what they learn."""
    yield Row(f"{label}, forward", forward(ours, x), {n: forward(c, x) for n, (c, _) in peers.items()}, **settings)
    calls = {name: backward(call, x, *learnt) for name, (call, learnt) in peers.items()}
    yield Row(f"{label}, forward and backward", backward(ours, x, *ours.parameters()), calls, **settings)


def rows() -> Iterator[Row]:
    """All rows of the family."""
    torch.manual_seed(0)
    for size in (56, 112):
        yield from shift_wise(size)
        yield from recursive(size)
    yield from shifts()
    yield from sub_pixels()
    yield from four()


def shift_wise(size: int) -> Iterator[Row]:
    """The whole layer in evaluation, and in training beside the norm that a large kernel has as well."""
    x = torch.randn(8, 64, size, size)
    layer = nn.ShiftWiseConv2d(64, norm=False)
    kernel = layer.effective_kernel().detach().requires_grad_()
    peers = {"depthwise 51², ours": (lambda x: functional.conv(x, kernel, padding=25, groups=64), (kernel,))}
    if size == 56:  # torch takes seconds
        peers["depthwise 51², torch"] = (lambda x: plain.conv2d(x, kernel, padding=25, groups=64), (kernel,))
    yield from both(f"ShiftWiseConv2d, 8 × 64 × {size}²", x, layer, peers, targets=dict.fromkeys(peers, 1.0))
    normed, norm = nn.ShiftWiseConv2d(64), torch.nn.BatchNorm2d(64)
    call = (lambda x: norm(functional.conv(x, kernel, padding=25, groups=64)), (kernel, *norm.parameters()))
    yield Row(
        f"ShiftWiseConv2d with its three norms, 8 × 64 × {size}², forward and backward",
        backward(normed, x, *normed.parameters()), {"depthwise 51² and a norm, ours": backward(call[0], x, *call[1])},
        {"depthwise 51² and a norm, ours": 1.0}, tolerance=ANY,
    )  # fmt: skip


def recursive(size: int) -> Iterator[Row]:
    """Against one depthwise kernel of its reach, and against the same recursion in torch."""
    x = torch.randn(8, 64, size, size)
    for levels in (1, 2, 4):
        layer, taps = nn.RecConv2d(64, levels=levels), 5 * 2**levels + 1
        kernel = torch.randn(64, 1, taps, taps, requires_grad=True)

        def large(x: Tensor, kernel: Tensor = kernel, taps: int = taps) -> Tensor:
            return functional.conv(x, kernel, padding=taps // 2, groups=64)

        def large_torch(x: Tensor, kernel: Tensor = kernel, taps: int = taps) -> Tensor:
            return plain.conv2d(x, kernel, padding=taps // 2, groups=64)

        ours, theirs = f"depthwise {taps}², ours", f"depthwise {taps}², torch"
        label = f"RecConv2d, {levels} levels, 8 × 64 × {size}²"
        peers = {ours: (large, (kernel,))}
        if size == 56 and levels < 4:  # torch takes minutes
            peers[theirs] = (large_torch, (kernel,))
        yield from both(label, x, layer, peers, targets=dict.fromkeys(peers, 1.0), tolerance=ANY)
        if levels == 2:
            composed = {"the same in torch": (lambda x, layer=layer: recursion(layer, x), tuple(layer.parameters()))}
            yield from both(f"{label}, composed", x, layer, composed)


def recursion(layer: nn.Layer, x: Tensor) -> Tensor:
    """RecConv with torch's convolutions and interpolation."""
    signals = [x]
    for _ in range(layer.levels):
        signals.append(plain.conv2d(signals[-1], layer.down[0].weight, None, 2, 2, groups=64))
    y = torch.zeros(())
    for refine in layer.refine:
        y = plain.conv2d(signals.pop() + y, refine.weight, padding=2, groups=64)
        if signals:
            y = plain.interpolate(y, signals[-1].shape[2:], mode="bilinear")
    return y


def shifts() -> Iterator[Row]:
    """Against eight slice copies into a tensor of zeros and torch's 1×1 convolution."""
    layer = nn.ShiftConv2d(64, 64)
    for size in (56, 112):
        x = torch.randn(8, 64, size, size)
        peer = {"slice copies and conv2d": (lambda x: sliced(layer, x), tuple(layer.parameters()))}
        yield from both(f"ShiftConv2d 64 → 64, 8 × {size}²", x, layer, peer)


def sliced(layer: nn.Layer, x: Tensor) -> Tensor:
    """The shift as it is usually written."""
    y, each, (height, width) = torch.zeros_like(x), x.shape[1] // 8, x.shape[2:]
    for n, (a, b) in enumerate(layer.offsets):
        own = slice(n * each, (n + 1) * each)
        rows, columns = slice(max(0, -a), height - max(0, a)), slice(max(0, -b), width - max(0, b))
        from_rows, from_columns = slice(max(0, a), height - max(0, -a)), slice(max(0, b), width - max(0, -b))
        y[:, own, rows, columns] = x[:, own, from_rows, from_columns]
    return plain.conv2d(y, layer.weight, layer.bias)


def sub_pixels() -> Iterator[Row]:
    """Against torch's two layers, the transposed form, and the same convolution on fine positions (r² times the products)."""
    for channels, out, size in ((32, 3, 128), (64, 64, 56)):
        layer, x = nn.SubPixelConv2d(channels, out, 3, 2), torch.randn(1, channels, size, size)
        made = layer.to_transposed().requires_grad_(False)
        shuffle, fine = torch.nn.PixelShuffle(2), torch.nn.Conv2d(channels, out, 3, padding=1)
        label = f"SubPixelConv2d {channels} → {out}, scale 2, {size}²"
        peers = {
            "conv2d and PixelShuffle": (
                lambda x, layer=layer, shuffle=shuffle: shuffle(plain.conv2d(x, layer.weight, layer.bias, padding=1)),
                tuple(layer.parameters()),
            ),
            "transposed form, ours": (made, ()),
        }
        yield from both(label, x, layer, peers)
        nearest = {
            "nearest and conv2d on fine positions": forward(
                lambda x, f=fine: f(plain.interpolate(x, scale_factor=2)), x
            )
        }
        yield Row(f"{label}, forward, fine", forward(layer, x), nearest, tolerance=ANY)


def four() -> Iterator[Row]:
    """Against sums of torch's conv3d, and the decomposed block against full kernels, dense and sparse."""
    x = torch.randn(1, 16, 16, 16, 16, 5)
    layer = nn.Conv4d(16, 16, 3, padding=1)
    yield from both(
        "Conv4d 16 → 16, 3⁴, 16³ × 5",
        x,
        layer,
        {"sum of conv3d": (lambda x: summed(layer, x), tuple(layer.parameters()))},
    )
    block = nn.STDBlock(16, 16, 16).eval()
    full = torch.nn.Sequential(*(nn.Conv4d(16, 16, 3, padding=1, bias=False) for _ in range(2)))
    peers = {"two 3⁴ convolutions, ours": (full, tuple(full.parameters()))}
    yield from both("STDBlock 16, dense, 16³ × 5", x, block, peers, tolerance=ANY)
    known = torch.rand(1, 32, 32, 32, 5, 1) < 0.03
    whole = torch.randn(1, 32, 32, 32, 5, 16) * known
    sites, dense = whole.to_sparse(5), whole.movedim(-1, 1).contiguous()
    few = nn.STDBlock(16, 16, 16, sparse=True).eval()
    calls = {"dense, masked": forward(few, dense)}
    ours = forward(lambda x: few(x).to_dense().movedim(-1, 1), sites)
    yield Row("STDBlock 16, 3 % of 32³ × 5 known, forward", ours, calls)


def summed(layer: nn.Layer, x: Tensor) -> Tensor:
    """A 4-D convolution as a sum of 3-D ones over the taps of the last axis, frames in the batch, the bias added once."""
    frames, wide = x.shape[-1], plain.pad(x, (1, 1))
    y = 0
    for t in range(3):
        seen = wide[..., t : t + frames].movedim(-1, 1).flatten(0, 1)
        y = y + plain.conv3d(seen, layer.weight[..., t], layer.bias if t == 0 else None, padding=1)
    return y.unflatten(0, (-1, frames)).movedim(1, -1)
