"""Convolution along the scales of a feature pyramid: `PyramidConv`, and `PyramidBatchNorm` over all levels at once."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps, deformed_by_taps
from faltung.nn.functional.resample import resample_by_matrices, way_of
from faltung.planner import Policy

_SOURCE = "Wang, Zhang, Yu, Feng, Zhang, Scale-equalizing pyramid convolution for object detection (2020)"


class _OnLevels(Layer):
    """What both layers share: a list of signals, finest first, is their input."""

    ndim: int | None
    channels: int
    levels: int | None

    def expect_levels(self, input: Any) -> None:
        """Refuse anything but a list of signals of one batch.

        Raises:
            DtypeError: no list of tensors.   ArgumentError: another number of levels, other channels or batches.
        """
        who = type(self).__name__
        if not isinstance(input, (list, tuple)) or not all(isinstance(x, Tensor) for x in input):
            raise DtypeError.of(
                who, "a list of tensors, finest first", type(input).__name__, "put the levels into a list"
            )
        if not input or (self.levels is not None and len(input) != self.levels):
            raise ArgumentError.of(who, f"{self.levels or 'at least one'} levels", str(len(input)), "match the levels")
        for x in input:
            self.expect(x, self.channels, self.ndim)
        if any(x.shape[0] != input[0].shape[0] for x in input[1:]):
            raise ArgumentError.of(
                who, "levels of one batch", str([x.shape[0] for x in input]), "take them from one call"
            )

    def shapes(self, *inputs: Any) -> Any:
        return tuple(tuple(shape) for shape in inputs[0])

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE})


class PyramidConv(_OnLevels):
    """A convolution over a feature pyramid: three taps along the scales, each of them a convolution in space.

    Formula: for levels x_0 (finest) … x_{L−1},

        y_l = same ∗ x_l + [l > 0] finer ∗_{stride 2} x_{l−1} + [l < L − 1] up(coarser ∗ x_{l+1}, size of x_l)

    each of the three kernels with a constant of its own and margins of ⌊k/2⌋. Where a level's size is not half of the next finer
    one's (rounded up), the strided result is resampled to it.

    With `deform_from`, all that enters y_l for l ≥ deform_from comes by deformable convolutions with the same three kernels, each
    with a convolution of its own that finds the offsets of its taps from what it filters. These start at zero: nothing moves at
    first. (Scale-equalising convolution is deform_from=1: finer levels are sampled more finely than their stride says.)

    Shapes: input a list of L tensors (batch, channels, *n_l), finest first; returns a list of the same shapes.

    Args:
        ndim: number of spatial axes, at least 1.   channels: of every level.
        levels: how many there are, or None for any number. Default None.
        k: odd number of taps. Default 3.
        up: `bilinear` (linear in any dimension) or `nearest`. Default bilinear.
        align_corners: see `faltung.nn.functional.resample`; aligned corners break the equivariance to shifts. Default False.
        bias: whether constants are learnt. Default True.
        deform_from: from which level on taps move, 0 for all of them, None for none. Default None. Needs margins of zeros.
        padding_mode, policy: see `faltung.nn.functional.conv`.   device, dtype: of the parameters.

    Returns: a list of tensors.

    Raises:
        ArgumentError: settings that name no layer, levels that do not fit.   DtypeError: no list of tensors of real numbers.

    Cost: 1.5 times one convolution of every level on a deep pyramid in the plane; for what is deformed see
    `faltung.nn.functional.deform_conv`, and a convolution to ndim·k^ndim channels more.

    Source: as below. Weights start with a deviation of 0.01, constants at zero. Nothing fixes the number of channels or levels.

    Example:
        >>> [y.shape[2:] for y in PyramidConv(2, 4)([torch.zeros(1, 4, 9, 8), torch.zeros(1, 4, 5, 4)])]
        [torch.Size([9, 8]), torch.Size([5, 4])]
    """

    name = "pyramid-conv"
    summary = "a convolution with three taps along the scales of a feature pyramid"
    source = _SOURCE
    cost = "about 1.5 · channels · k^ndim on a deep pyramid in the plane"
    portrait = shown("photo", [(1, 1, 96, 96), (1, 1, 48, 48), (1, 1, 24, 24)], ndim=2, channels=1)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        levels: int | None = None,
        k: int = 3,
        up: str = "bilinear",
        align_corners: bool = False,
        bias: bool = True,
        padding_mode: str = "zeros",
        deform_from: int | None = None,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,), (k,) = functional.numbers("ndim", ndim, 1, 1), functional.numbers("k", k, 1, 1)
        if k % 2 == 0:
            raise ArgumentError.of(type(self).__name__, "an odd k, which keeps sizes", str(k), "add or drop one tap")
        if levels is not None:
            (levels,) = functional.numbers("levels", levels, 1, 1)
        self.way, self.align_corners, self.levels, self.padding_mode = (
            way_of(up, "up"),
            align_corners,
            levels,
            padding_mode,
        )
        settings: dict[str, Any] = {"device": device, "dtype": dtype, "policy": policy}
        settings |= {"padding": k // 2, "bias": bias, "padding_mode": padding_mode}
        self.same, self.coarser = (Conv(ndim, channels, channels, k, **settings) for _ in range(2))
        self.finer = Conv(ndim, channels, channels, k, stride=2, **settings)
        self.channels = self.same.in_channels
        self.deform_from = self._settled(deform_from)
        moves = self.ndim * k**self.ndim
        self.offsets = nn.ModuleList()
        if self.deform_from is not None:
            more = {**settings, "bias": True}
            self.offsets.extend(Conv(ndim, channels, moves, k, stride=s, **more) for s in (1, 1, 2))
        self.reset_parameters()

    def _settled(self, deform_from: Any) -> int | None:
        """The first deformed level, where that can be."""
        if deform_from is None:
            return None
        (level,) = functional.numbers("deform_from", deform_from, 1, 0)
        if self.padding_mode != "zeros":
            raise ArgumentError.of(
                "deform_from",
                "margins of zeros, for offsets may lead anywhere",
                repr(self.padding_mode),
                "leave padding_mode out",
            )
        if self.levels is not None and level >= self.levels:
            raise ArgumentError.of("deform_from", f"a level below {self.levels}", str(level), "leave it out for None")
        return level

    def reset_parameters(self) -> None:
        """Draw weights with a deviation of 0.01 and set constants and offsets to zero."""
        for conv in self.offsets:
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
        for conv in (self.same, self.coarser, self.finer):
            nn.init.normal_(conv.weight, std=0.01)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, input: list[Tensor]) -> list[Tensor]:
        self.expect_levels(input)
        results = []
        for n, x in enumerate(input):
            y = self._applied(0, x, n)
            if n > 0:
                down = self._applied(2, input[n - 1], n)
                y = y + functional.resample(down, x.shape[2:], self.way, self.align_corners)
            if n < len(input) - 1:
                y = functional.add_resampled(y, self._applied(1, input[n + 1], n), self.way, self.align_corners)
            results.append(y)
        return results

    def _applied(self, which: int, x: Tensor, level: int) -> Tensor:
        """What the kernel `same`, `coarser` or `finer` makes of x for that level of the result."""
        conv = (self.same, self.coarser, self.finer)[which]
        if self.deform_from is None or level < self.deform_from:
            return conv(x)
        offset = self.offsets[which](x).to(x.dtype)
        return functional.deform_conv(x, offset, conv.weight, conv.bias, conv.stride, conv.padding)

    def definition(self, *inputs: Any) -> list[Tensor]:
        (levels,) = inputs

        def conv(layer: Any, x: Tensor) -> Tensor:
            ones = (1,) * x.ndim
            return conv_by_taps(x, layer.weight, layer.bias, layer.stride, layer.pads, ones[2:], 1, self.padding_mode)

        def applied(layer: Any, head: int, x: Tensor, level: int) -> Tensor:
            if self.deform_from is None or level < self.deform_from:
                return conv(layer, x)
            moves = conv(self.offsets[head], x)
            moves = moves.reshape(len(x), 1, math.prod(layer.kernel_size), x.ndim - 2, *moves.shape[2:])
            return deformed_by_taps(
                x, moves, None, layer.weight, layer.bias, layer.stride, layer.pads, (1,) * (x.ndim - 2)
            )

        def resized(x: Tensor, like: Tensor) -> Tensor:
            return resample_by_matrices(x, like.shape[2:], self.way, self.align_corners)

        results = [applied(self.same, 0, x, n) for n, x in enumerate(levels)]
        for n in range(1, len(levels)):
            results[n] = results[n] + resized(applied(self.finer, 2, levels[n - 1], n), levels[n])
            results[n - 1] = results[n - 1] + resized(applied(self.coarser, 1, levels[n], n - 1), levels[n - 1])
        return results

    def parameter_count(self) -> int:
        taps = math.prod(self.same.kernel_size)
        heads = 0 if self.deform_from is None else 3 * self.same.ndim * taps * (self.channels * taps + 1)
        return 3 * self.channels * (self.channels * taps + (self.same.bias is not None)) + heads

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2, "levels": 3}, ([(2, 2, 7), (2, 2, 4), (2, 2, 2)],))
        yield Example({"ndim": 2, "channels": 2, "up": "nearest"}, ([(1, 2, 6, 5), (1, 2, 3, 3)],))
        more = {"padding_mode": "circular", "align_corners": True}
        yield Example({"ndim": 2, "channels": 1, "k": 5, **more}, ([(1, 1, 4, 6), (1, 1, 3, 2)],))
        yield Example({"ndim": 3, "channels": 1, "bias": False}, ([(1, 1, 3, 2, 4), (1, 1, 2, 1, 2)],))
        yield Example({"ndim": 1, "channels": 2, "deform_from": 1}, ([(2, 2, 8), (2, 2, 4), (2, 2, 2)],))
        yield Example({"ndim": 2, "channels": 1, "levels": 2, "deform_from": 0}, ([(1, 1, 5, 4), (1, 1, 3, 2)],))
        yield Example({"ndim": 4, "channels": 1, "k": 1}, ([(1, 1, 2, 2, 2, 2), (1, 1, 1, 1, 1, 1)],))


class PyramidBatchNorm(_OnLevels):
    """One batch norm for all levels of a pyramid: their samples are put side by side and share mean and variance.

    Formula: batch norm of the levels' samples along one long axis; large levels, which have more samples, weigh more.

    Shapes: input a list of tensors (batch, channels, *n_l); returns a list of the same shapes.

    Args:
        channels: of every level.   eps: added to the variance. Default 1e-5.
        momentum: share of a batch in the running statistics. Default 0.1.
        affine: whether factors and constants are learnt. Default True.   device, dtype: of the parameters.

    Returns: a list of tensors.

    Raises:
        ArgumentError: levels that do not fit.   DtypeError: no list of tensors of real numbers.

    Cost: that of a batch norm and two copies.

    Source: as below; needs several images a batch, as every batch norm.

    Example:
        >>> [y.shape for y in PyramidBatchNorm(4)([torch.rand(2, 4, 8), torch.rand(2, 4, 4)])]
        [torch.Size([2, 4, 8]), torch.Size([2, 4, 4])]
    """

    name = "pyramid-batch-norm"
    summary = "one batch norm for all levels of a feature pyramid"
    source = _SOURCE
    cost = "1"

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.ndim = self.levels = None
        self.norm = nn.BatchNorm1d(self.channels, eps, momentum, affine, device=device, dtype=dtype)

    def forward(self, input: list[Tensor]) -> list[Tensor]:
        self.expect_levels(input)
        for x in input:
            if x.ndim < 3:
                raise ArgumentError.of(
                    "PyramidBatchNorm", "levels (batch, channels, *n)", f"shape {tuple(x.shape)}", "add spatial axes"
                )
        if not self.training:  # fixed factors: every level on its own
            return [self.norm(x.flatten(2)).reshape(x.shape) for x in input]
        flat = [x.flatten(2) for x in input]
        parts = self.norm(torch.cat(flat, 2)).split([x.shape[2] for x in flat], 2)
        return [part.reshape(x.shape) for part, x in zip(parts, input, strict=True)]

    def definition(self, *inputs: Any) -> list[Tensor]:
        norm = self.norm
        factor = 1 / (norm.running_var + norm.eps).sqrt()
        constant = -norm.running_mean * factor
        if norm.affine:
            factor, constant = factor * norm.weight, constant * norm.weight + norm.bias
        return [
            torch.einsum("bc...,c->bc...", x, factor) + constant.reshape(-1, *[1] * (x.ndim - 2)) for x in inputs[0]
        ]

    def parameter_count(self) -> int:
        return 2 * self.channels if self.norm.affine else 0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 3}, ([(2, 3, 4, 3), (2, 3, 2, 2), (2, 3, 1, 1)],))
        yield Example({"channels": 2, "eps": 0.1, "affine": False}, ([(2, 2, 5), (2, 2, 3)],))
