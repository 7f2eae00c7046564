"""Hyena: long filters and products with the signal's own projections in turn, in place of attention."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from faltung import torch_gate
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.functional.convolution import MANY_CALLS
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.sequence.implicit import SOURCE, ImplicitFilter
from faltung.nn.sequence.sequence import LOCAL, FilterConstructor, SequenceConv, State, heads_of
from faltung.planner import Policy


class HyenaState(NamedTuple):
    """Where a stream stands: the last projections, (batch, (order + 1) · channels, short − 1), and the long filters' states."""

    near: Tensor
    far: tuple[State, ...]


class Hyena(Layer):
    """Long filters and gates in turn: what a sample does to the result depends on the signal, as in attention, in O(T log T).

    Formula: `(v, x_1, .., x_order)` are projections of the input over its channels, each channel then filtered with `short`
    taps; `z_0 = v`, `z_i = x_i ⊙ (h_i ∗ z_{i−1} + D_i z_{i−1})` with long filters h_i; `y` is a projection of the last z.

    Shapes: input (batch, channels, T), returns the same.

    Args:
        channels, length: at least 1; long filters have `length` taps.   order: gates, at least 1. Default 2.
        short: taps of the short filters, at least 1. Default 3.
        hidden, layers, bands, omega, reach, floor: of the filters, see `faltung.nn.ImplicitFilter`.
        constructor: what makes the long filters, from (channels, length): a class or function that gives a
            `faltung.nn.FilterConstructor`, with two heads for bidirectional. Default: `ImplicitFilter` with these settings.
        direction: causal; anticausal, where all filters look ahead; or bidirectional, where long ones look both ways and short ones
            stand in the middle, farther back where `short` is even. Default causal.
        device, dtype: of the parameters.   policy: see `faltung.nn.SequenceConv`.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: (order + 2) · channels products a sample for the projections, and order long convolutions. Filters that look one way are
        multiplied by their gate in the pass that convolves, see `faltung.nn.functional.gated_conv`. One sample at a time, by
    `step`, costs `length` products a filter, or what the step of a recurrent constructor costs.

    Source: Poli et al., Hyena hierarchy: towards larger convolutional language models (2023).

    Example:
        >>> Hyena(8, 1024)(torch.zeros(1, 8, 1024)).shape
        torch.Size([1, 8, 1024])
    """

    name = "hyena"
    summary = "long filters and gates in turn, in place of attention"
    source = SOURCE
    cost = "(order + 2) · channels, and order · log2 length, about ten times"
    portrait = shown("rows", (1, 4, 96), channels=4, length=96)

    def __init__(
        self,
        channels: int,
        length: int,
        order: int = 2,
        short: int = 3,
        hidden: int = 32,
        layers: int = 2,
        bands: int = 4,
        omega: float = 10.0,
        reach: tuple[float, float] = (0.3, 1.5),
        floor: float = 0.05,
        constructor: Any = None,
        direction: str = "causal",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.longest, self.order, self.short = functional.numbers(
            "channels, length, order, short", (channels, length, order, short), 4, 1
        )
        factory = {"device": device, "dtype": dtype}
        wide = (self.order + 1) * self.channels
        self.inward = nn.Parameter(torch.empty(wide, self.channels, 1, **factory))
        self.near = nn.Parameter(torch.empty(wide, 1, self.short, **factory))
        self.outward = nn.Parameter(torch.empty(self.channels, self.channels, 1, **factory))
        self.far = nn.ModuleList()
        for _ in range(self.order):
            if constructor is None:
                made: FilterConstructor = ImplicitFilter(
                    channels, length, heads_of(1, direction), hidden, layers, bands, omega, reach, floor, device, dtype
                )
            else:
                made = constructor(self.channels, self.longest)
            self.far.append(SequenceConv(made, direction, policy=policy))
            if self.far[-1].heads != 1 or self.far[-1].channels != self.channels:
                raise ArgumentError.of(
                    "Hyena", f"a constructor of {self.channels} filters", f"{made.channels} · {made.heads}", "give each channel one"
                )  # fmt: skip
        ahead = {"causal": 0, "anticausal": self.short - 1}.get(direction, (self.short - 1) // 2)
        self.direction, self.margins = direction, ((self.short - 1 - ahead, ahead),)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw projections and short filters that keep the variance."""
        nn.init.normal_(self.inward, std=math.sqrt(1 / self.channels))
        nn.init.normal_(self.outward, std=math.sqrt(1 / self.channels))
        nn.init.normal_(self.near, std=math.sqrt(1 / self.short))

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE} | {c for far in self.far for c in far.claims if c == "causal"})

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, 1)
        seen = functional.conv(input, self.inward)
        seen = functional.conv(seen, self.near, padding=self.margins, groups=len(self.near))
        z, *gates = seen.split(self.channels, 1)
        for gate, far in zip(gates, self.far, strict=True):
            z = _gated(far, z, gate)
        return functional.conv(z, self.outward)

    def definition(self, *inputs: Any) -> Tensor:
        """Sums over taps and channels; gates sample by sample."""
        seen = torch.einsum("oc,bct->bot", self.inward[..., 0], inputs[0])
        seen = conv_by_taps(seen, self.near, None, (1,), self.margins, (1,), len(self.near))
        parts = seen.unflatten(1, (self.order + 1, self.channels)).unbind(1)
        z = parts[0]
        for gate, far in zip(parts[1:], self.far, strict=True):
            z = gate * far.definition(z)
        return torch.einsum("oc,bct->bot", self.outward[..., 0], z)

    def initial_state(self, batch: int) -> HyenaState:
        """The state of a stream before its first sample. Filters are made here, once.

        Raises:
            ArgumentError: the layer looks ahead.
        """
        wide = len(self.near)
        near = self.near.new_zeros(batch, wide, self.short - 1)
        return HyenaState(near, tuple(far.initial_state(batch) for far in self.far))

    def step(self, input: Tensor, state: HyenaState) -> tuple[Tensor, HyenaState]:
        """One sample (batch, channels) in, its result (batch, channels) and the next state out."""
        self.expect(input, self.channels, 0)
        seen = torch.cat([state.near, (input @ self.inward[..., 0].T)[..., None]], -1)
        z, *gates = (seen * self.near[:, 0]).sum(-1).split(self.channels, 1)
        states = []
        for gate, far, before in zip(gates, self.far, state.far, strict=True):
            filtered, after = far.step(z, before)
            z = gate * filtered
            states.append(after)
        return z @ self.outward[..., 0].T, HyenaState(seen[..., 1:], tuple(states))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        c, wide = self.channels, (self.order + 1) * self.channels
        return wide * (c + self.short) + c * c + sum(far.parameter_count() for far in self.far)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        few = {"channels": 2, "length": 6, "hidden": 3, "bands": 1, "omega": 2.0}
        yield Example({**few, "order": 2, "short": 1, "layers": 1}, ((1, 2, 7),))
        yield Example({**few, "order": 1, "policy": LOCAL}, ((2, 2, 6),))
        yield Example({**few, "order": 1, "short": 4, "direction": "bidirectional"}, ((1, 2, 7),))
        yield Example({**few, "order": 1, "short": 1, "layers": 1, "direction": "anticausal"}, ((1, 2, 5),))


def _gated(far: SequenceConv, z: Tensor, gate: Tensor) -> Tensor:
    """`gate · far(z)`, in one pass where the filter looks one way: its multiple of the input is part of the tap that meets it.

    Graphs that are traced, and filters that somebody hooked on to, keep the two steps.
    """
    hooks = (far._forward_hooks, far._forward_pre_hooks, far._backward_hooks, far._backward_pre_hooks)
    if far.direction == "bidirectional" or any(hooks) or not torch_gate.unobserved():
        return gate * far(z)
    far.expect(z, far.channels, 1)
    policy = MANY_CALLS if far.policy is None else far.policy
    weight = far.weight(far.constructor.filters(far.taps(z.shape[-1])))[0][:, 0]
    if far.direction == "causal":
        return functional.gated_conv(z, weight.flip(-1), None, gate, policy=policy)
    return functional.gated_conv(z.flip(-1), weight, None, gate.flip(-1), policy=policy).flip(-1)
