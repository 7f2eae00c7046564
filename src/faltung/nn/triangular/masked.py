"""A convolution whose kernel is masked: each result depends on earlier positions (and earlier channels) only."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.methods import ALL as METHODS
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown, uniform_bias
from faltung.nn.exchange import grouped
from faltung.planner import Policy

ORDERED = ("causal", "A", "B", "quadrant")

LOCAL = Policy(without=tuple(method.name for method in METHODS if method.spreads), calls=functional.MANY_CALLS.calls)
"""Transforms round over whole tiles, so a later position would leave a trace of 1e-16 in an earlier result: none of them here."""


class MaskedConv(ConvLayer):
    """A convolution with weights that a mask sets to zero, for autoregressive models: order is raster order of the positions.

    Formula: that of `Conv` with the kernel weight · mask. Of the taps before the centre in raster order (rows above it, and what is
    left of it) all are kept, of those behind it none. At the centre, channels see those of

    - `A`: earlier channel groups;   - `B`: earlier groups and their own;   - `causal`: all groups.

    `quadrant` keeps taps that are before the centre or level with it along every axis, the centre as `B`. `ones` keeps everything.
    A tensor that broadcasts to (out, in / groups, *kernel_size) is the mask itself.

    Shapes: as `Conv`. The weight has its full shape, so state dicts are those of `Conv`; taps outside the mask have no effect.

    Args:
        ndim, in_channels, out_channels, stride, dilation, groups, bias, padding_mode, device, dtype: as for `Conv`.
        kernel_size: odd, unless the mask is `ones` or a tensor.
        padding: as for `Conv`, but `same` by default: positions of input and result must agree.
        mask: see above. Default `causal`.
        channel_groups: in how many consecutive groups in and out channels fall, ordered within a position. Default 1.
        zero_diagonal: whether the centre keeps earlier channel groups only, whatever the mask's word (`causal`: nothing then, and
            `B` is `A`). Default False.
        policy: see `faltung.Policy`. Default: no method that transforms tiles, because what is masked has to be zero exactly.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: taps outside the box around the mask are not computed: (k + 1) / 2 of k rows are left in a raster mask. A mask on the taps
    of one convolution of several such layers leaves a blind spot to the right above; `GatedStack` has none.
    Source: van den Oord, Kalchbrenner, Kavukcuoglu, Pixel recurrent neural networks (2016); Uria et al. (2016).

    Example:
        >>> layer = MaskedConv(1, 1, 1, 3, mask="A", bias=False)
        >>> layer.effective_kernel()[0, 0, 1:]
        tensor([0., 0.], grad_fn=<SliceBackward0>)
    """

    name = "masked-conv"
    summary = "a convolution that sees earlier positions and channels only"
    source = "van den Oord, Kalchbrenner, Kavukcuoglu, Pixel recurrent neural networks (2016)"
    cost = "in / groups · taps in the box around the mask"
    portrait = shown("kernels taken", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=23)

    mask: Tensor

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = "same",
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        mask: Any = "causal",
        channel_groups: int = 1,
        zero_diagonal: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        (self.channel_groups,) = functional.numbers("channel_groups", channel_groups, 1, 1)
        if self.in_channels % self.channel_groups or self.out_channels % self.channel_groups:
            raise ArgumentError.of(
                "MaskedConv", f"in and out channels that {self.channel_groups} channel groups divide",
                f"{self.in_channels} and {self.out_channels}", "choose channel_groups that divide both",
            )  # fmt: skip
        self.order = mask if isinstance(mask, str) else None
        self.zero_diagonal = zero_diagonal
        found = self._mask(mask)
        taps = found.flatten(0, 1).any(0).nonzero()
        first = taps.amin(0).tolist() if len(taps) else [0] * self.ndim
        last = taps.amax(0).tolist() if len(taps) else [0] * self.ndim
        self.box = tuple((a, b) for a, b in zip(first, last, strict=True))
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.register_buffer("mask", found.to(device=self.weight.device, dtype=self.weight.dtype), persistent=False)
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if policy is None and self.order != "ones":
            self.policy = LOCAL
        fan_in = math.prod(self.weight_shape[1:])
        self.bias = uniform_bias(self.out_channels, fan_in, factory) if bias else None

    def _mask(self, mask: Any) -> Tensor:
        """The mask (out, in / groups, *kernel_size), before it takes the weight's dtype."""
        shape = self.weight_shape
        if self.order is None:
            try:
                return torch.as_tensor(mask).expand(shape)
            except (RuntimeError, TypeError, ValueError):
                came = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
                raise ArgumentError.of(
                    "mask", f"a word or a tensor that broadcasts to {shape}", came, "give one number for each tap"
                ) from None
        if self.order == "ones":
            return torch.ones(shape)
        if self.order not in ORDERED:
            raise ArgumentError.of("mask", f"ones, {', '.join(ORDERED)} or a tensor", repr(mask), "choose one of these")
        if not all(k % 2 for k in self.kernel_size):
            raise ArgumentError.of("kernel_size", f"odd sizes for mask={mask!r}", str(self.kernel_size), "add a tap")
        axes = torch.meshgrid(*(torch.arange(k) - k // 2 for k in self.kernel_size), indexing="ij")
        if self.order == "quadrant":
            earlier = torch.stack([a <= 0 for a in axes]).all(0)
        else:
            earlier = (torch.arange(math.prod(self.kernel_size)) <= math.prod(self.kernel_size) // 2).reshape(
                self.kernel_size
            )
        found = earlier.expand(shape).clone()
        found[(..., *self.centre)] = self._centre()
        return found

    def _centre(self) -> Tensor:
        """Which of the input channels every output sees at its own position (out, in / groups)."""
        groups = 1 if self.order == "causal" else self.channel_groups
        o, i = torch.arange(self.out_channels)[:, None], torch.arange(self.in_channels // self.groups)
        i = i + o // (self.out_channels // self.groups) * len(i)  # among all channels
        theirs, own = i * groups // self.in_channels, o * groups // self.out_channels
        return theirs < own if self.order == "A" or self.zero_diagonal else theirs <= own

    @property
    def centre(self) -> tuple[int, ...]:
        """The tap that meets the current position."""
        return tuple(k // 2 for k in self.kernel_size)

    @property
    def claims(self) -> frozenset[str]:
        aligned = self.padding == "same" and self.padding_mode == "zeros" and set(self.stride) == {1}
        late = self.order == "quadrant" or (self.ndim == 1 and self.order in ORDERED)
        return super().claims | ({"causal"} if aligned and late else set())

    def kernel(self) -> Tensor:
        return self.weight * self.mask

    def forward(self, input: Tensor) -> Tensor:
        kept = (..., *(slice(a, b + 1) for a, b in self.box))
        pads = tuple(
            (lo - a * d, hi - (k - 1 - b) * d)
            for (lo, hi), (a, b), d, k in zip(self.pads, self.box, self.dilation, self.kernel_size, strict=True)
        )
        return functional.conv(
            input, self.weight[kept] * self.mask[kept], self.bias, self.stride, pads, self.dilation, self.groups,
            self.padding_mode, self.policy,
        )  # fmt: skip

    def inverse(self, y: Tensor) -> Tensor:
        """The input with this result, by the solver of `InvertibleConv` with slopes for a raster mask; differentiable.

        Raises:
            ArgumentError: the layer keeps no sizes, or its mask or its diagonal leaves no triangular system to solve.
        """
        plain = self.padding == "same" and self.padding_mode == "zeros" and {*self.stride, *self.dilation} == {1}
        if self.order not in ORDERED or not plain or self.in_channels != self.out_channels:
            raise ArgumentError.of(
                "MaskedConv.inverse", "an ordered mask, as many channels out as in, padding='same', no stride and no dilation",
                repr(self), "invert a layer of that kind, with a centre that has an inverse",
            )  # fmt: skip
        self.expect(y, self.out_channels, self.ndim)
        y = y if self.bias is None else y - self.bias.reshape(-1, *[1] * self.ndim)
        return functional.causal_solve(y, self.kernel(), [[False] * self.ndim] * self.groups, self.centre)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The taps that the mask keeps, divided by it: the nearest kernel."""
        self.weight.copy_(torch.where(self.mask == 0, 0, grouped(kernel, self) / self.mask))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape) + (0 if self.bias is None else self.out_channels)

    def definition_kernel(self) -> Tensor:
        """Tap by tap: kept if it comes before the centre, at the centre if its channel does."""
        if self.order is None or self.order == "ones":
            return self.weight * self.mask.expand(self.weight_shape)
        made, many = torch.zeros_like(self.weight), self.in_channels // self.groups
        for o, i in itertools.product(range(self.out_channels), range(many)):
            channel = o // (self.out_channels // self.groups) * many + i
            theirs, own = (
                n // (total // self.channel_groups)
                for n, total in ((channel, self.in_channels), (o, self.out_channels))
            )
            theirs, own = (0, 0) if self.order == "causal" else (theirs, own)
            for tap in itertools.product(*map(range, self.kernel_size)):
                level = [t <= c for t, c in zip(tap, self.centre, strict=True)]
                kept = all(level) if self.order == "quadrant" else tap <= self.centre
                if tap == self.centre:
                    kept = theirs < own or (theirs == own and self.order != "A" and not self.zero_diagonal)
                made[(o, i, *tap)] = self.weight[(o, i, *tap)] if kept else 0.0
        return made

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 4, "kernel_size": 5, "mask": "A"}, ((2, 2, 7),))
        common = {"in_channels": 4, "out_channels": 4, "kernel_size": 3}
        yield Example({"ndim": 2, **common, "mask": "B", "channel_groups": 4, "groups": 2}, ((2, 4, 4, 3),))
        yield Example({"ndim": 2, **common, "mask": "quadrant", "channel_groups": 2}, ((2, 4, 4, 5),))
        wide = {**common, "kernel_size": (5, 3), "dilation": 2, "padding": 1, "stride": (1, 2)}
        yield Example({"ndim": 2, **wide, "mask": "causal", "bias": False, "padding_mode": "reflect"}, ((1, 4, 9, 7),))
        yield Example({"ndim": 2, **common, "mask": "ones", "padding_mode": "circular"}, ((1, 4, 4, 3),))
        corner = [[1, 0, 0, 0], [0, 0, 1, 1]]
        yield Example({"ndim": 2, **common, "kernel_size": (2, 4), "padding": 1, "mask": corner}, ((1, 4, 4, 5),))
        yield Example({"ndim": 2, **common, "mask": "A", "kernel_size": 1}, ((1, 4, 2, 3),))
        yield Example(
            {"ndim": 3, **common, "mask": "B", "channel_groups": 2, "zero_diagonal": True}, ((1, 4, 3, 2, 3),)
        )
        yield Example({"ndim": 4, "in_channels": 1, "out_channels": 2, "kernel_size": 3}, ((1, 1, 2, 3, 2, 2),))
