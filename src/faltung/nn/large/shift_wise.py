"""The layer `ShiftWiseConv`: a large cross of small depthwise blocks that its arms and its centre share."""

import math
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung import torch_gate
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.exchange import double, grouped
from faltung.nn.functional.definition import conv_by_taps, padded
from faltung.nn.large.nearest_cross import nearest_cross
from faltung.planner import Policy

TURNS = 4  # of a closed form for the small kernels and one for the norms' factors


class ShiftWiseConv(ConvLayer):
    """A cross-shaped large kernel for each channel, put together from shifted small kernels that both arms and the centre share.

    Formula: `C' = 2·⌊channels·(1 − ghost)/2⌋` channels, drawn once, are processed; the others pass. A processed channel has
    `m = ⌈big/small⌉` small kernels w_j (the sum of `paths` copies) with results `u_j = w_j ∗ x`. For every axis a and repetition r
    a permutation π is drawn, for every r an index ι:

        h_a[p] = Σ over r, i of u_{π(a, r, i)}[p + (small·i − ⌊big/2⌋ + ⌊small/2⌋)·e_a]      e_a: the unit vector of axis a
        c[p]   = Σ over r of u_{ι(r)}[p]
        y      = x + Σ over a of norm_a(h_a) + norm_c(c)

    Block i of an arm thus covers the offsets `small·i − ⌊big/2⌋ … + small − 1` along its axis, and is centred (from −⌊small/2⌋ on)
    across it. The arms are sums of shifted convolutions, hence convolutions with band kernels `small^(n−1) × small·m`, and so they
    are computed: shifting the m intermediate signals instead moves m times the memory.

    Shapes: input (batch, channels, *n), returns the same; channels keep their order. weight (paths, C', m, *small).

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 2.
        big: reach of the cross in samples, at least small. Default 51.   small: taps of a block along each axis. Default 3.
        paths: copies of the small kernels that are learnt in parallel and summed. Default 2.
        reps: how many permutations are summed. Default 4.
        ghost: share of the channels that pass, from 0 to below 1. Default 0.23.
        norm: whether each arm and the centre have a batch norm of their own; without, they are summed as they are. Default True.
        seed: of the permutations and of the channels that are processed; torch's own generators are left alone. Default 0.
        padding_mode, policy: see `faltung.nn.functional.conv`.   device, dtype: of the parameters. Default: torch's.

    Returns: a tensor like the input.

    Raises:
        ArgumentError: sizes that name no layer.

    Cost: in evaluation the centre, the norms and the residual are folded into one arm: n convolutions with band kernels. In
    training they are n + 1 convolutions and norms.

    Source: Li, Li, Chen, Li, ShiftwiseConv (2025). Unlike the reference the sums are deterministic, the index tables are in the
    state dict, the global generators are not seeded, and the channels keep their order.

    Example:
        >>> ShiftWiseConv(2, 8, big=13)(torch.zeros(1, 8, 20, 20)).shape
        torch.Size([1, 8, 20, 20])
    """

    name = "shift-wise-conv"
    summary = "a large cross of shifted small depthwise kernels shared by its arms and its centre"
    source = "Li, Li, Chen, Li, ShiftwiseConv: small convolutional kernel with large kernel effect (2025)"
    cost = "(1 − ghost) · (ndim · small^(ndim − 1) · big + small^ndim)"
    portrait = shown("kernels taken", (1, 4, 96, 96), ndim=2, channels=4, big=23, ghost=0.0)

    alive: Tensor
    processed: Tensor
    order: Tensor
    centre: Tensor

    def __init__(
        self,
        ndim: int,
        channels: int,
        big: int = 51,
        small: int = 3,
        paths: int = 2,
        reps: int = 4,
        ghost: float = 0.23,
        norm: bool = True,
        seed: int = 0,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        counts = {"big": big, "small": small, "paths": paths, "reps": reps}
        self.big, self.small, self.paths, self.reps = (functional.numbers(n, v, 1, 1)[0] for n, v in counts.items())
        if self.big < self.small:
            raise ArgumentError.of(who, f"big of at least small = {small}", str(big), "make big larger")
        if not 0 <= ghost < 1:
            raise ArgumentError.of(who, "ghost from 0 to below 1", repr(ghost), "use 0 to process all channels")
        self.blocks = -(-self.big // self.small)
        first, last = -(self.big // 2), self.small * self.blocks - 1 - self.big // 2
        self.support = first, last
        reach = max(-first, last)
        self.settle(
            ndim, channels, channels, 2 * reach + 1, 1, reach, 1, channels, padding_mode=padding_mode, policy=policy
        )
        size = 2 * math.floor(channels * (1 - ghost) / 2 + 1e-9)
        if size == 0:
            raise ArgumentError.of(
                who,
                "channels of which at least two are processed",
                f"{channels} with ghost {ghost}",
                "use more channels",
            )
        factory = {"device": device, "dtype": dtype}
        shape = (self.paths, size, self.blocks, *(self.small,) * self.ndim)
        self.weight = nn.Parameter(torch.empty(shape, **factory))
        self.bias = None
        self.norms = nn.ModuleList(nn.BatchNorm1d(size, **factory) for _ in range(self.ndim + 1 if norm else 0))
        self._draw(channels, seed, device)
        self.register_buffer("alive", torch.ones(size, self.blocks, dtype=torch.bool, device=device))
        self.reset_parameters()

    def _draw(self, channels: int, seed: int, device: Any) -> None:
        """The index tables: which channels, and for each of them which small kernel stands where."""
        chance = torch.Generator().manual_seed(seed)
        _, size, blocks = self.weight.shape[:3]
        processed = torch.randperm(channels, generator=chance)[:size].sort().values
        order = torch.rand(self.ndim, self.reps, size, blocks, generator=chance).argsort(-1)
        centre = torch.randint(blocks, (self.reps, size), generator=chance)
        for name, table in (("processed", processed), ("order", order), ("centre", centre)):
            self.register_buffer(name, table.to(device))

    def reset_parameters(self) -> None:
        """Draw the small kernels uniformly within 1/√taps, as torch draws depthwise kernels."""
        bound = self.small ** (-self.ndim / 2)
        nn.init.uniform_(self.weight, -bound, bound)

    # -- kernels -------------------------------------------------------------------------------------------------------

    def effective_kernels(self) -> tuple[Tensor, ...]:
        """The kernels of the arms, the last axis' first, and of the centre: for two dimensions horizontal, vertical, centre.

        Shapes: for two dimensions (C', small, small·m), (C', small·m, small), (C', small, small). Arms start at offset −⌊big/2⌋
        along their axis, all else at −⌊small/2⌋. The norms are not in them.
        """
        small = self.weight.sum(0) * self.alive.reshape(*self.alive.shape, *[1] * self.ndim).to(self.weight.dtype)
        arms = []
        for axis in reversed(range(self.ndim)):
            placed = self._chosen(self.order[axis], small)
            arms.append(placed.movedim(1, 1 + axis).flatten(1 + axis, 2 + axis))
        return (*arms, self._chosen(self.centre.unsqueeze(-1), small).squeeze(1))

    def _chosen(self, table: Tensor, small: Tensor) -> Tensor:
        """Σ over r of small[c, table[r, c, i]], as a product with the counts: no scattering in the derivative."""
        return torch.bmm(self._counts(table, small.dtype), small.flatten(2)).unflatten(2, small.shape[2:])

    def _counts(self, table: Tensor, dtype: torch.dtype) -> Tensor:
        """How often block i of channel c is the small kernel j, (C', blocks, m)."""
        return (table.unsqueeze(-1) == torch.arange(self.blocks, device=table.device)).to(dtype).sum(0)

    def _even(self, kernel: Tensor, axis: int | None) -> tuple[Tensor, tuple[int, ...]]:
        """The kernel with zeros that make its support symmetric, and its reach along every axis."""
        pads: list[int] = []
        reach = []
        for a in range(self.ndim):
            lo = self.big // 2 if a == axis else self.small // 2
            hi = kernel.shape[1 + a] - 1 - lo
            reach.append(max(lo, hi))
            pads = [reach[-1] - lo, reach[-1] - hi, *pads]
        return nn.functional.pad(kernel, pads), tuple(reach)

    def _arms(self) -> list[tuple[Tensor, tuple[int, ...]]]:
        """Arms and centre with their reaches."""
        axes = (*reversed(range(self.ndim)), None)
        return [self._even(kernel, axis) for kernel, axis in zip(self.effective_kernels(), axes, strict=True)]

    def _affine(self) -> tuple[list[Tensor], Tensor]:
        """What the norms do in evaluation: a factor (C') for each of them, and one constant (C') for all."""
        factors, constant = [], torch.zeros((), dtype=self.weight.dtype, device=self.weight.device)
        for norm in self.norms:
            factors.append(norm.weight / (norm.running_var + norm.eps).sqrt())
            constant = constant + norm.bias - factors[-1] * norm.running_mean
        return factors, constant

    def _folded(self) -> tuple[list[tuple[Tensor, tuple[int, ...]]], Tensor | None]:
        """Arms with norms, centre and residual inside, and the constant: all that evaluation needs."""
        arms, constant = self._arms(), None
        if self.norms:
            factors, constant = self._affine()
            column = (-1, *[1] * self.ndim)
            arms = [(kernel * f.reshape(column), reach) for (kernel, reach), f in zip(arms, factors, strict=True)]
        (first, outer), *others, (centre, inner) = arms
        first = first + _within(centre, inner, outer) + self._one(outer)
        return [(first, outer), *others], constant

    def _one(self, reach: tuple[int, ...]) -> Tensor:
        """The unit impulse (*2·reach + 1)."""
        one = torch.ones((1,) * self.ndim, dtype=self.weight.dtype, device=self.weight.device)
        return _within(one, (0,) * self.ndim, reach)

    def kernel(self) -> Tensor:
        arms, _ = self._folded()
        reach = tuple(t // 2 for t in self.kernel_size)
        whole = torch.stack([_within(kernel, inner, reach) for kernel, inner in arms]).sum(0)
        passing = self._one(reach).repeat(self.in_channels, *[1] * self.ndim)
        return passing.index_copy(0, self.processed, whole).unsqueeze(1)

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The small kernels whose cross is nearest, by least squares; the copies share evenly.

        Channels that are not processed pass, and the others have a shortcut: both stay what they are. The kernel is linear in the
        small kernels and in the norms' factors, but not in both. So with norms these are solved for in turn, `TURNS` times each.
        """
        wanted = grouped(double(kernel), self)[self.processed, 0]
        reach, half, n = self.kernel_size[0] // 2, self.small // 2, self.ndim
        wanted = wanted - self._one((reach,) * n).to(wanted)
        axes = tuple(reversed(range(n)))
        starts = [tuple(reach - (self.big // 2 if a == axis else half) for a in range(n)) for axis in axes]
        steps = [tuple(self.small * (a == axis) for a in range(n)) for axis in axes]
        tables = [self.order[axis] for axis in axes] + [self.centre.unsqueeze(-1)]
        counts = [self._counts(t, wanted.dtype) * self.alive.to(wanted)[:, None] for t in tables]
        starts, steps = [*starts, (reach - half,) * n], [*steps, (0,) * n]
        for turn in range(TURNS if self.norms else 1):
            factors = [f.to(wanted)[:, None, None] for f in self._affine()[0]] or [1.0] * len(counts)
            scaled = [c * f for c, f in zip(counts, factors, strict=True)]
            self.weight.copy_(nearest_cross(wanted, scaled, starts, steps, self.small) / self.paths)
            if turn + 1 < TURNS and self.norms:
                self._take_factors(wanted)
        if self.norms:
            constant = self._affine()[1]
            self.norms[0].bias.add_((torch.zeros_like(constant) if bias is None else bias[self.processed]) - constant)
        return self

    def _take_factors(self, wanted: Tensor) -> None:
        """The norms' factors for which the present arms and centre come nearest to (C', *window), by least squares."""
        window = tuple(t // 2 for t in self.kernel_size)
        arms = torch.stack([_within(kernel, inner, window).flatten(1) for kernel, inner in self._arms()], 2).to(wanted)
        best = torch.linalg.pinv(arms) @ wanted.flatten(1).unsqueeze(-1)
        for norm, factor in zip(self.norms, best[..., 0].unbind(1), strict=True):
            norm.weight.copy_(factor * (norm.running_var + norm.eps).sqrt())

    def definition_kernel(self) -> Tensor:
        """The result for a unit impulse, mirrored."""
        reach = [t // 2 for t in self.kernel_size]
        x = self.weight.new_zeros(1, self.in_channels, *(4 * r + 1 for r in reach))
        x[(..., *(2 * r for r in reach))] = 1
        y = self.definition(x) - self.definition(torch.zeros_like(x))
        seen = y[(0, slice(None), *(slice(r, 3 * r + 1) for r in reach))]
        return seen.flip(tuple(range(1, self.ndim + 1))).unsqueeze(1)

    def effective_bias(self) -> Tensor | None:
        _, constant = self._folded()
        if constant is None:
            return None
        return constant.new_zeros(self.in_channels).index_copy(0, self.processed, constant)

    # -- results -------------------------------------------------------------------------------------------------------

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        part = input.index_select(1, self.processed)
        if self.training and self.norms:
            result = part
            for (kernel, reach), norm in zip(self._arms(), self.norms, strict=True):
                result = result + norm(self._convolved(part, kernel, reach).flatten(2)).unflatten(2, part.shape[2:])
        else:
            arms, constant = self._folded()
            (first, reach), *others = arms
            result = self._convolved(part, first, reach, constant)
            for kernel, reach in others:
                more = self._convolved(part, kernel, reach)
                # Fresh memory for each sum would take as long as the convolution of a large image.
                result = result.add_(more) if torch_gate.plain(result, more) else result + more
        return input.index_copy(1, self.processed, result.to(input.dtype))

    def _convolved(self, x: Tensor, kernel: Tensor, reach: tuple[int, ...], bias: Tensor | None = None) -> Tensor:
        return functional.conv(
            x, kernel.unsqueeze(1), bias, padding=reach, groups=x.shape[1], padding_mode=self.padding_mode, policy=self.policy
        )  # fmt: skip

    def definition(self, *inputs: Any) -> Tensor:
        """The intermediate signals of all small kernels, shifted and summed one after the other."""
        x = inputs[0][:, self.processed]
        sizes, margin = x.shape[2:], self.big + self.small
        small = (
            (self.weight.sum(0) * self.alive.reshape(*self.alive.shape, *[1] * self.ndim)).flatten(0, 1).unsqueeze(1)
        )
        ones, none = (1,) * self.ndim, ((0, 0),) * self.ndim
        wide = padded(x, ((margin, margin),) * self.ndim, self.padding_mode)
        u = conv_by_taps(wide, small, None, ones, none, ones, x.shape[1]).unflatten(1, (-1, self.blocks))
        channels = torch.arange(x.shape[1])

        def shifted(table: Tensor, axis: int | None, by: int) -> Tensor:
            starts = [margin + (by if a == axis else -(self.small // 2)) for a in range(self.ndim)]
            seen = tuple(slice(start, start + n) for start, n in zip(starts, sizes, strict=True))
            return u[:, channels, table][(..., *seen)]

        branches = [
            sum(
                shifted(self.order[axis, r, :, i], axis, self.small * i - self.big // 2)
                for r in range(self.reps)
                for i in range(self.blocks)
            )
            for axis in reversed(range(self.ndim))
        ]
        branches.append(sum(shifted(self.centre[r], None, 0) for r in range(self.reps)))
        column = (-1, *[1] * self.ndim)
        for n, norm in enumerate(self.norms):
            centred = branches[n] - norm.running_mean.reshape(column)
            spread = (norm.running_var + norm.eps).sqrt().reshape(column)
            branches[n] = centred / spread * norm.weight.reshape(column) + norm.bias.reshape(column)
        y = inputs[0].clone()
        y[:, self.processed] = x + sum(branches)
        return y

    def parameter_count(self) -> int:
        size = len(self.processed)
        return size * (self.paths * self.blocks * self.small**self.ndim + 2 * len(self.norms))

    # -- changes -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def merge_paths(self) -> Self:
        """Sum the copies of the small kernels into one, in place: fewer parameters, the same result. Returns the layer."""
        self.weight = nn.Parameter(self.weight.sum(0, keepdim=True), requires_grad=self.weight.requires_grad)
        self.paths = self._arguments["paths"] = 1
        return self

    @torch.no_grad()
    def sparsify(self, sparsity: float = 0.3, scores: Tensor | None = None) -> Self:
        """Switch the blocks with the lowest scores off, whole blocks over all channels together, in place.

        Args:
            sparsity: share of all blocks that is off afterwards, from 0 to 1. Default 0.3.
            scores: (C', m), for instance |weight · derivative| summed over copies and taps (SNIP). Default: sums of |weight|.

        Raises:
            ArgumentError: a share beyond 0 … 1, or scores of another shape.
        """
        if not 0 <= sparsity <= 1:
            raise ArgumentError.of(
                "sparsify", "sparsity from 0 to 1", repr(sparsity), "give the share of blocks to drop"
            )
        if scores is None:
            scores = self._magnitudes()
        if scores.shape != self.alive.shape:
            raise ArgumentError.of(
                "sparsify", f"scores of shape {tuple(self.alive.shape)}", str(tuple(scores.shape)), "score each block"
            )
        count = round(sparsity * scores.numel())
        weakest = scores.flatten().argsort(stable=True)[:count]
        self.alive.fill_(True).view(-1)[weakest] = False
        return self

    @torch.no_grad()
    def explore(self, rate: float = 0.3, seed: int = 0) -> Self:
        """Switch the weakest blocks off and as many others on, chosen by chance and starting from zero, in place.

        Args:
            rate: share of the blocks that are on which changes, from 0 to 1; never more than are off. Default 0.3.
            seed: of the choice; a training loop passes another one each time.
        """
        on, off = self.alive.view(-1).nonzero().flatten(), (~self.alive).view(-1).nonzero().flatten()
        count = min(round(rate * len(on)), len(off))
        weakest = on[self._magnitudes().flatten()[on].argsort(stable=True)[:count]]
        chance = torch.randperm(len(off), generator=torch.Generator().manual_seed(seed))[:count]
        grown = off[chance.to(off.device)]
        self.weight.flatten(1, 2)[:, grown] = 0
        self.alive.view(-1)[weakest] = False
        self.alive.view(-1)[grown] = True
        return self

    def _magnitudes(self) -> Tensor:
        return self.weight.sum(0).abs().flatten(2).sum(2)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 4, "big": 7, "small": 2, "seed": 3}, ((2, 4, 6),))
        yield Example({"ndim": 2, "channels": 5, "big": 9, "reps": 2}, ((2, 5, 5, 4),))
        plain = {"channels": 2, "ghost": 0.0, "norm": False, "paths": 1, "reps": 1}
        yield Example({"ndim": 2, **plain, "big": 4, "small": 2, "padding_mode": "circular"}, ((1, 2, 4, 5),))
        yield Example({"ndim": 3, **plain, "big": 5}, ((1, 2, 2, 3, 3),))
        yield Example({"ndim": 4, **plain, "big": 2, "small": 2}, ((1, 2, 2, 2, 2, 2),))


def _within(kernel: Tensor, inner: tuple[int, ...], outer: tuple[int, ...]) -> Tensor:
    """A kernel of that reach with zeros around up to a larger reach."""
    pads = [more - r for r, more in zip(reversed(inner), reversed(outer), strict=True) for _ in range(2)]
    return nn.functional.pad(kernel, pads)
