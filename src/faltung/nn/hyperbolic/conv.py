"""PoincareConv: convolution of features that are points of a hyperbolic ball, by one plain convolution of tangent vectors."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled, shown
from faltung.nn.conv import Conv
from faltung.nn.hyperbolic.planes import (
    SOURCE,
    beta_ratio,
    by_formula,
    identity_planes,
    settings,
    through_planes,
    unit_planes,
)  # fmt: skip
from faltung.planner import Policy


class PoincareConv(Layer):
    """A convolution between hyperbolic balls: patches are joined to one point, planes of the larger ball give the result's.

    Formula: with `u` the tangent vectors of a patch, times B(n·taps/2, ½)/B(n/2, ½) for n channels, one after the other, and x =
    expmap0(u): `v_k = (2‖z_k‖/√c) arsinh(√c λ⟨x, z_k⟩/‖z_k‖ cosh(2√c r_k) − (λ − 1) sinh(2√c r_k))`, λ = 2/(1 − c‖x‖²), `w =
    sinh(√c v)/√c`, `y = logmap0(w/(1 + √(1 + c‖w‖²)))`.

    Since expmap0 only scales the patch by a function of its length, ⟨x, z⟩ is a plain convolution of the tangent map, and ‖u‖² a
    sum of squares over the patch: no patch is ever taken apart.

    Shapes: input (batch, in, *n), tangent vectors at 0 along the channels, returns (batch, out, *m) of the same kind; weight
    (out, in / groups, *kernel_size), bias r (out).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size, stride, padding, dilation, groups, padding_mode, device, dtype, policy: as for `Conv`. Each group is a ball of
            its own.
        bias: whether planes are moved from 0. Default True.
        c: of the curvature −c, at least 0; 0 is Euclidean, `2⟨u, z⟩ − 2‖z‖r`. Default 0.1.
        gain: of the first weights; "preserve" (1 / the ratio of beta functions) keeps lengths where no skip does. Default 1.
        init: "identity" (½·gain on the middle tap) or "normal" (deviation ½·gain/√(in / groups · taps)). Default "identity".

    Raises:
        ArgumentError: settings that name no layer.

    Error: points stay within (1 − ε)/√c of the middle, ε = 4e-3 in float32 and 1e-5 in float64, so that nothing overflows.
    Cost: a plain convolution, a sum over the taps, and about 30 functions of each result.
    Source: van Spengler, Berkhout and Mettes, Poincaré ResNet (2023); Shimizu et al., Hyperbolic neural networks++ (2021) for the
    planes. The reference's λ lacks the 2, which contracts features, and its first weights miss the middle tap.

    Example:
        >>> PoincareConv(2, 4, 8, 3, padding=1)(torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    name = "poincare-conv"
    summary = "a convolution of features that are points of a hyperbolic ball"
    source = SOURCE
    dims = (1, 2, 3, 4)
    cost = "in / groups · Π kernel_size + 30"
    portrait = shown(
        "stirred field photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=4, kernel_size=5, padding=2
    )

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        c: float = 0.1,
        gain: Any = 1.0,
        init: str = "identity",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        conv = Conv(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, False, padding_mode, device="meta"
        )  # fmt: skip
        for word in (
            "ndim",
            "in_channels",
            "out_channels",
            "kernel_size",
            "stride",
            "padding",
            "dilation",
            "groups",
            "pads",
        ):
            setattr(self, word, getattr(conv, word))
        self.padding_mode, self.policy = padding_mode, policy
        self.within, self.taps = conv.in_channels // conv.groups, math.prod(conv.kernel_size)
        self.ratio = beta_ratio(self.within, self.taps)
        self.c, self.first = settings("PoincareConv", c, gain, init, self.ratio)
        self.init = init
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(conv.weight_shape, **factory))
        self.register_parameter("bias", nn.Parameter(torch.empty(conv.out_channels, **factory)) if bias else None)
        self.reset_parameters()

    in_channels: int
    out_channels: int
    ndim: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]
    groups: int
    pads: tuple[tuple[int, int], ...]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Planes through 0: an identity on the middle tap, or normal ones."""
        if self.init == "normal":
            nn.init.normal_(self.weight, std=0.5 * self.first / math.sqrt(self.within * self.taps))
        else:
            for part in self.weight.unflatten(0, (self.groups, -1)):
                identity_planes(part, self.first)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        if input.is_complex():
            raise ArgumentError.of("PoincareConv", "real tangent vectors", f"{input.dtype}", "take parts as channels")
        rest = (self.stride, self.padding, self.dilation, self.groups, self.padding_mode, self.policy)
        planes, length = unit_planes(self.weight)
        column = (self.groups, -1, *[1] * self.ndim)
        inner = functional.conv(input, planes * self.ratio, None, *rest)
        # ‖u‖² of a patch sums squares over channels and taps; as a convolution of one channel a group.
        squares = input.unflatten(1, (self.groups, self.within)).square().sum(2)
        ones = self.weight.new_full((self.groups, 1, *self.kernel_size), self.ratio**2)
        wide = torch.promote_types(inner.dtype, torch.float32)  # halves cannot hold what sinh makes
        square = functional.conv(squares, ones, None, *rest).unsqueeze(2).to(wide)
        shift = torch.zeros_like(length) if self.bias is None else self.bias
        inner = inner.unflatten(1, (self.groups, self.out_channels // self.groups)).to(wide)
        found = through_planes(inner, square.clamp(min=0), length.reshape(column), shift.reshape(column), self.c, 2)
        return found.flatten(1, 2).to(planes.dtype if planes.dtype == wide else inner.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        """Patch by patch, in the ball."""
        from faltung.nn.hyperbolic.ball import margin

        (x,) = inputs
        around = [width for pair in reversed(self.pads) for width in pair]
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        x = nn.functional.pad(x, around, mode) if any(around) else x
        sizes = self.shapes(tuple(inputs[0].shape))[2:]
        patches = []
        for tap in itertools.product(*(range(k) for k in self.kernel_size)):
            places = zip(tap, self.dilation, self.stride, sizes, strict=True)
            patches.append(x[(..., *(slice(t * d, t * d + s * (m - 1) + 1, s) for t, d, s, m in places))])
        joined = torch.stack(patches, 2) * self.ratio  # (batch, in, taps, *m)
        results = []
        for g in range(self.groups):
            own = slice(g * self.out_channels // self.groups, (g + 1) * self.out_channels // self.groups)
            u = joined[:, g * self.within : (g + 1) * self.within].flatten(1, 2).movedim(1, -1)
            flat, root = u.reshape(-1, u.shape[-1]), math.sqrt(self.c)
            norm = ((flat**2).sum(1, keepdim=True) + 1e-300).sqrt()
            rim = 1 - margin(flat)
            point = torch.tanh(root * norm).clamp(max=rim) * flat / (root * norm)
            shift = self.weight.new_zeros(own.stop - own.start) if self.bias is None else self.bias[own]
            y = by_formula(point, self.weight[own].flatten(1), shift, self.c)
            size = ((y**2).sum(1, keepdim=True) + 1e-300).sqrt()
            results.append((torch.atanh((root * size).clamp(max=rim)) * y / (root * size)).reshape(*u.shape[:-1], -1))
        return torch.cat(results, -1).movedim(-1, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        sizes = zip(inputs[0][2:], self.pads, self.dilation, self.kernel_size, self.stride, strict=True)
        found = ((n + lo + hi - d * (t - 1) - 1) // s + 1 for n, (lo, hi), d, t, s in sizes)
        return (inputs[0][0], self.out_channels, *found)

    def parameter_count(self) -> int:
        return self.out_channels * (self.within * self.taps + (0 if self.bias is None else 1))

    def symmetries(self) -> Iterable[Symmetry]:
        whole = all(
            lo + hi == d * (t - 1) for (lo, hi), d, t in zip(self.pads, self.dilation, self.kernel_size, strict=True)
        )
        if self.padding_mode == "circular" and whole and len(set(self.stride)) == 1:
            yield rolled(self.stride[0], self.ndim, self.stride[0])

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "in_channels": 2, "out_channels": 3, "kernel_size": 3, "padding": 1}, ((2, 2, 5, 4),))
        yield Example(
            {"ndim": 1, "in_channels": 4, "out_channels": 2, "kernel_size": 3, "stride": 2, "dilation": 2, "groups": 2,
             "padding": 2, "bias": False, "init": "normal", "c": 1.0}, ((2, 4, 7),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_channels": 1, "out_channels": 2, "kernel_size": (2, 3), "padding": "same", "padding_mode": "circular",
             "gain": "preserve"}, ((1, 1, 3, 4),),
        )  # fmt: skip
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "kernel_size": 2}, ((1, 1, 2, 3, 3),))
