"""Convolution of fields on a grid with a finite group: a kernel turned for every element, and one plain convolution."""

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
from faltung.nn.symmetry.acting import acts
from faltung.nn.symmetry.expanded import by_orbits, by_sampling, by_waves, orbits
from faltung.nn.symmetry.group_fourier import GroupProduct
from faltung.nn.symmetry.groups import Fibre, GridGroup, grid_group, sharing
from faltung.nn.symmetry.harmonics import rings, sampled
from faltung.nn.symmetry.spread import places, spread
from faltung.planner import Policy


class GroupConv(ConvLayer):
    """A convolution that commutes with a finite group of turns and mirrors of the grid, lifting and pooling kinds included.

    Formula: with fields of values on the group, `y(g, o) = Σ over i, h of corr(x(h, i), T_g ψ[o, i, g⁻¹h])`, T_g turning the taps.
    A plain image is lifted by `in_type="trivial"`: `y(g, o) = Σ_i corr(x(i), T_g ψ[o, i])`. In general the kernel has
    `W[g·a, g·b](g·t) = W[a, b](t)` for cosets a and b of the two types, and a free number for each orbit of (a, b, t).

    Shapes: input (batch, in_fields·|F|, *n), returns (batch, out_fields·|F'|, *m): fields outermost, a fibre's values next to each
    other, so that `unflatten(1, (fields, |F|))` is a view; weight (out, in / groups, numbers), for results of type regular a view
    of ψ (out, in / groups, |F|, *kernel_size); bias (out), one for a whole fibre. `in_channels` and `out_channels` of the layer
    count values, as those of the plain convolution that it is.

    Args:
        ndim: number of spatial axes, 1 to 3.   in_fields, out_fields: at least 1, multiples of groups.
        kernel_size: taps; axes that the group exchanges have one size. Odd for hexagonal groups.
        group: see `faltung.nn.symmetry.grid_group`: "p4", "p4m", "d1", "o", ... Where N does not divide 4, cN and dN turn filters
            between taps by linear interpolation within a disc: exact for quarter turns only, see `interpolation_error`.
        in_type, out_type: "regular" (one value for each element), "trivial" (one that stays), or a subgroup H for a value for each
            coset of H: its name ("c2", "d1") or numbers of elements that generate it. Interpolated groups make "regular" only.
        filters: "taps" (default: a number for each tap), or "harmonics" in 2-D: a number for each circular harmonic that its rings
            carry, so that any angle is exact but for sampling; such a filter is smooth and has fewer numbers.
        stride: the lattice of results is symmetric where (n + 2·padding − reach) is a multiple; other inputs are refused.
        padding, dilation, groups, bias, padding_mode, device, dtype, policy: as for `Conv`; paddings that differ at the two
            ends of an axis are refused.
        method: "plain" (default: one plain convolution), or, for kernels of one tap between regular fields, "blocks": along the
            group by its irreducible representations, which wins for many fields while the values of a call fit the cache.

    Raises:
        ArgumentError: settings that name no layer, or break the symmetry that it promises.

    Error: equivariance is exact up to the rounding of the convolution, for elements that map the grid to itself.
    Cost: |F| · |F'| times a plain convolution of as many fields; the kernel costs as many copies. `freeze` makes it once.
    By blocks 12 products of 64 are left for p4m, and 6 of 16 for p4.
    Source: Cohen and Welling, Group equivariant convolutional networks (2016); Weiler and Cesa, General E(2)-equivariant steerable
    CNNs (2019) for types of fields.

    Example:
        >>> lift = GroupConv(2, 3, 8, 5, "p4m", "trivial", padding=2)
        >>> lift(torch.zeros(1, 3, 9, 9)).shape  # eight fields of eight values
        torch.Size([1, 64, 9, 9])
    """

    name = "group-conv"
    summary = (
        "a convolution that commutes with turns and mirrors: lifting, regular and quotient fields on any grid group"
    )
    cost = "in / groups · |F| · Π kernel_size"
    source = "Cohen and Welling, Group equivariant convolutional networks (2016)"
    dims = (1, 2, 3)
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_fields=1, out_fields=1, kernel_size=7, group="p4m",
                     in_type="trivial", padding=3)  # fmt: skip

    acting: GridGroup
    into: Fibre
    source_fibre: Fibre
    table: Tensor
    back: Tensor
    turning: Tensor | None

    def __init__(
        self,
        ndim: int,
        in_fields: int,
        out_fields: int,
        kernel_size: Any,
        group: str = "p4",
        in_type: Any = "regular",
        out_type: Any = "regular",
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
        filters: str = "taps",
        method: str = "plain",
    ) -> None:
        super().__init__()
        self.filters = filters
        self.settle(ndim, in_fields, out_fields, kernel_size, stride, padding, dilation, groups, padding_mode, policy)
        self.in_fields, self.out_fields = self.in_channels, self.out_channels
        self.acting = grid_group(group, self.ndim)
        self.group, self.in_type, self.out_type = group, in_type, out_type
        self.source_fibre, self.into = self.acting.fibre(in_type), self.acting.fibre(out_type)
        self.in_channels, self.out_channels = self.in_fields * self.source_fibre.size, self.out_fields * self.into.size
        self._check_symmetric()
        numbers = self._share(device, dtype)
        self.weight = nn.Parameter(
            torch.empty(self.out_fields, self.in_fields // self.groups, numbers, device=device, dtype=dtype)
        )
        fan = self.in_channels // self.groups * math.prod(self.kernel_size)
        nn.init.uniform_(self.weight, -1 / math.sqrt(fan), 1 / math.sqrt(fan))
        made = uniform_bias(self.out_fields, fan, {"device": device, "dtype": dtype}) if bias else None
        self.register_parameter("bias", made)
        if method not in ("plain", "blocks") or (method == "blocks" and not self._one_tap()):
            raise ArgumentError.of(
                type(self).__name__, "method 'plain', or 'blocks' for one tap, stride 1, no padding, one group, regular fields",
                repr(method), "use 'plain'",
            )  # fmt: skip
        self.along = GroupProduct(self.acting.group, device, dtype) if method == "blocks" else None

    def _one_tap(self) -> bool:
        """Whether the layer is a convolution along the group at every place."""
        plain = {*self.kernel_size, *self.stride} == {1} and not any(lo or hi for lo, hi in self.pads)
        return plain and self.source_fibre.size == self.into.size == self.acting.order and self.groups == 1

    def _share(self, device: Any, dtype: Any) -> int:
        """Register which entries of the kernel are one number, and how taps turn; return how many numbers there are."""
        turning = None
        inverse = self.source_fibre.moved[self.acting.group.inverses]  # (g, b): the coset g⁻¹b
        if self.filters == "taps" and self.acting.exact:
            table = torch.from_numpy(
                sharing(self.acting, self.kernel_size, self.into.subgroup, self.source_fibre.subgroup)
            )
            numbers = int(table.max()) + 1
        else:
            turns = self.acting.turns(self.kernel_size)
            if self.filters == "harmonics":
                turns = np.stack([sampled(self.kernel_size[0], m) for m in self.acting.matrices])
            many = turns.shape[2]
            table = torch.from_numpy(inverse[:, :, None] * many + np.arange(many))
            numbers = self.source_fibre.size * many
            turning = torch.from_numpy(turns).to(device=device, dtype=dtype or torch.get_default_dtype())
        self.register_buffer("table", table.to(device=device), persistent=False)
        self.register_buffer("back", places(table, numbers).to(device=device), persistent=False)
        self.register_buffer("turning", turning, persistent=False)
        return numbers

    def _check_symmetric(self) -> None:
        """Refuse settings with which the plain convolution would not have the group's symmetry."""
        who, settings = (
            type(self).__name__,
            list(zip(self.kernel_size, self.stride, self.pads, self.dilation, strict=True)),
        )
        for a in range(self.ndim):
            for b in range(self.ndim):
                if self.acting.exchanges(a, b) and settings[a] != settings[b]:
                    raise ArgumentError.of(
                        who, f"axes {a} and {b} alike, for {self.group} exchanges them", f"{settings[a]} and {settings[b]}",
                        "give them one kernel size, stride, padding and dilation",
                    )  # fmt: skip
            if self.acting.moving[a] and len(set(self.pads[a])) > 1:
                raise ArgumentError.of(
                    who, "as much padding before as behind", f"{self.pads[a]} on axis {a}", "use an odd kernel_size"
                )
        if self.acting.hexagonal and (any(k % 2 == 0 for k in self.kernel_size) or max(self.stride) > 1):
            raise ArgumentError.of(
                who, "odd kernel_size and stride 1 on hexagonal axes", f"{self.kernel_size} and {self.stride}",
                "pool by other means",
            )  # fmt: skip
        if self.filters not in ("taps", "harmonics") or (
            self.filters == "harmonics" and (self.ndim != 2 or self.acting.hexagonal or len(set(self.kernel_size)) > 1)
        ):
            raise ArgumentError.of(
                who, "filters 'taps', or 'harmonics' for square kernels of images", repr(self.filters), "use 'taps'"
            )
        if (not self.acting.exact or self.filters == "harmonics") and self.out_type != "regular":
            raise ArgumentError.of(
                who, "out_type='regular' where filters are turned between taps", repr(self.out_type),
                "make regular fields and pool them with GroupPool",
            )  # fmt: skip

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def kernel(self) -> Tensor:
        found = spread(self.weight, self.table, self.back)
        if self.turning is not None:
            found = torch.einsum("gut,oigbt->oigbu", self.turning, found)
        return found.transpose(1, 2).reshape(self.weight_shape)

    def definition_kernel(self) -> Tensor:
        """Orbit by orbit, with cosets as sets and offsets as vectors; for interpolated turns by torch's sampling of images."""
        if self.filters == "harmonics":
            return by_waves(self)
        return by_orbits(self) if self.acting.exact else by_sampling(self)

    def effective_bias(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(self.into.size)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim, batch=False)
        self._check_lattice(input)
        if self.along is not None:
            return self._by_blocks(input)
        return functional.conv(
            input, self.kernel(), self.effective_bias(), self.stride, self.padding, self.dilation, self.groups, self.padding_mode,
            self.policy,
        )  # fmt: skip

    def _by_blocks(self, input: Tensor) -> Tensor:
        """The same for kernels of one tap, by irreducible representations."""
        assert self.along is not None
        x = input.reshape(-1, self.in_fields, self.acting.order, math.prod(input.shape[-self.ndim :]))
        y = self.along(x, self.weight).reshape(
            *input.shape[: -self.ndim - 1], self.out_channels, *input.shape[-self.ndim :]
        )
        bias = self.effective_bias()
        return y if bias is None else y + bias.reshape(-1, *[1] * self.ndim)

    def _check_lattice(self, input: Tensor) -> None:
        """Refuse sizes at which a stride takes more samples from one end of the signal than from the other."""
        if max(self.stride) == 1 or self.acting.order == 1:
            return
        for a, n in enumerate(input.shape[-self.ndim :]):
            lo, hi = self.pads[a]
            rest = n + lo + hi - self.dilation[a] * (self.kernel_size[a] - 1) - 1
            if self.acting.moving[a] and rest % self.stride[a]:
                raise ArgumentError.of(
                    type(self).__name__, f"size + padding − reach a multiple of the stride {self.stride[a]}",
                    f"{rest} on axis {a} of size {n}", "pad or crop, so that turned results agree",
                )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        bias = None if self.bias is None else self.bias[:, None].expand(-1, self.into.size).flatten()
        return conv_by_taps(
            inputs[0], self.definition_kernel(), bias, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )  # fmt: skip

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The nearest kernel of this kind in the Frobenius norm: the mean over each orbit (the Reynolds projection).

        Interpolated turns are no orthogonal set, so there it is found by least squares.

        Raises:
            ArgumentError: a kernel of another shape.
        """
        given = grouped(kernel, self).reshape(
            self.out_fields, self.into.size, -1, self.source_fibre.size, math.prod(self.kernel_size)
        )
        flat = given.transpose(1, 2).flatten(2)
        if self.turning is None:
            shared = nn.functional.pad(flat, (0, 1))[..., self.back].sum(-1)
            self.weight.copy_(shared / (self.back < self.table.numel()).sum(-1))
        else:
            units = torch.eye(self.weight.shape[-1], dtype=torch.float64, device=flat.device)
            columns = torch.einsum("gut,ngbt->ngbu", self.turning.double(), units[:, self.table]).flatten(1)
            self.weight.copy_((flat.double() @ torch.linalg.pinv(columns)).to(self.weight))
        mean = None if bias is None else bias.reshape(self.out_fields, -1).mean(1)
        self.take_bias(mean)
        return self

    def interpolation_error(self) -> float:
        """The largest ‖T_g T_h − T_gh‖₂ of two turns of a filter: 0 for exact groups, and for harmonics."""
        if self.turning is None or self.filters == "harmonics":
            return 0.0
        turns, table = self.turning.double(), self.acting.group.table
        disc = turns[0]
        each = range(self.acting.order)
        gaps = [turns[g] @ turns[h] - turns[table[g, h]] @ disc for g in each for h in each]
        return max(float(torch.linalg.matrix_norm(gap, 2)) for gap in gaps)

    def parameter_count(self) -> int:
        numbers = self.source_fibre.size * math.prod(self.kernel_size)
        if self.filters == "harmonics":
            numbers = self.source_fibre.size * sum(2 * ring.frequency + 1 for ring in rings(self.kernel_size[0]))
        elif self.acting.exact:
            numbers = sum(1 for _ in orbits(self))
        return self.out_fields * (self.in_fields // self.groups) * numbers + (
            0 if self.bias is None else self.out_fields
        )

    def symmetries(self) -> Iterable[Symmetry]:
        yield from super().symmetries()
        if not self.acting.hexagonal or self.padding_mode == "circular":
            yield from acts(self.acting, self.source_fibre, self.into)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        if not self.acting.hexagonal or self.padding_mode == "circular":
            yield from acts(self.acting, self.source_fibre, self.into, random)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"out_fields": 2, "kernel_size": 3}
        one = {"ndim": 2, "in_fields": 1, "out_fields": 1}
        yield Example(
            {"ndim": 2, "in_fields": 2, **common, "group": "p4m", "in_type": "trivial", "padding": 1}, ((2, 2, 5, 4),)
        )
        yield Example(
            {"ndim": 2, "in_fields": 2, **common, "groups": 2, "stride": 2, "dilation": 2, "padding": 1},
            ((1, 8, 7, 7),),
        )
        yield Example(
            {**one, "out_fields": 2, "kernel_size": 2, "group": "d2", "in_type": "d1", "out_type": "c2", "bias": False},
            ((2, 2, 4, 3),),
        )  # fmt: skip
        yield Example(
            {**one, "kernel_size": 3, "group": "p6m", "padding": 1, "padding_mode": "circular"},
            ((1, 12, 4, 4),),
        )  # fmt: skip
        yield Example(
            {"ndim": 2, "in_fields": 1, "out_fields": 1, "kernel_size": 5, "group": "c8", "padding": 2}, ((1, 8, 4, 5),)
        )
        yield Example(
            {**one, "kernel_size": 4, "group": "d3", "in_type": "c3", "filters": "harmonics"}, ((1, 2, 5, 4),)
        )
        yield Example(
            {"ndim": 1, "in_fields": 2, **common, "group": "d1", "out_type": "trivial", "padding": 2}, ((2, 4, 6),)
        )
        yield Example(
            {"ndim": 2, "in_fields": 2, "out_fields": 1, "kernel_size": 1, "group": "p4m", "method": "blocks"},
            ((2, 16, 1, 2),),
        )
        yield Example({"ndim": 3, "in_fields": 1, **common, "group": "o", "in_type": "trivial"}, ((1, 1, 3, 4, 3),))
