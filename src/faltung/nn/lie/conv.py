"""LieLiftConv and LieGroupConv: convolution over a sampled matrix group, with kernels that a network makes of coordinates."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, Symmetry, shown, uniform_bias
from faltung.nn.conditional.implicit import coordinates
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.lie.expanded import by_elements
from faltung.nn.lie.groups import matrix_group
from faltung.nn.lie.kernel_net import KINDS, CoordinateNet
from faltung.nn.lie.samples import GroupSamples, quarter_turns
from faltung.planner import Policy

SUPPORTS = ("auto", "disc", "soft", "none")
SOURCE = "Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024)"
_EDGE = 1e-5  # taps on the rim of the disc belong to it, whatever a rotation's rounding


class _LieConv(ConvLayer):
    """What lifting and group convolution share."""

    dims = (1, 2, 3)
    source = SOURCE
    lifts = False

    def __init__(
        self,
        ndim: int,
        in_fields: int,
        out_fields: int,
        kernel_size: Any,
        group: Any = "SL",
        num_samples: int | None = None,
        kernel_net: Any = "siren",
        seed: int | None = None,
        hidden: int = 60,
        layers: int = 2,
        omega: float = 10.0,
        spread: float = 0.1,
        support: str = "auto",
        reach: float = 1.0,
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
        who = type(self).__name__
        factory = {"device": device, "dtype": dtype}
        self.settle(ndim, in_fields, out_fields, kernel_size, stride, padding, dilation, groups, padding_mode, policy)
        self.in_fields, self.out_fields = self.in_channels, self.out_channels
        if isinstance(group, GroupSamples):
            if num_samples is not None or seed is not None:
                raise ArgumentError.of(
                    who, "num_samples and seed only without shared samples", f"{num_samples!r}, {seed!r}", "leave them out"
                )  # fmt: skip
            matrix_group(group.group, self.ndim)
            self.samples = group
        else:
            self.samples = GroupSamples(
                matrix_group(group, self.ndim), 10 if num_samples is None else num_samples, spread,
                seed=0 if seed is None else seed, fresh=False, **factory,
            )  # fmt: skip
        if support not in SUPPORTS:
            raise ArgumentError.of(who, f"support among {', '.join(SUPPORTS)}", repr(support), "leave it out")
        if not 0 < reach < math.inf:
            raise ArgumentError.of(who, "a reach above 0", repr(reach), "leave it out for 1")
        self.support, self.reach = support, float(reach)
        if support == "auto":
            self.support = "disc" if self.samples.group.volume_preserving else "soft"
        count, within = self.samples.count, self.in_fields // self.groups
        self.in_channels = self.in_fields * (1 if self.lifts else count)
        self.out_channels = self.out_fields * count
        inputs = self.ndim + (0 if self.lifts else self.samples.group.dim)
        if isinstance(kernel_net, str) and kernel_net in KINDS:
            fan = within * math.prod(self.kernel_size)
            kernel_net = CoordinateNet(
                inputs, self.out_fields * within, hidden, layers, kernel_net, omega, fan=fan, **factory
            )
        if not isinstance(kernel_net, nn.Module):
            wanted = f"a module from (1, {inputs}, *n) to (1, {self.out_fields * within}, *n)"
            raise ArgumentError.of(who, f"{' or '.join(KINDS)}, or {wanted}", repr(kernel_net), "use 'siren'")
        self.kernel_net = kernel_net
        fan = self.in_channels // self.groups * math.prod(self.kernel_size)
        self.register_parameter("bias", uniform_bias(self.out_fields, fan, factory) if bias else None)

    def window(self, places: Tensor) -> Tensor:
        """The kernel's support at places (..., n): 1 and 0 for a disc, a soft edge, or 1."""
        radius = places.square().sum(-1).sqrt()
        if self.support == "disc":
            return (radius <= 1 + _EDGE).to(places.dtype)
        return torch.sigmoid(2 * (1 - radius)) if self.support == "soft" else torch.ones_like(radius)

    def seen_places(self) -> Tensor:
        """g⁻¹·t for all elements and taps t in [−reach, reach]ⁿ, (count, taps, n)."""
        inverses = self.samples.read("inverses")
        taps = self.reach * coordinates(self.kernel_size, inverses)[0].flatten(1).T
        return torch.einsum("gij,tj->gti", inverses, taps)

    def effective_bias(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(self.samples.count)

    def definition_kernel(self) -> Tensor:
        """Element by element and tap by tap, logarithms by eigenvalues."""
        return by_elements(self)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        if self.lifts and self.training and self.samples.fresh:
            self.samples.draw()
        return functional.conv(
            input, self.kernel(), self.effective_bias(), self.stride, self.padding, self.dilation, self.groups, self.padding_mode,
            self.policy,
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        bias = None if self.bias is None else self.bias[:, None].expand(-1, self.samples.count).flatten()
        return conv_by_taps(
            inputs[0], self.definition_kernel(), bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )  # fmt: skip

    def parameter_count(self) -> int:
        net: Any = self.kernel_net
        own = net.parameter_count() if isinstance(net, CoordinateNet) else sum(p.numel() for p in net.parameters())
        return own + (0 if self.bias is None else self.out_fields)

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        quarter = quarter_turns(self.samples)
        alike = [len(set(each)) == 1 for each in (self.kernel_size, self.dilation, self.pads)]
        if quarter is None or not all(alike) or self.pads[0][0] != self.pads[0][1] or max(self.stride) > 1:
            return
        yield quarter_turn(self.samples.count, quarter, not self.lifts)


def quarter_turn(count: int, by: int, fibre: bool = True) -> Symmetry:
    """A quarter turn of the plane, which moves so many elements by so many places; of images that are lifted places alone."""

    def turned(x: Tensor, fibre: bool = True) -> Tensor:
        x = torch.rot90(x, 1, (-2, -1))
        return x.unflatten(1, (-1, count)).roll(by, 2).flatten(1, 2) if fibre else x

    return Symmetry("a quarter turn", lambda x: turned(x, fibre), turned)


class LieLiftConv(_LieConv):
    """A convolution that lifts images to functions on a matrix group: one copy of the kernel for each element of a sample.

    Formula: `y(x, g, o) = |det g|⁻¹ Σ over taps t and i of k[o, i](g⁻¹t)·w(g⁻¹t)·f(x + t, i) + bias[o]`, t in [−reach, reach]ⁿ,
    k a network, w the support: a disc, or `sigmoid(2(1 − ‖t‖))`.

    Shapes: input (batch, in_fields, *n), returns (batch, out_fields·|sample|, *m), fields outermost, so that
    `unflatten(1, (out_fields, -1))` is a view; bias (out_fields).

    Args:
        ndim: number of spatial axes, 1 to 3.   in_fields, out_fields: at least 1, multiples of groups.
        kernel_size: taps, on the grid from −reach to reach along each axis whatever their number.
        group: "GL+", "SL" or "SO" (the latter from two axes), a group, or `GroupSamples` that layers share; only shared samples are
            drawn anew in training, by this layer in each call.
        num_samples: elements, where samples are not shared. Default None: 10.
        kernel_net: "siren" (default), "wire", or a module from coordinates (1, axes, *n) to (1, out·in / groups, *n).
        seed: of the elements, where they are not shared. Default None: 0.
        hidden, layers, omega: of the network, see `CoordinateNet`.   spread: see `GroupSamples`. Default 0.1.
        support: "disc", "soft", "none"; "auto" (default) is a disc where the group preserves volumes, else soft.
        reach: half the width of the box of taps in the unit of the disc. Default 1, as published; the box then cuts what elements
            stretch beyond it, and more leaves them room.
        stride, padding, dilation, groups, bias, padding_mode, device, dtype, policy: as for `Conv`. Zeros around an image are a
            frame that does not turn with it: leave the padding 0 here.

    Raises:
        ArgumentError: settings that name no layer.

    Error: `f(h⁻¹x)` gives `y(h⁻¹x, h⁻¹g)` up to the sampling of image and kernel; values stand at the elements of the sample, so
    that what is made of all of them (a maximum, a sum) moves the less, the more there are. SO with a multiple of four samples is
    exact for quarter turns.
    Cost: that of a plain convolution with out_fields·|sample| outputs; the kernel |sample|·taps calls of the network.
    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024). There the rotations include both
    ends of the circle, and evaluation draws anew.

    Example:
        >>> LieLiftConv(2, 3, 8, 5, "SL")(torch.zeros(1, 3, 9, 9)).shape
        torch.Size([1, 80, 5, 5])
    """

    name = "lie-lift-conv"
    summary = "lift an image to a sampled matrix group: a kernel from a network, stretched and turned by every element"
    cost = "|sample| · in / groups · Π kernel_size"
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_fields=1, out_fields=1, kernel_size=9, group="SL")
    lifts = True

    def kernel(self) -> Tensor:
        places = self.seen_places()
        values = self.kernel_net(places.movedim(-1, 0)[None])[0].unflatten(0, (self.out_fields, -1))
        factors = self.window(places) * self.samples.read("shrink")[:, None]
        return (values * factors).transpose(1, 2).reshape(self.weight_shape)  # (o, i, g, t) -> (o, g, i, t)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"out_fields": 2, "num_samples": 3, "hidden": 4, "omega": 3.0}
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "kernel_size": 3, "group": "GL+", "padding": 1}, ((2, 2, 5, 4),)
        )
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "kernel_size": (4, 3), "group": "SL", "kernel_net": "wire", "groups": 2, "stride": 2,
             "support": "soft", "bias": False, "seed": 3}, ((1, 2, 7, 6),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_fields": 1, **few, "num_samples": 4, "kernel_size": 5, "group": "SO"}, ((1, 1, 6, 7),)
        )
        yield Example(
            {"ndim": 1, "in_fields": 1, **few, "kernel_size": 3, "group": "GL+", "dilation": 2, "padding": 2, "layers": 1,
             "support": "none", "padding_mode": "circular"}, ((2, 1, 6),),
        )  # fmt: skip
        yield Example(
            {"ndim": 3, "in_fields": 1, **few, "num_samples": 2, "kernel_size": 3, "group": "SL"}, ((1, 1, 3, 4, 3),)
        )  # fmt: skip


