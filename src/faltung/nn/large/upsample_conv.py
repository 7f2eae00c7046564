"""Enlarging, by five ways to get to the finer grid, with one convolution: `UpsampleConv`."""

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, ConvLayer, Example, Symmetry, shown
from faltung.nn.conv import Conv, ConvTranspose
from faltung.nn.functional.definition import conv_by_taps, padded
from faltung.nn.functional.resample import WAYS, resample, resample_by_matrices
from faltung.nn.functional.shuffle import adjoint_layout, pixel_shuffle
from faltung.nn.large.subpixel import PixelShuffleNd, draw_copies
from faltung.nn.moves import finer_shift
from faltung.planner import Policy

MODES = (*WAYS, "zero", "pixelshuffle", "transposed")
_STUFFED = ("zero", "transposed")


class UpsampleConv(ConvLayer):
    """A signal `scale` times as fine, with one convolution; five ways that take each other's place.

    Formula, with r = scale and P = max(0, ⌈(k − r) / 2⌉): `nearest`, `bilinear`: `y = conv(resample(x))` on the fine grid, at
    the same size. `transposed`: `y(r·p + t − P) += w(t)·x(p)`. `zero`: the same with the taps in the other order, which is
    `y = conv(u)` of `u(r·p) = x(p)`, zeros between, with margins of k − 1 − P and P. `pixelshuffle`: `y = pixel_shuffle(conv(x))`,
    a kernel of its own for each phase of the fine grid.
    On a circle `zero` repeats the spectrum of x at all ω + 2πm / r, weighed by the kernel alone. `nearest` weighs it besides by
    `sin(rω/2) / sin(ω/2)` along each axis, `bilinear`, away from margins, by the square of that over r (for even r by cos(ω/2) as
    well), up to phases: all are 0 where the copies of frequency 0 lie.

    Shapes: input (batch, in, *n), returns (batch, out, *r·n) in every mode. Weight (out, in / groups, *kernel_size); for
    `pixelshuffle` (out·Π r, in / groups, *kernel_size); for `transposed` (in, out / groups, *kernel_size) as torch. Bias (out), or
    (out·Π r).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: taps, on the fine grid, for `pixelshuffle` on the coarse one.
        scale: whole numbers of at least 1, one for all spatial axes or one for each. Default 2.
        mode: as above; `linear` and `trilinear` are other words for `bilinear`. Default nearest.
        groups, policy: see `faltung.nn.functional.conv`.   bias: whether constants are learnt. Default True.
        padding_mode: of the convolution; `zero` and `transposed` take zeros and circular. Default zeros.
        device, dtype: of the parameters. First values are torch's, for `pixelshuffle` those of `faltung.init.icnr_`.

    Returns: the enlarged signal.

    Raises:
        ArgumentError: settings that name no layer.

    Error: that of the convolution's plan; one rounding more for `bilinear`.

    Cost: as below for each fine sample; `zero` and `transposed` never meet the zeros and `pixelshuffle` works on coarse samples, so
    these take Π r times fewer: `in / groups · Π kernel_size / Π r` and `in / groups · Π kernel_size`, taps being coarse there.

    Source: as below; first values by Aitken et al. (2017).

    Example:
        >>> UpsampleConv(2, 8, 3, 5, mode="zero")(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 3, 10, 12])
    """

    name = "upsample-conv"
    summary = "a finer grid by nearest neighbours, lines, zeros, shuffled channels or a transpose, with one convolution"
    source = "Chandrasegaran, Tran and Cheung, A closer look at Fourier spectrum discrepancies (2021)"
    cost = "in / groups · Π kernel_size"
    portrait = shown("impulses photo", (1, 1, 24, 24), ndim=2, in_channels=1, out_channels=1, kernel_size=5)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        scale: Any = 2,
        mode: str = "nearest",
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(ndim, in_channels, out_channels, kernel_size, 1, "same", 1, groups, padding_mode, policy)
        self.scale = functional.numbers("scale", scale, self.ndim, 1)
        if mode not in MODES:
            raise ArgumentError.of("mode", f"one of {', '.join(MODES)}", repr(mode), "choose one of these")
        if mode in _STUFFED and padding_mode not in ("zeros", "circular"):
            raise ArgumentError.of(
                type(self).__name__, f"zeros or circular margins with mode {mode!r}", repr(padding_mode),
                "use nearest or bilinear: between stuffed zeros there is nothing to mirror",
            )  # fmt: skip
        self.mode = mode
        factory = {"device": device, "dtype": dtype}
        constants = self.out_channels * (math.prod(self.scale) if mode == "pixelshuffle" else 1)
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.bias = nn.Parameter(torch.empty(constants, **factory)) if bias else None
        self.reset_parameters()

    @property
    def weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.mode == "transposed":
            first, second = second, first
        if self.mode == "pixelshuffle":
            first *= math.prod(self.scale)
        return (first, second // self.groups, *self.kernel_size)

    @property
    def folds(self) -> tuple[tuple[int, int], ...]:
        """The margins (P, k − r − P) that `transposed` cuts off or, where they are negative, adds."""
        fronts = [max(0, -((r - k) // 2)) for k, r in zip(self.kernel_size, self.scale, strict=True)]
        return tuple((p, k - r - p) for p, k, r in zip(fronts, self.kernel_size, self.scale, strict=True))

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The margins of the convolution: those that keep the size; for `zero` those with which it is the transpose."""
        if self.mode != "zero":
            return super().pads
        return tuple((k - 1 - p, p) for k, (p, _) in zip(self.kernel_size, self.folds, strict=True))

    def reset_parameters(self) -> None:
        """Draw parameters from torch's distribution, one kernel and constant for all phases with pixelshuffle."""
        draw_copies(self.weight, self.bias, math.prod(self.scale) if self.mode == "pixelshuffle" else 1)

    def kernel(self) -> Tensor:
        return self.weight

    def definition_kernel(self) -> Tensor:
        return self.weight

    def turned(self) -> Tensor:
        """The kernel (in, out / groups, *kernel_size) of the transposed form of `zero` and `transposed`."""
        if self.mode == "transposed":
            return self.weight
        apart = adjoint_layout(self.weight, self.groups)
        return apart.flip(tuple(range(2, apart.ndim)))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        if self.mode in _STUFFED:
            return functional.conv_transpose(
                input, self.turned(), self.bias, self.scale, self.folds, 0, self.groups, 1, self.padding_mode, self.policy
            )  # fmt: skip
        if self.mode == "pixelshuffle":
            return pixel_shuffle(super().forward(input), self.scale)
        return super().forward(resample(input, self.shapes(input.shape)[2:], self.mode))

    def definition(self, *inputs: Any) -> Tensor:
        """On the fine grid, zeros and all."""
        (x,) = inputs
        sizes = self.shapes(x.shape)[2:]
        if self.mode == "pixelshuffle":
            return PixelShuffleNd(self.scale).definition(super().definition(x))
        if self.mode in WAYS:
            return super().definition(resample_by_matrices(x, sizes, self.mode))
        fine = x.new_zeros(*x.shape[:2], *sizes)
        fine[(..., *(slice(None, None, r) for r in self.scale))] = x
        if self.mode == "zero":
            ones = (1,) * self.ndim
            return conv_by_taps(fine, self.weight, self.bias, ones, self.pads, ones, self.groups, self.padding_mode)
        y = x.new_zeros(x.shape[0], self.out_channels, *sizes)
        weight, parts = self.weight.unflatten(0, (self.groups, -1)), fine.unflatten(1, (self.groups, -1))
        for tap in torch.cartesian_prod(*map(torch.arange, self.kernel_size)).reshape(-1, self.ndim).tolist():
            moved = [(t - p, p - t) for t, (p, _) in zip(tap, self.folds, strict=True)]
            told = torch.einsum("ngi...,gio->ngo...", parts, weight[(..., *tap)]).flatten(1, 2)
            y = y + padded(told, moved, self.padding_mode)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.ndim)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, _, *sizes = inputs[0]
        return (batch, self.out_channels, *(n * r for n, r in zip(sizes, self.scale, strict=True)))

    def phase_sums(self) -> Tensor:
        """What a constant of 1 becomes at each phase of the fine grid, away from margins: the sum of the taps that fall there.

        Formula: `transposed`: `Σ w(t)` over `t ≡ a + P (mod r)` for phase a. With equal taps all phases are alike if and only if r
        divides the taps of each axis: elsewhere a constant comes out as a checkerboard.

        Shapes: returns (out, in / groups, *scale); bias apart.

        Example:
            >>> layer = UpsampleConv(1, 1, 1, 3, mode="transposed")
            >>> _ = nn.init.ones_(layer.weight)
            >>> layer.phase_sums().tolist()
            [[[1.0, 2.0]]]
        """
        if self.mode == "pixelshuffle":
            sums = self.weight.flatten(2).sum(-1)
            return sums.unflatten(0, (self.out_channels, *self.scale)).movedim(-1, 1)
        if self.mode in WAYS:
            sums = self.weight.flatten(2).sum(-1)
            return sums.reshape(*sums.shape, *[1] * self.ndim).expand(*sums.shape, *self.scale)
        sums = self.turned()
        for axis, (k, r, (p, _)) in enumerate(zip(self.kernel_size, self.scale, self.folds, strict=True), 2):
            phase = (torch.arange(k, device=sums.device) - p) % r
            shape = (*sums.shape[:axis], r, *sums.shape[axis + 1 :])
            sums = sums.new_zeros(shape).index_add(axis, phase, sums)
        return adjoint_layout(sums, self.groups)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padding_mode == "circular" and WAYS.get(self.mode) != "linear":
            yield finer_shift(self.scale)

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape) + (0 if self.bias is None else self.bias.numel())

    def freeze(self) -> nn.Module:
        """torch's own layers where there are such, else a copy: `nn.Upsample` or the shuffle beside a convolution, a transpose."""
        bias, late = self.bias is not None, [p - q for p, q in self.folds]
        if self.mode in _STUFFED:
            if not all(0 <= more < r for more, r in zip(late, self.scale, strict=True)):
                return copy.deepcopy(self)  # a result longer than any output_padding makes it
            made: Any = ConvTranspose(
                self.ndim, self.in_channels, self.out_channels, self.kernel_size, self.scale, tuple(p for p, _ in self.folds),
                tuple(late), self.groups, bias, 1, self.padding_mode, "meta", policy=self.policy,
            )  # fmt: skip
            made.weight, made.bias = nn.Parameter(self.turned().detach().clone()), copy.deepcopy(self.bias)
            return made.freeze().train(self.training)
        plain = Conv(
            self.ndim, self.in_channels, self.weight_shape[0], self.kernel_size, 1, "same", 1, self.groups, bias,
            self.padding_mode, "meta", policy=self.policy,
        )  # fmt: skip
        plain.weight, plain.bias = copy.deepcopy(self.weight), copy.deepcopy(self.bias)
        if self.mode == "pixelshuffle":
            return nn.Sequential(plain.freeze(), PixelShuffleNd(self.scale)).train(self.training)
        if self.ndim > 3:
            return copy.deepcopy(self)
        way = "nearest" if self.mode == "nearest" else ("linear", "bilinear", "trilinear")[self.ndim - 1]
        factor = tuple(map(float, self.scale))
        return nn.Sequential(nn.Upsample(scale_factor=factor, mode=way), plain.freeze()).train(self.training)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 2}
        yield Example({"ndim": 1, **common, "kernel_size": 3, "scale": 3}, ((2, 2, 5),))
        plane = {"ndim": 2, **common, "out_channels": 4, "groups": 2}
        yield Example({**plane, "kernel_size": 3, "mode": "bilinear", "padding_mode": "reflect"}, ((2, 2, 3, 2),))
        yield Example({**plane, "kernel_size": 5, "mode": "zero", "bias": False}, ((2, 2, 3, 4),))
        around = {"ndim": 2, "in_channels": 2, "out_channels": 1, "padding_mode": "circular"}
        for mode in ("zero", "transposed", "pixelshuffle", "nearest"):
            yield Example({**around, "kernel_size": (4, 3), "scale": (2, 3), "mode": mode}, ((1, 2, 3, 3),))
        yield Example({**plane, "kernel_size": (4, 1), "scale": (1, 3), "mode": "transposed"}, ((2, 2, 3, 2),))
        yield Example({"ndim": 3, **common, "kernel_size": 2, "mode": "trilinear"}, ((1, 2, 2, 1, 2),))
        small = {"ndim": 4, "in_channels": 1, "out_channels": 1, "kernel_size": 3, "bias": False}
        yield Example({**small, "mode": "zero"}, ((1, 1, 2, 1, 2, 1),))
