"""Two convolutions one after the other as one."""

import copy
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from faltung.report.rewritings.place import free, named, put, sentence

if TYPE_CHECKING:
    from faltung.report.report import Report


def multiplied(model: Any, report: "Report") -> tuple[Any, str]:
    """Convolutions with nothing between them become their product, where that has no more multiplications.

    Formula: `W[o, i, d₁t₁ + s₁d₂t₂] = Σ_m W₂[o, m, t₂] W₁[m, i, t₁]`, stride `s₁s₂`, `b = b₂ + Σ_{m, t₂} W₂ b₁`. The margin of
    the second is one of zeros around the first's result: it is the first's own margin only if it is empty, or if the first has
    one tap, stride 1, no margin and no bias; others are left.

    Cost: products of channels for each pair of taps.
    """
    from torch import nn

    from faltung.readers import read

    names, left, done = named(report, "E4"), {}, 0
    network = read(model, report.example)
    layers = free(model, network)
    for name in names:
        second = network.reader(name) if name in network else None
        if name not in layers or second is None or second.name not in layers:
            left[name] = "no plain layers"
            continue
        a, b = layers[name], layers[second.name]
        why = apart(a, b)
        if why:
            left[name] = why
            continue
        taps = product_of(a, b)
        most = places(network[name].shape) * a.weight.numel() + places(second.shape) * b.weight.numel()
        if taps.numel() * places(second.shape) > most:
            left[name] = "their product has more multiplications"
            continue
        made = copy.deepcopy(b)
        made.weight = nn.Parameter(taps.to(b.weight.dtype))
        if a.bias is not None:
            shift = b.weight.double().flatten(2).sum(2) @ a.bias.double()
            made.bias = nn.Parameter((shift + (0 if b.bias is None else b.bias.double())).to(b.weight.dtype))
        made.in_channels, made.kernel_size = a.in_channels, tuple(taps.shape[2:])
        made.stride = tuple(s * t for s, t in zip(a.stride, b.stride, strict=True))
        made.dilation = (1,) * len(made.stride)
        made.padding = a.padding if any(a.padding) else b.padding
        made._reversed_padding_repeated_twice = [p for p in reversed(made.padding) for _ in range(2)]
        put(model, name, nn.Identity())
        put(model, second.name, made)
        layers[second.name] = made
        done += 1
    return model, sentence(done, len(names), "pairs multiplied", left)


def apart(a: Any, b: Any) -> str:
    """Why two convolutions have no product that is one convolution; "" where they have one."""
    from torch import nn

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    if type(a) not in kinds or type(b) is not type(a) or a.groups != 1 or b.groups != 1:
        return "not two convolutions of torch's without groups"
    if any(isinstance(one.padding, str) for one in (a, b)) or {a.padding_mode, b.padding_mode} != {"zeros"}:
        return "margins that are not of zeros"
    if any(b.padding):
        one_tap = set(a.kernel_size) == {1} and set(a.stride) == {1} and not any(a.padding)
        if not one_tap or (a.bias is not None and bool(a.bias.any())):
            return "the margin of the second is not the first's"
    return ""


def product_of(a: Any, b: Any) -> Any:
    """The kernel of b after a, in float64."""
    import torch

    steps = tuple(s * d for s, d in zip(a.stride, b.dilation, strict=True))
    size = [
        d * (k - 1) + step * (t - 1) + 1
        for d, k, step, t in zip(a.dilation, a.kernel_size, steps, b.kernel_size, strict=True)
    ]
    made = torch.zeros(b.weight.shape[0], a.weight.shape[1], *size, dtype=torch.float64, device=a.weight.device)
    first, second = a.weight.detach().double(), b.weight.detach().double()
    for late in product(*map(range, b.kernel_size)):
        mixed = torch.einsum("om,mi...->oi...", second[(..., *late)], first)
        at = tuple(
            slice(step * t, step * t + d * (k - 1) + 1, d)
            for step, t, d, k in zip(steps, late, a.dilation, a.kernel_size, strict=True)
        )
        made[(slice(None), slice(None), *at)] += mixed
    return made


def places(shape: Any) -> int:
    """Results of one channel."""
    return prod(n for n in shape[2:] if n)