class LieGroupConv(_LieConv):
    """A convolution of functions on a matrix group that is sampled: a sum over places and elements.

    Formula: `y(x, g, o) = Σ over g̃ of s(g̃)|det g̃|⁻¹ Σ over t, i of k[o, i](g⁻¹t, ξ⁻¹(g⁻¹g̃))·w(g⁻¹t)·f(x + t, g̃, i) + bias[o]`:
    s are shares of the elements (1 / |sample|, or those of the invariant measure), ξ⁻¹ coordinates by polar decomposition, which
    every element has, k a network of n + dim G coordinates. Run as one plain convolution.

    Shapes: input (batch, in_fields·|sample|, *n), returns (batch, out_fields·|sample|, *m); bias (out_fields).

    Args: see `LieLiftConv`; padding keeps the size of maps here without harm to what is in their middle.

    Raises:
        ArgumentError: settings that name no layer.

    Error: the sum estimates the integral over the group with an error of about 1/√|sample|; see `GroupSamples`.
    Cost: that of a plain convolution of in_fields·|sample| inputs and out_fields·|sample| outputs; the kernel |sample|²·taps
    calls of the network. `freeze` makes it once.
    Source: Mironenco and Forré, Lie group decompositions for equivariant neural networks (2024).

    Example:
        >>> LieGroupConv(2, 4, 8, 3, "SL", padding=1)(torch.zeros(1, 40, 9, 9)).shape
        torch.Size([1, 80, 9, 9])
    """

    name = "lie-group-conv"
    summary = "a convolution over places and sampled elements of GL⁺(n), SL(n) or SO(n), kernels from a network"
    cost = "|sample|² · in / groups · Π kernel_size for each field"
    portrait = shown(
        "kernels", (1, 4, 32, 32), ndim=2, in_fields=1, out_fields=1, kernel_size=9, group="SL", num_samples=4
    )

    def kernel(self) -> Tensor:
        places, relative = self.seen_places(), self.samples.read("relative")
        count, taps = places.shape[:2]
        pairs = torch.cat(
            [
                places[:, None].expand(-1, count, -1, -1),  # (g, g̃, t, n)
                relative[:, :, None].expand(-1, -1, taps, -1),
            ],
            -1,
        )
        values = self.kernel_net(pairs.movedim(-1, 0)[None])[0].unflatten(0, (self.out_fields, -1))
        shares = self.samples.read("shares") * self.samples.read("shrink")
        values = values * (self.window(places)[:, None] * shares[:, None])
        return values.transpose(1, 2).reshape(self.weight_shape)  # (o, i, g, g̃, t) -> (o, g, i, g̃, t)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"out_fields": 2, "num_samples": 2, "hidden": 4, "omega": 3.0}
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "kernel_size": 3, "group": "GL+", "padding": 1}, ((2, 4, 5, 4),)
        )
        yield Example(
            {"ndim": 2, "in_fields": 2, **few, "kernel_size": 2, "group": "SL", "kernel_net": "wire", "groups": 2, "stride": 2,
             "bias": False, "seed": 3}, ((1, 4, 5, 6),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_fields": 1, **few, "num_samples": 4, "kernel_size": 3, "group": "SO", "padding": 1, "support": "none"},
            ((1, 4, 4, 5),),
        )  # fmt: skip
        yield Example({"ndim": 1, "in_fields": 1, **few, "kernel_size": 3, "group": "GL+", "padding": 1}, ((2, 2, 6),))
        yield Example(
            {"ndim": 3, "in_fields": 1, **few, "kernel_size": 1, "group": "SO", "layers": 1}, ((1, 2, 2, 3, 2),)
        )
