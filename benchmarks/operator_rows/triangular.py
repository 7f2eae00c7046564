"""Triangular convolutions: the inverse against loops over pixels and between its methods, masks, samples from a cache."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import torch
from torch.nn.functional import conv2d

from faltung.nn import InvertibleConv, MaskedConv2d
from faltung.tools import sample
from operator_rows import Row


def by_pixel(y: np.ndarray, kernel: np.ndarray, flips: tuple) -> np.ndarray:
    """The inverse as one writes it down: groups, pixels and taps in loops, batch and channels in arrays."""
    (N, C, H, W), G = y.shape, len(flips)
    c, k = C // G, kernel.shape[2]
    x = np.empty_like(y)
    for g, flip in enumerate(flips):
        axes = [2 + a for a, f in enumerate(flip) if f]
        own = slice(g * c, (g + 1) * c)
        given, found = np.flip(y[:, own], axes), np.zeros((N, c, H, W), y.dtype)
        corner = np.linalg.inv(kernel[own, :, -1, -1]).T
        for h in range(H):
            for w in range(W):
                value = given[:, :, h, w].copy()
                for a in range(min(k, h + 1)):
                    for b in range(min(k, w + 1)):
                        if a or b:
                            value -= found[:, :, h - a, w - b] @ kernel[own, :, k - 1 - a, k - 1 - b].T
                found[:, :, h, w] = value @ corner
        x[:, own] = np.flip(found, axes)
    return x


def inverses() -> Iterable[Row]:
    for shape in ((8, 16, 32, 32), (1, 16, 32, 32), (8, 12, 16, 16)):
        torch.manual_seed(0)
        layer, y = InvertibleConv(2, shape[1]), torch.randn(shape)
        kernel = layer.kernel().detach().numpy()

        def loop(y=y, kernel=kernel, flips=layer.flips):
            return torch.from_numpy(by_pixel(y.numpy(), kernel, flips))

        peer = "per-pixel NumPy"
        warm = partial(without, layer.inverse, y[..., :4, :4])
        label = f"InvertibleConv2d inverse {shape}, k=3"
        yield Row(label, partial(without, layer.inverse, y), {peer: loop}, {peer: 20}, warm=warm)


def solvers() -> Iterable[Row]:
    for shape in ((8, 16, 16, 16), (8, 16, 32, 32), (8, 16, 64, 64), (8, 4, 1024)):
        torch.manual_seed(0)
        made = {m: InvertibleConv(len(shape) - 2, shape[1], inverse=m) for m in ("wavefront", "newton", "scan")}
        for layer in made.values():
            layer.load_state_dict(made["wavefront"].state_dict())
        y = torch.randn(shape)
        calls = {m: partial(without, layer.inverse, y) for m, layer in made.items()}
        ours = calls.pop("wavefront")
        yield Row(f"wavefront {shape}, k=3", ours, {f"our {m}": call for m, call in calls.items()})


def masks() -> Iterable[Row]:
    for shape, k in (((8, 32, 32, 32), 3), ((8, 32, 32, 32), 5), ((8, 64, 28, 28), 7)):
        torch.manual_seed(0)
        layer, x = MaskedConv2d(shape[1], shape[1], k, mask="B"), torch.randn(shape)

        def masked(x, layer=layer, k=k):
            return conv2d(x, layer.weight * layer.mask, layer.bias, padding=k // 2)

        peer = "torch, weight * mask"
        yield Row(f"MaskedConv2d B {shape}, k={k}", partial(without, layer, x), {peer: partial(without, masked, x)})


def samples() -> Iterable[Row]:
    for n in (8, 16, 28):
        torch.manual_seed(0)
        layers = [MaskedConv2d(1, 32, 7, mask="A"), torch.nn.ReLU()]
        for _ in range(3):
            layers += [MaskedConv2d(32, 32, 3, mask="B"), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers, MaskedConv2d(32, 1, 1, mask="B"))
        made = partial(sample, model, (1, n, n), draw=torch.tanh, batch=4)
        peer = "whole model for each pixel"
        yield Row(f"sample, 5 masked layers, {n} × {n}", made, {peer: partial(made, cached=False)})


@torch.no_grad()
def without(call, x):
    """A call that nobody differentiates."""
    return call(x)


def rows() -> Iterable[Row]:
    yield from inverses()
    yield from solvers()
    yield from masks()
    yield from samples()
