"""ScaleConv: convolution over places and scales, its Hermite–Gauss filters stretched for every scale, and one plain convolution."""

import itertools
import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, Symmetry, shown, uniform_bias
from faltung.nn.exchange import grouped
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

_EDGE = 1e-9  # taps on the rim of a window belong to it, whatever the rounding of powers


class ScaleConv(ConvLayer):
    """A convolution over places and scales: an image's zoom moves its results along the axis of scales.

    Formula: `y(j, o) = Σ over i and m of corr(x(j + m, i), κⱼ[o, i, m]) + bias[o]`, j < scales, m < neighbours, x = 0 beyond the
    largest scale; an image without scales is lifted by `in_type="trivial"`: `y(j, o) = Σ_i corr(x(i), κⱼ[o, i]) + bias[o]`.
    The filter at scale j is `κⱼ(t) = ratio^(−d·j) κ(t / ratio^j)` for |t| ≤ reach · width · ratio^j along each of d axes,
    `κ(t) = Σ over n of weight[n] Π over axes of ψₙ(t / width) / √width`, `ψₙ(u) = Hₙ(u) e^(−u²/2) / √(2ⁿ n! √π)`, n = 0 … order.

    Shapes: input (batch, in_fields·scales, *n), or (batch, in_fields, *n) to lift; returns (batch, out_fields·scales, *m): fields
    outermost, so that `unflatten(1, (fields, scales))` is a view, the smallest scale first; weight (out_fields, in_fields /
    groups, neighbours, *(order + 1)); bias (out_fields), one for all scales. `in_channels`, `out_channels` and `kernel_size` are
    those of the plain convolution that the layer is; the kernel, odd, holds the window of the largest scale.

    Args:
        ndim: number of spatial axes, 1 to 3.   in_fields, out_fields: at least 1, multiples of groups.
        scales: how many, at least 1. Default 4.   ratio: of a scale to the one before, above 1. Default 2^(1/3), so that four
            scales span a factor of two.
        in_type: "regular" (default: fields on scales), or "trivial" (an image).
        neighbours: how many scales a result looks at: its own and larger ones. 1 to scales. Default 1: its own.
        order: highest Hermite function along an axis, at least 0. Default 2: as many numbers as 3 taps.
        width: the Gauss function's deviation at the smallest scale, in samples (of `dilation` places each), above 0. Default 1.
        reach: half of a filter's window in deviations, above 0. Default None: √(2·order + 1) + 2, two behind the last wave.
        stride, padding, dilation, groups, bias, padding_mode, device, dtype, policy: as for `Conv`; `padding="same"` is at hand.

    Raises:
        ArgumentError: settings that name no layer.

    Error: shifts are exact. Zooming an image by ratio^k moves results by k scales, `y'(j + k)(ratio^k·t) = y(j)(t)`, up to the
    sampling of both, which falls about as exp(−2π² width²) until the window's cut is left; k scales leave at either end. Exact for
    whole ratios and impulses: of ratio^d·x with ratio − 1 zeros between samples, every ratio-th result at scale j + 1 is that of x
    at scale j.
    Cost: scales · neighbours times a plain convolution of as many fields and taps (scales² with neighbours above half of them):
    one convolution with a group for each scale. `freeze` makes the dense kernel once.
    Source: Sosnovik, Szmaja and Smeulders, Scale-equivariant steerable networks (2020). Orthonormal functions of the same span, so
    that weights of one size make results of one size.

    Example:
        >>> lift = ScaleConv(2, 3, 8, in_type="trivial", padding="same")
        >>> lift(torch.zeros(1, 3, 9, 9)).shape  # eight fields of four scales
        torch.Size([1, 32, 9, 9])
    """

    name = "scale-conv"
    summary = "a convolution over places and scales: Hermite–Gauss filters, stretched for every scale"
    cost = "neighbours · in / groups · Π kernel_size"
    source = "Sosnovik, Szmaja and Smeulders, Scale-equivariant steerable networks (2020)"
    dims = (1, 2, 3)
    portrait = shown(
        "kernels photo", (1, 1, 96, 96), ndim=2, in_fields=1, out_fields=1, in_type="trivial", padding="same"
    )

    radii: Tensor

    def __init__(
        self,
        ndim: int,
        in_fields: int,
        out_fields: int,
        scales: int = 4,
        ratio: float = 2 ** (1 / 3),
        in_type: str = "regular",
        neighbours: int = 1,
        order: int = 2,
        width: float = 1.0,
        reach: float | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.scales, self.neighbours = functional.numbers("scales, neighbours", (scales, neighbours), 2, 1)
        (self.order,) = functional.numbers("order", order, 1, 0)
        self.in_type = in_type
        self._check_scales(ratio, width, reach)
        self.ratio, self.width = float(ratio), float(width)
        self.reach = math.sqrt(2 * self.order + 1) + 2 if reach is None else float(reach)
        # Whole numbers: a cast of the layer leaves them alone.
        windows = [math.floor(self.reach * self.width * self.ratio**j + _EDGE) for j in range(self.scales)]
        self.settle(
            ndim, in_fields, out_fields, 2 * windows[-1] + 1, stride, padding, dilation, groups, padding_mode, policy
        )
        self.in_fields, self.out_fields = self.in_channels, self.out_channels
        self.in_channels = self.in_fields * (1 if self.lifts else self.scales)
        self.out_channels = self.out_fields * self.scales
        self.register_buffer("radii", torch.tensor(windows, device=device), persistent=False)
        waves, within = (self.order + 1,) * self.ndim, self.in_fields // self.groups
        self.weight = nn.Parameter(
            torch.empty(self.out_fields, within, self.neighbours, *waves, device=device, dtype=dtype)
        )
        fan = within * self.neighbours * math.prod(waves)
        nn.init.uniform_(self.weight, -1 / math.sqrt(fan), 1 / math.sqrt(fan))
        made = uniform_bias(self.out_fields, fan, {"device": device, "dtype": dtype}) if bias else None
        self.register_parameter("bias", made)

    def _check_scales(self, ratio: Any, width: Any, reach: Any) -> None:
        """Refuse what is no ladder of scales."""
        who = type(self).__name__
        if self.in_type not in ("regular", "trivial"):
            raise ArgumentError.of(
                who, "in_type 'regular' or 'trivial'", repr(self.in_type), "use 'trivial' for images without scales"
            )
        for name, value, least in (("ratio", ratio, 1), ("width", width, 0), ("reach", reach, 0)):
            if name == "reach" and value is None:
                continue
            if not isinstance(value, int | float) or not least < value < math.inf:
                raise ArgumentError.of(who, f"a {name} above {least}", repr(value), "leave it out for the usual one")
        most = 1 if self.in_type == "trivial" else self.scales
        if self.neighbours > most:
            raise ArgumentError.of(
                who, f"at most {most} neighbours, as many scales as come in", str(self.neighbours), "use fewer"
            )

    @property
    def lifts(self) -> bool:
        """Whether the input is an image without scales."""
        return self.in_type == "trivial"

    def bank(self) -> Tensor:
        """Every Hermite–Gauss function at every scale (scales, (order + 1)^d, taps), taps row by row."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        factory, half = {"device": self.weight.device, "dtype": dtype}, self.kernel_size[0] // 2
        taps = torch.arange(-half, half + 1, **factory)
        spans = (self.ratio ** torch.arange(self.scales, **factory))[:, None]
        u = taps / (self.width * spans)
        waves = [torch.exp(-u.square() / 2) * (math.pi**-0.25 / math.sqrt(self.width))]
        for n in range(self.order):
            below = waves[n - 1] * math.sqrt(n / (n + 1)) if n else 0
            waves.append(waves[n] * u * math.sqrt(2 / (n + 1)) - below)
        seen = (taps.abs() <= self.radii[:, None]) / spans
        line = torch.stack([wave * seen for wave in waves], 1)
        found = line
        for _ in range(self.ndim - 1):
            found = torch.einsum("sat,sbu->sabtu", found, line).flatten(3).flatten(1, 2)
        return found.to(self.weight.dtype)

    def filters(self) -> Tensor:
        """κⱼ[o, i, m] as (out_fields, scales, in_fields / groups, neighbours, taps), taps row by row."""
        return torch.einsum("oimf,sft->osimt", self.weight.flatten(3), self.bank())

    def kernel(self) -> Tensor:
        filters = self.filters()
        if self.lifts:
            return filters.reshape(self.weight_shape)
        rows = []
        for j in range(self.scales):
            many = min(self.neighbours, self.scales - j)
            row = filters[:, j, :, :many]
            rows.append(nn.functional.pad(row, (0, 0, j, self.scales - j - many)))
        return torch.stack(rows, 1).reshape(self.weight_shape)

    def definition_kernel(self) -> Tensor:
        """Tap by tap at each scale, with Hermite's polynomials as polynomials."""
        within, come = self.in_fields // self.groups, 1 if self.lifts else self.scales
        found = self.weight.new_zeros(self.out_fields, self.scales, within, come, *self.kernel_size)
        half = self.kernel_size[0] // 2

        def along(place: float) -> Tensor:
            """ψₙ(place / width) / √width for all n."""
            u, each = place / self.width, range(self.order + 1)
            polynomials = [float(np.polynomial.hermite.hermval(u, [0] * n + [1])) for n in each]
            norms = [math.sqrt(2**n * math.factorial(n) * math.sqrt(math.pi) * self.width) for n in each]
            return self.weight.new_tensor(
                [p * math.exp(-(u**2) / 2) / norm for p, norm in zip(polynomials, norms, strict=True)]
            )

        for j, *tap in itertools.product(range(self.scales), *(range(-half, half + 1),) * self.ndim):
            span = self.ratio**j
            if max(abs(t) for t in tap) > self.reach * self.width * span + _EDGE:
                continue
            value = self.weight
            for t in reversed(tap):
                value = value @ along(t / span)
            for m in range(min(self.neighbours, come - j if come > 1 else 1)):
                place = (slice(None), j, slice(None), 0 if self.lifts else j + m, *(t + half for t in tap))
                found[place] = value[:, :, m] / span**self.ndim
        return found.reshape(self.weight_shape)

    def effective_bias(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(self.scales)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        if not self.lifts and 2 * self.neighbours <= self.scales:
            return self._scale_by_scale(input)
        return functional.conv(
            input, self.kernel(), self.effective_bias(), self.stride, self.padding, self.dilation, self.groups, self.padding_mode,
            self.policy,
        )  # fmt: skip

    def _scale_by_scale(self, input: Tensor) -> Tensor:
        """The same as one convolution with a group for each scale, which has no taps for scales that a result does not look at."""
        axis = input.ndim - self.ndim - 1
        x = input.unflatten(axis, (self.groups, -1, self.scales)).movedim(axis + 2, axis)  # (scales, groups, fields)
        seen = [x]
        for m in range(1, self.neighbours):
            above = x.narrow(axis, m, self.scales - m)
            beyond = torch.zeros_like(x.narrow(axis, 0, m))
            seen.append(torch.cat((above, beyond), axis))
        x = torch.stack(seen, axis + 2).flatten(axis, axis + 3)
        weight = self.filters().permute(1, 0, 3, 2, 4).flatten(0, 1)  # (scales · out, neighbours, in / groups, taps)
        weight = weight.reshape(weight.shape[0], -1, *self.kernel_size)
        bias = None if self.bias is None else self.bias.repeat(self.scales)
        y = functional.conv(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups * self.scales, self.padding_mode, self.policy
        )  # fmt: skip
        return y.unflatten(axis, (self.scales, self.out_fields)).transpose(axis, axis + 1).flatten(axis, axis + 1)

    def definition(self, *inputs: Any) -> Tensor:
        bias = None if self.bias is None else self.bias[:, None].expand(-1, self.scales).flatten()
        return conv_by_taps(
            inputs[0], self.definition_kernel(), bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )  # fmt: skip

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel of this kind in the Frobenius norm, by least squares over all scales; the mean of a field's biases.

        Raises:
            ArgumentError: a kernel of another shape.
        """
        come = 1 if self.lifts else self.scales
        given = grouped(kernel, self).reshape(
            self.out_fields, self.scales, -1, come, math.prod(self.kernel_size)
        ).double()  # fmt: skip
        functions = self.bank().double()
        for m in range(self.neighbours):
            rows = [given[:, j, :, 0 if self.lifts else j + m] for j in range(self.scales - m)]
            columns = functions[: self.scales - m].transpose(0, 1).flatten(1)
            nearest = torch.stack(rows, 2).flatten(2) @ torch.linalg.pinv(columns)
            self.weight[:, :, m] = nearest.reshape(self.weight[:, :, m].shape).to(self.weight)
        self.take_bias(None if bias is None else bias.reshape(self.out_fields, -1).mean(1))
        return self

    def parameter_count(self) -> int:
        numbers = self.neighbours * (self.order + 1) ** self.ndim
        return self.out_fields * (self.in_fields // self.groups) * numbers + (
            0 if self.bias is None else self.out_fields
        )

    def symmetries(self) -> Iterable[Symmetry]:
        """Besides shifts the stretch by a whole ratio, with zeros between samples: results go to the next scale, where all they
        look at has come along."""
        yield from super().symmetries()
        whole = round(self.ratio)
        left = self.scales - (1 if self.lifts else self.neighbours)
        centred = all(
            lo == hi == d * (k // 2) for (lo, hi), d, k in zip(self.pads, self.dilation, self.kernel_size, strict=True)
        )
        if (
            self.ratio != whole
            or left < 1
            or not centred
            or max(self.stride) > 1
            or self.padding_mode not in ("zeros", "circular")
        ):
            return
        sampled = (..., *[slice(None, None, whole)] * self.ndim)

        def stretched(x: Tensor) -> Tensor:
            apart = x.new_zeros(*x.shape[: -self.ndim], *(n * whole for n in x.shape[-self.ndim :]))
            apart[sampled] = x * whole**self.ndim
            if self.lifts:
                return apart
            scales = apart.unflatten(1, (self.in_fields, self.scales))
            return torch.cat([torch.zeros_like(scales[:, :, :1]), scales[:, :, :-1]], 2).flatten(1, 2)

        def of(y: Tensor, first: int) -> Tensor:
            return y.unflatten(1, (self.out_fields, self.scales))[:, :, first : first + left]

        yield Symmetry(
            f"a stretch by {whole}, a scale up", stretched, lambda y: of(y, 0), seen=lambda y: of(y, 1)[sampled]
        )

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"out_fields": 2, "scales": 2, "ratio": 1.5, "reach": 2.0}
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "in_type": "trivial", "order": 1, "width": 0.5, "padding": 1},
            ((2, 2, 5, 4),),
        )
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "neighbours": 2, "order": 1, "width": 0.6, "groups": 2, "stride": 2, "dilation": 2,
             "padding": 2, "bias": False}, ((1, 4, 5, 6),),
        )  # fmt: skip
        yield Example(
            {"ndim": 1, "in_fields": 1, "out_fields": 2, "scales": 4, "ratio": 2.0, "neighbours": 2, "order": 3, "width": 0.3,
             "padding": "same", "padding_mode": "circular"}, ((2, 4, 17),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_fields": 1, "out_fields": 1, "scales": 3, "ratio": 1.2, "width": 0.5, "reach": 2.0, "padding": "same",
             "padding_mode": "reflect"}, ((1, 3, 5, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "in_fields": 1, **few, "order": 0, "width": 0.5}, ((1, 2, 3, 4, 3),)
        )  # fmt: skip
