"""Large-small convolution: a wide view decides, at every place, on a small kernel."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import conv_by_taps, padded
from faltung.planner import Policy


class LSConv(Layer):
    """A block that predicts a small depthwise kernel for every place from a large neighbourhood, and applies it.

    Formula: `u = ReLU(BN(1×1: C → C/2))`, `u = BN(depthwise large_kernel)`, `u = ReLU(BN(1×1: C/2 → C/2))`,
    `w = GroupNorm(1×1 with bias: C/2 → K·C/share)` with K taps and a group for each kernel,
    `y[n, c, p] = Σ over t of w[n, c mod (C/share), t, p] · x[n, c, p + t − centre]`, and the result `BN(y) + x`.

    Shapes: input (batch, channels, *n), returns the same.

    Args:
        ndim: number of spatial axes, at least 1.   channels: C, even and a multiple of share.
        large_kernel: taps of the view, one number for all spatial axes or one for each. Default 7.
        small_kernel: taps of the predicted kernels, likewise. Default 3.
        share: how many channels use one kernel. Default 8.
        padding_mode: what stands beyond the edge: zeros, reflect, replicate, circular or symmetric. Default zeros.
        device, dtype: of the parameters. Default: torch's.   policy: for the four convolutions.
        There is no stride, dilation or groups: the input is added to the result.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: C²/2 + C²/4 + K·C²/(2·share) products a place for the three 1×1 convolutions, and C·(large/2 + small) for the others; the
    kernels take K·C/share values a place, the input is not unfolded.

    Example:
        >>> layer = LSConv(2, 128)
        >>> layer.parameter_count(), layer(torch.zeros(1, 128, 8, 8)).shape
        (25712, torch.Size([1, 128, 8, 8]))
    """

    name = "ls-conv"
    summary = "a wide view predicts a small depthwise kernel for every place"
    source = "Wang, Chen, Lin, Han and Ding, LSNet: See large, focus small (2025)"
    dims = (1, 2, 3, 4)
    cost = "channels · (3/4 + Π small_kernel / (2·share)) + Π large_kernel / 2 + Π small_kernel"
    portrait = shown("photo field", (1, 16, 96, 96), ndim=2, channels=16)

    def __init__(
        self,
        ndim: int,
        channels: int,
        large_kernel: Any = 7,
        small_kernel: Any = 3,
        share: int = 8,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        (self.share,) = functional.numbers("share", share, 1, 1)
        if self.channels % self.share or self.channels % 2:
            raise ArgumentError.of(
                "LSConv", f"an even number of channels that {share} divides", f"{channels}", "change channels or share"
            )
        self.large_kernel = functional.numbers("large_kernel", large_kernel, self.ndim, 1)
        self.small_kernel = functional.numbers("small_kernel", small_kernel, self.ndim, 1)
        self.padding_mode, half, kernels = padding_mode, self.channels // 2, self.channels // self.share
        factory = {"device": device, "dtype": dtype}
        common: dict[str, Any] = {**factory, "policy": policy, "bias": False}
        self.narrow = Conv(self.ndim, self.channels, half, 1, **common)
        self.narrow_norm = nn.BatchNorm1d(half, **factory)
        self.view = Conv(
            self.ndim, half, half, self.large_kernel, padding="same", groups=half, padding_mode=padding_mode, **common
        )
        self.view_norm = nn.BatchNorm1d(half, **factory)
        self.mix = Conv(self.ndim, half, half, 1, **common)
        self.mix_norm = nn.BatchNorm1d(half, **factory)
        self.predict = Conv(self.ndim, half, kernels * math.prod(self.small_kernel), 1, **{**common, "bias": True})
        self.predict_norm = nn.GroupNorm(kernels, kernels * math.prod(self.small_kernel), **factory)
        self.norm = nn.BatchNorm1d(self.channels, **factory)

    def kernels(self, input: Tensor) -> Tensor:
        """The kernels that the layer predicts, (batch, channels / share, Π small_kernel, *n)."""
        u = _normed(self.narrow_norm, self.narrow(input)).relu()
        u = _normed(self.view_norm, self.view(u))
        u = _normed(self.mix_norm, self.mix(u)).relu()
        w = self.predict(u)
        if w.numel():
            w = self.predict_norm(w)
        groups = self.channels // self.share
        return w.unflatten(1, (groups, w.shape[1] // groups))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        w = self.kernels(input)
        y = functional.conv_per_pixel(
            input.to(w.dtype), w, self.small_kernel, "interleave", padding="same", padding_mode=self.padding_mode
        )
        return _normed(self.norm, y) + input

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        one, many = (1,) * self.ndim, self.channels // self.share

        def conv(layer: Conv, x: Tensor, pads: Any) -> Tensor:
            return conv_by_taps(x, layer.weight, layer.bias, one, pads, one, layer.groups, self.padding_mode)

        def by_channel(values: Tensor) -> Tensor:
            return values.reshape(-1, *one)

        def normed(norm: nn.BatchNorm1d, u: Tensor) -> Tensor:
            mean, deviation = norm.running_mean, (norm.running_var + norm.eps).sqrt()
            return (u - by_channel(mean)) / by_channel(deviation) * by_channel(norm.weight) + by_channel(norm.bias)

        flat = ((0, 0),) * self.ndim
        u = normed(self.narrow_norm, conv(self.narrow, x, flat)).relu()
        u = normed(self.view_norm, conv(self.view, u, self.view.pads))
        u = normed(self.mix_norm, conv(self.mix, u, flat)).relu()
        w = conv(self.predict, u, flat).unflatten(1, (many, -1))
        over = tuple(range(2, w.ndim))
        spread = w.var(over, correction=0, keepdim=True)
        w = (w - w.mean(over, keepdim=True)) / (spread + self.predict_norm.eps).sqrt()
        w = (w.flatten(1, 2) * by_channel(self.predict_norm.weight) + by_channel(self.predict_norm.bias)).unflatten(
            1, (many, -1)
        )
        pads = functional.margins("same", 1, 1, self.small_kernel)
        wide, y = padded(x, pads, self.padding_mode), torch.zeros_like(x)
        for number, tap in enumerate(
            torch.cartesian_prod(*map(torch.arange, self.small_kernel)).reshape(-1, self.ndim)
        ):
            seen = wide[(..., *(slice(t, t + n) for t, n in zip(tap.tolist(), x.shape[2:], strict=True)))]
            y = y + seen * w[:, torch.arange(self.channels) % many, number]
        return normed(self.norm, y) + x

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        c, k = self.channels, math.prod(self.small_kernel) * (self.channels // self.share)
        return c * c // 2 + c // 2 * (math.prod(self.large_kernel) + c // 2 + k) + k + 3 * c + 2 * k + 2 * c

    def symmetries(self) -> Iterable[Symmetry]:
        if self.padding_mode == "circular":
            yield rolled(1, self.ndim)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 4, "share": 2, "padding_mode": "circular"}, ((2, 4, 9),))
        yield Example({"ndim": 2, "channels": 4, "large_kernel": (3, 5), "share": 2}, ((2, 4, 5, 4),))
        even = {"large_kernel": 3, "small_kernel": 2, "share": 4, "padding_mode": "circular"}
        yield Example({"ndim": 2, "channels": 4, **even}, ((1, 4, 3, 4),))
        small = {"channels": 2, "large_kernel": 3}
        yield Example({"ndim": 3, **small, "share": 1, "padding_mode": "reflect"}, ((1, 2, 3, 2, 3),))
        yield Example(
            {"ndim": 4, "channels": 2, "large_kernel": 2, "small_kernel": 2, "share": 2}, ((1, 2, 2, 2, 2, 2),)
        )


def _normed(norm: nn.BatchNorm1d, u: Tensor) -> Tensor:
    """Batch normalisation over any number of spatial axes, without samples as well."""
    if not u.numel():
        return u
    return norm(u.flatten(2)).unflatten(2, u.shape[2:])
