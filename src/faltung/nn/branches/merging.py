"""The arithmetic of merging: convolutions side by side become one, norms go into kernels, dilated kernels become sparse ones.

A `Filter` is a plain convolution as numbers. Sums and chains of filters are filters again, exactly: nothing is approximated but
for the rounding of the few sums that meet. A merged kernel holds zeros where a branch had no tap, so an infinity in the signal
reaches results there as NaN.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import ConvLayer
from faltung.nn.conv import Conv, ConvTranspose

_TORCH = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class AnyBatchNorm(_BatchNorm):
    """torch's batch norm for any number of spatial axes; its state dicts are those of BatchNorm1d, 2d and 3d."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape (batch, channels, *n) will do."""


def embed_kernel(kernel: Tensor, size: Any, dilation: Any = 1, lead: Any = None) -> Tensor:
    """A dilated kernel as a sparse one without dilation, in a frame of zeros; differentiable.

    Formula: `out[..., lead + t·dilation] = kernel[..., t]`, zero elsewhere.

    Shapes: kernel (out, in / groups, *t); returns (out, in / groups, *size).

    Args:
        size: taps of the frame, one number for all axes or one for each, at least dilation·(t − 1) + 1.
        dilation: steps between taps. Default 1.
        lead: zeros in front, per axis. Default: as many as behind, the middle stays the middle.

    Raises:
        ArgumentError: a frame that is too small, or that has no middle for this kernel.

    Example:
        >>> embed_kernel(torch.tensor([[[1.0, 2.0, 3.0]]]), 7, dilation=2)
        tensor([[[0., 1., 0., 2., 0., 3., 0.]]])
    """
    ndim = kernel.ndim - 2
    sizes, steps = functional.numbers("size", size, ndim, 1), functional.numbers("dilation", dilation, ndim, 1)
    reach = [d * (t - 1) + 1 for t, d in zip(kernel.shape[2:], steps, strict=True)]
    spare = [n - r for n, r in zip(sizes, reach, strict=True)]
    if lead is None and any(s < 0 or s % 2 for s in spare):
        raise ArgumentError.of(
            "embed_kernel", f"a size with an even number of zeros around {tuple(reach)} taps", f"size {sizes}",
            "choose a larger size of the same parity, or give lead",
        )  # fmt: skip
    front = tuple(s // 2 for s in spare) if lead is None else functional.numbers("lead", lead, ndim, 0)
    if any(f > s for f, s in zip(front, spare, strict=True)):
        raise ArgumentError.of(
            "embed_kernel", f"room for {tuple(reach)} taps after {front}", f"size {sizes}", "enlarge the frame"
        )
    frame = kernel.new_zeros((*kernel.shape[:2], *sizes))
    places = zip(front, reach, steps, strict=True)
    frame[(..., *(slice(f, f + r, d) for f, r, d in places))] = kernel
    return frame


def centred(who: str, sizes: tuple[int, ...], dilation: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The margins with which taps with a middle leave the size as it is: dilation·(t − 1) / 2 along each axis.

    Raises:
        ArgumentError: an even number of taps, which has no middle.
    """
    if any(t % 2 == 0 for t in sizes):
        raise ArgumentError.of(who, "odd numbers of taps", str(sizes), "add or remove one")
    return tuple(d * (t // 2) for t, d in zip(sizes, dilation or (1,) * len(sizes), strict=True))


def norm_scale(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and offset per channel by which a batch norm maps its input in evaluation mode.

    Formula: `norm(x) = x·γ/√(var + eps) + β − mean·γ/√(var + eps)`.

    Raises:
        DtypeError: no batch norm.   ArgumentError: one in training mode, or one that keeps no statistics.
    """
    if not isinstance(norm, _BatchNorm):
        raise DtypeError.of("merging", "a batch norm", type(norm).__name__, "leave this module unmerged")
    if norm.training or norm.running_var is None or norm.running_mean is None:
        came = "one in training mode" if norm.training else "one that keeps no statistics"
        raise ArgumentError.of(
            "merging", "a batch norm in evaluation mode, whose statistics are final", came, "call .eval() first"
        )
    factor = (norm.running_var + norm.eps).rsqrt()
    factor = factor if norm.weight is None else factor * norm.weight
    offset = -norm.running_mean * factor
    return factor, offset if norm.bias is None else offset + norm.bias


def fold_norm(weight: Tensor, bias: Tensor | None, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution with the batch norm that follows it.

    Formula: `W·γ/√(var + eps)` and `β + (b − mean)·γ/√(var + eps)`.
    Shapes: weight (out, ...), bias (out) or None.

    Raises:
        As `norm_scale`.

    Example:
        >>> fold_norm(torch.ones(1, 1, 1), None, nn.BatchNorm1d(1, eps=3.0).eval())[0].detach()
        tensor([[[0.5000]]])
    """
    factor, offset = norm_scale(norm)
    scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    return scaled, offset if bias is None else offset + bias * factor


@dataclass(frozen=True)
class Filter:
    """A convolution as numbers: kernel (out, in / groups, *t), bias (out) or None, and the settings of a layer."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str = "zeros"

    @classmethod
    def of(cls, layer: nn.Module) -> Self:
        """The filter that a plain convolution layer of torch, or any linear shift-invariant layer of ours, is.

        Raises:
            DtypeError: another module.   ArgumentError: a layer that refuses in training mode.
        """
        if isinstance(layer, ConvTranspose) or not isinstance(layer, (ConvLayer, *_TORCH)):
            raise DtypeError.of(
                "merging", "a convolution layer of torch or faltung", type(layer).__name__, "merge what surrounds it"
            )
        plain = layer if isinstance(layer, ConvLayer) else Conv.from_torch(layer)
        kernel = plain.effective_kernel()
        return cls(
            kernel, plain.effective_bias(), plain.stride, plain.pads, plain.dilation, plain.groups, plain.padding_mode
        )

    @classmethod
    def identity(cls, channels: int, ndim: int, like: Tensor) -> Self:
        """The filter that leaves a signal of that many channels as it is."""
        ones = torch.ones((channels, 1, *[1] * ndim), dtype=like.dtype, device=like.device)
        return cls(ones, None, (1,) * ndim, ((0, 0),) * ndim, (1,) * ndim, channels)

    @property
    def ndim(self) -> int:
        return self.weight.ndim - 2

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def pointwise(self) -> bool:
        """Whether there is one tap and no margin."""
        return math.prod(self.weight.shape[2:]) == 1 and not any(map(any, self.pads))

    def normed(self, norm: nn.Module) -> Self:
        """With a batch norm behind it."""
        weight, bias = fold_norm(self.weight, self.bias, norm)
        return replace(self, weight=weight, bias=bias)

    def scaled(self, factor: Any) -> Self:
        """Times a number, or one for each output (out)."""
        wide = factor.reshape(-1, *[1] * (self.weight.ndim - 1)) if isinstance(factor, Tensor) else factor
        return replace(self, weight=self.weight * wide, bias=None if self.bias is None else self.bias * factor)

    def shifted(self, offset: Any) -> Self:
        """Plus a number, or one for each output (out)."""
        bias = self.weight.new_zeros(self.weight.shape[0]) if self.bias is None else self.bias
        return replace(self, bias=bias + offset)

    def grouped(self, groups: int) -> Self:
        """In fewer groups, which divide those there are: channels that did not meet, meet with zeros."""
        if groups == self.groups:
            return self
        out, inner, *taps = self.weight.shape
        many = self.groups // groups
        blocks = self.weight.reshape(groups, many, out // self.groups, 1, inner, *taps)
        eye = torch.eye(many, dtype=blocks.dtype, device=blocks.device).reshape(1, many, 1, many, 1, *[1] * len(taps))
        return replace(self, weight=(blocks * eye).reshape(out, inner * many, *taps), groups=groups)

    def layer(self) -> nn.Module:
        """The plain layer, in evaluation mode: torch's where there is one, else `faltung.nn.Conv`."""
        pads = self.pads
        if any(lo != hi for lo, hi in pads):  # torch's margins are symmetric: taps of zero fill the difference
            return _aligned([replace(self, pads=pads)])[0].layer()
        made = Conv(
            self.ndim, self.in_channels, self.weight.shape[0], tuple(self.weight.shape[2:]), self.stride,
            tuple(lo for lo, _ in pads), self.dilation, self.groups, self.bias is not None, self.padding_mode, device="meta",
        )  # fmt: skip
        made.weight = nn.Parameter(self.weight.detach().clone())
        made.bias = None if self.bias is None else nn.Parameter(self.bias.detach().clone())
        made.eval()
        return made.to_torch() if made.has_torch() else made


def add_filters(filters: Sequence[Filter]) -> Filter:
    """The one filter that the sum of filters is.

    Formula: all kernels in one frame that holds every tap at its place, in as many groups as divide those of all, added.

    Raises:
        ArgumentError: filters of different strides, margins that give different sizes, padding modes or channels.

    Example:
        >>> one = Filter(torch.ones(1, 1, 1), None, (1,), ((0, 0),), (1,), 1)
        >>> three = Filter(torch.ones(1, 1, 3), None, (1,), ((1, 1),), (1,), 1)
        >>> add_filters([one, three]).weight
        tensor([[[1., 2., 1.]]])
    """
    aligned = _aligned(filters)
    if len({f.weight.shape[0] for f in aligned}) > 1:
        raise ArgumentError.of(
            "merging", "branches with as many outputs each", str([f.weight.shape[0] for f in aligned]), "join them instead"
        )  # fmt: skip
    weight = torch.stack([f.weight for f in aligned]).sum(0)
    biases = [f.bias for f in aligned if f.bias is not None]
    return replace(aligned[0], weight=weight, bias=torch.stack(biases).sum(0) if biases else None)


def join_filters(filters: Sequence[Filter]) -> Filter:
    """The one filter whose outputs are those of all filters, one after the other.

    Raises:
        As `add_filters`.
    """
    whole = [f.grouped(1) for f in filters]
    aligned = _aligned(whole) if len(filters) > 1 else list(filters)
    bias = None
    if any(f.bias is not None for f in aligned):
        bias = torch.cat([f.weight.new_zeros(f.weight.shape[0]) if f.bias is None else f.bias for f in aligned])
    return replace(aligned[0], weight=torch.cat([f.weight for f in aligned]), bias=bias)


def chain_filters(first: Filter, then: Filter) -> Filter:
    """The one filter that two filters in a row are, one of which has a single tap.

    Raises:
        ArgumentError: neither is pointwise (one tap, no margins), or a constant of the first meets the zeros of the second.
    """
    groups = math.gcd(first.groups, then.groups)
    a, b = first.grouped(groups), then.grouped(groups)
    if b.in_channels != a.weight.shape[0]:
        raise ArgumentError.of(
            "merging", f"a convolution of {a.weight.shape[0]} channels", f"one of {b.in_channels}", "check the branches"
        )
    left = b.weight.reshape(groups, b.weight.shape[0] // groups, *b.weight.shape[1:])
    right = a.weight.reshape(groups, a.weight.shape[0] // groups, *a.weight.shape[1:])
    bias = b.bias
    if a.bias is not None:
        moved = torch.einsum("gom,gm->go", left.flatten(3).sum(3), a.bias.reshape(groups, -1)).flatten()
        bias = moved if bias is None else moved + bias
    if then.pointwise and then.stride == (1,) * then.ndim:
        weight = torch.einsum("gom,gmi...->goi...", left.reshape(*left.shape[:3]), right).flatten(0, 1)
        return replace(a, weight=weight, bias=bias)
    framed = then.padding_mode == "zeros" and any(map(any, then.pads))
    if first.pointwise and first.stride == (1,) * then.ndim and not (framed and first.bias is not None):
        weight = torch.einsum("gom...,gmi->goi...", left, right.reshape(*right.shape[:3])).flatten(0, 1)
        return replace(b, weight=weight, bias=bias)
    raise ArgumentError.of(
        "merging", "one convolution on each way, others of a single tap, and nothing added before a margin of zeros",
        f"{tuple(first.weight.shape[2:])} and {tuple(then.weight.shape[2:])} taps in a row", "merge each stage by itself",
    )  # fmt: skip


def _aligned(filters: Sequence[Filter]) -> list[Filter]:
    """The same filters with kernels of one size, margins that are symmetric, dilation and groups.

    Tap t of a filter reads at −lo + t·dilation from the result's place, so all taps have places in one frame. The frame keeps
    the coarsest dilation in which all of them lie.
    """
    if not filters:
        raise ArgumentError.of("merging", "at least one branch", "none", "give the branches")
    first = filters[0]
    padded = {f.padding_mode for f in filters if any(map(any, f.pads))}
    facts: dict[str, set] = {
        "dimensions": {f.ndim for f in filters},
        "strides": {f.stride for f in filters},
        "padding modes": padded,
    }
    facts["input channels"] = {f.in_channels for f in filters}
    for name, found in facts.items():
        if len(found) > 1:
            raise ArgumentError.of(
                "merging", f"branches of the same {name}", " and ".join(map(str, sorted(found))), "leave them apart"
            )
    lead, sizes, steps, margins = [], [], [], []
    for axis in range(first.ndim):
        spans = [(f.pads[axis], f.dilation[axis], f.weight.shape[2 + axis]) for f in filters]
        lost = {lo + hi - d * (t - 1) for (lo, hi), d, t in spans}
        if len(lost) > 1:
            raise ArgumentError.of(
                "merging", "branches that give results of one size", f"sizes that differ by {max(lost) - min(lost)} on axis {axis}",
                "pad every branch by half its reach",
            )  # fmt: skip
        lo = max(p for (p, _), _, _ in spans)
        end = max(d * (t - 1) - p for (p, _), d, t in spans)
        hi = end + lost.pop()
        lo, end, hi = lo + max(hi - lo, 0), end + max(lo - hi, 0), max(lo, hi)
        step = math.gcd(lo + end, *(lo - p for (p, _), _, _ in spans), *(d for _, d, t in spans if t > 1)) or 1
        lead.append([(lo - p) // step for (p, _), _, _ in spans])
        sizes.append((lo + end) // step + 1)
        steps.append(step)
        margins.append((lo, hi))
    groups = math.gcd(*(f.groups for f in filters))
    frame: dict[str, Any] = {"pads": tuple(margins), "dilation": tuple(steps), "groups": groups}
    frame["padding_mode"] = padded.pop() if padded else "zeros"
    made = []
    for n, f in enumerate(filters):
        apart = tuple(d // s if t > 1 else 1 for d, s, t in zip(f.dilation, steps, f.weight.shape[2:], strict=True))
        weight = embed_kernel(f.grouped(groups).weight, tuple(sizes), apart, tuple(places[n] for places in lead))
        made.append(replace(f, weight=weight, **frame))
    return made
