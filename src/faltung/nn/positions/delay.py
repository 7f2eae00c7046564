"""Learnable delays: a fully connected layer in time in which every connection has a weight and a delay."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from faltung import methods
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, shown
from faltung.nn.functional.definition import conv_by_taps
from faltung.nn.functional.delayed import sum_delayed
from faltung.nn.functional.placed import FLOORS, INTERPOLATIONS, placed
from faltung.planner import Policy

# Methods that let roundoff of one sample into the results of others would let a later one change an earlier result.
LOCAL = Policy(calls=10_000, without=tuple(m.name for m in methods.ALL if m.spreads))
LAST_WIDTH = 0.23

Ring = tuple[Tensor, int]


class Delay1d(Layer):
    """A fully connected layer from signals to signals, in which inputs arrive after delays that are learnt.

    Formula: `y[b, o, t] = Σ_i weight[o, i] · Σ_d φ(d; delay[o, i]) · x[b, i, t − d]` for delays d from 0 to L − 1, zero beyond the
    ends of x; L is max_delay made odd. φ spreads a delay over neighbouring steps, see `faltung.nn.functional.placed`; its width is
    not learnt but annealed. After `discretize()` delays are whole and φ is a single step.

    Shapes: input (batch, in, T), returns (batch, out, T + ⌊(L − 1) / 2⌋), or (batch, out, T) without `extend`. weight (out, in);
    positions (out, in), (in) or (out), from −⌊L / 2⌋ to ⌊L / 2⌋: the delay is ⌊L / 2⌋ − position. width: one number.

    Args:
        in_features, out_features: at least 1.
        max_delay: steps, at least 1; made odd by adding 1. The largest delay is L − 1.
        per: whether each synapse (pair of features), each axon (input) or each dendrite (output) has a delay. Default synapse.
        interpolation: bilinear, bilinear_norm, triangle or gauss. Default gauss.
        causal: whether a result depends on no later input, which then holds bit for bit. Otherwise delays are from −⌊L / 2⌋ to
            ⌊L / 2⌋, those below 0 read ahead. Default True.
        extend: whether the result goes on for ⌊(L − 1) / 2⌋ steps after the input ends, as delayed signals do. Default True.
        device, dtype: of the parameters. Default: torch's.
        policy: see `faltung.nn.functional.conv`. Default: methods that keep causality bit for bit.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: a convolution of L taps while delays are learnt, in · out · L for each step (per axon or dendrite: in · L or out · L more
    than in · out); in · out after `discretize()`, also with `step`, which takes one step at a time.

    Source: Hammouamri, Khalfaoui-Hassani and Masquelier, Learning delays in spiking neural networks using dilated convolutions with
    learnable spacings (2024); delays per axon and dendrite follow later findings that they serve as well.

    Example:
        >>> Delay1d(140, 256, 25)(torch.zeros(1, 140, 100)).shape
        torch.Size([1, 256, 112])
    """

    name = "delay"
    summary = "a fully connected layer in time with a learnt delay for every connection, input or output"
    source = (
        "Hammouamri, Khalfaoui-Hassani and Masquelier, Learning delays in spiking neural networks using dilated convolutions "
        "with learnable spacings (2024)"
    )
    cost = "in_features · max_delay, or in_features after discretize()"
    portrait = shown("rows", (1, 6, 60), in_features=6, out_features=6, max_delay=25)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        max_delay: int,
        *,
        per: str = "synapse",
        interpolation: str = "gauss",
        causal: bool = True,
        extend: bool = True,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = functional.numbers(
            "in_features, out_features", (in_features, out_features), 2, 1
        )
        (self.max_delay,) = functional.numbers("max_delay", max_delay, 1, 1)
        shapes = {
            "synapse": (self.out_features, self.in_features),
            "axon": (self.in_features,),
            "dendrite": (self.out_features,),
        }
        for word, given, known in (("per", per, shapes), ("interpolation", interpolation, INTERPOLATIONS)):
            if given not in known:
                raise ArgumentError.of(word, f"one of {', '.join(known)}", repr(given), "choose one of these")
        for word, flag in (("causal", causal), ("extend", extend)):
            if not isinstance(flag, bool):
                raise ArgumentError.of(word, "True or False", repr(flag), "leave it out for True")
        self.per, self.interpolation, self.causal, self.extend = per, interpolation, causal, extend
        self.policy = LOCAL if policy is None else policy
        self.taps = self.max_delay + 1 - self.max_delay % 2
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.out_features, self.in_features, **factory))
        self.positions = nn.Parameter(torch.empty(shapes[per], **factory))
        self.width: Tensor
        self.register_buffer("width", torch.zeros((), **factory))
        self.whole: Tensor
        self.register_buffer("whole", torch.zeros((), dtype=torch.bool, device=device))
        self.discrete = False
        """What the buffer `whole` says: branches on it are taken without a look at the device."""
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw weights (uniform, Kaiming for ReLU) and positions (uniform); the width is the widest, see `anneal`."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        self.positions.uniform_(-self.taps / 2, self.taps / 2)
        self.clamp_().anneal(0)

    @property
    def most(self) -> int:
        """The delay at position 0, ⌊L / 2⌋ for a causal layer."""
        return self.taps // 2 if self.causal else 0

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and behind the input."""
        more = (self.taps - 1) // 2 if self.extend else 0
        return (self.taps - 1, more) if self.causal else (self.taps // 2, self.taps // 2 + more)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE} | ({"causal"} if self.causal else set()))

    def delays(self) -> Tensor:
        """The delays in steps, (out, in), (in) or (out)."""
        return self.most - self.positions

    @torch.no_grad()
    def clamp_(self) -> Self:
        """Bring positions back into the window. Call it after every step of the optimizer."""
        self.positions.clamp_(-(self.taps // 2), self.taps // 2)
        return self

    @torch.no_grad()
    def anneal(self, epoch: float, epochs: float = 150) -> Self:
        """Set the width for an epoch: from ⌊L / 2⌋ taps geometrically to 0.23 within the first quarter of the epochs, then 0.23.

        Wide profiles let far delays be found; at the end a profile is nearly a single step. Bilinear profiles have no width.

        Args:
            epoch: of training, at least 0.   epochs: how many there will be. Default 150, as in the paper.

        Raises:
            ArgumentError: numbers that are not these.
        """
        if not epoch >= 0 or not epochs > 0:
            raise ArgumentError.of(
                "anneal", "epoch of at least 0, epochs above 0", f"{epoch}, {epochs}", "count from 0"
            )
        first = max(self.taps // 2, LAST_WIDTH)
        self.width.fill_(first * (LAST_WIDTH / first) ** min(1.0, epoch / (epochs / 4)))
        return self

    @torch.no_grad()
    def discretize(self) -> Self:
        """Round delays to whole steps and evaluate by shifts and sums from now on. For use, not for training: copy the layer first.

        Anneal before: while the profiles are wide, rounded delays are another layer.
        """
        self.positions.round_()
        self.clamp_()
        self.whole.fill_(True)
        self.discrete = True
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if not self.whole.is_meta:
            self.discrete = bool(self.whole)

    def kernel(self) -> Tensor:
        """The kernel (out, in, L) of the convolution of the padded input that this layer is; tap 0 is the longest delay."""
        if self.discrete:
            taps = torch.arange(self.taps, device=self.weight.device)
            return self.weight[..., None] * (self._starts()[..., None] == taps)
        if self.per == "synapse":
            return self._placed(self.weight, self.positions)
        profile = self._placed(torch.ones_like(self.positions), self.positions)
        return self.weight[..., None] * (profile[None] if self.per == "axon" else profile[:, None])

    def _placed(self, weight: Tensor, positions: Tensor) -> Tensor:
        width = self.width if self.interpolation in ("gauss", "triangle") else None
        return placed(weight[..., None], positions[None, ..., None], width, self.taps, self.interpolation)

    def _starts(self) -> Tensor:
        """The tap (out, in) that each whole delay is."""
        at = self.positions.detach().round().long() + self.taps // 2
        return (at[:, None] if self.per == "dendrite" else at).expand(self.out_features, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_features, 1)
        if self.discrete:
            wide = torch.promote_types(input.dtype, torch.float32)
            start = self._starts() - self.pads[0]
            reach = [-self.pads[0], self.taps - 1 - self.pads[0]]
            length = input.shape[-1] + sum(self.pads) - self.taps + 1
            return sum_delayed(input.to(wide), self.weight.to(wide), start, length, reach).to(input.dtype)
        if self.per == "synapse":
            return functional.conv(pad(input, self.pads), self.kernel(), policy=self.policy)
        # One kernel for all outputs (or inputs) of a feature: delay and mix are two small steps.
        profile = self._placed(torch.ones_like(self.positions), self.positions)[:, None]
        mix = self.weight[..., None]
        if self.per == "axon":
            late = functional.conv(pad(input, self.pads), profile, groups=self.in_features, policy=self.policy)
            return functional.conv(late, mix, policy=self.policy)
        mixed = functional.conv(input, mix, policy=self.policy)
        return functional.conv(pad(mixed, self.pads), profile, groups=self.out_features, policy=self.policy)

    @torch.no_grad()
    def step(self, input: Tensor, past: Ring | None = None) -> tuple[Tensor, Ring]:
        """One step in time after `discretize()`: the same results as of the whole signal, but for the order of their sums.

        Shapes: input (batch, in); returns the result (batch, out), and what to pass as `past` at the next step: the last L inputs,
        a ring that is written to.

        Raises:
            ArgumentError: delays are not whole yet, or the layer reads ahead.

        Cost: in · out, however long the delays.
        """
        if not self.discrete or not self.causal:
            raise ArgumentError.of(
                "Delay1d.step",
                "a causal layer after discretize()",
                "one that is not",
                "call the layer with the whole signal",
            )
        self.expect(input, self.in_features, 0)
        ring, now = (input.new_zeros(self.taps, *input.shape), 0) if past is None else past
        ring[now] = input
        late = (now - (self.taps - 1 - self._starts())) % self.taps
        heard = ring.permute(2, 1, 0).gather(2, late.T[:, None].expand(-1, len(input), -1))  # (in, batch, out)
        return torch.einsum("oi,ino->no", self.weight.to(input.dtype), heard), (ring, (now + 1) % self.taps)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        more = (self.taps - 1) // 2 if self.extend else 0
        return (inputs[0][0], self.out_features, inputs[0][2] + more)

    def definition(self, *inputs: Any) -> Tensor:
        at = torch.arange(self.taps, device=self.positions.device) - self.taps // 2 - self.positions[..., None]
        wide = FLOORS[self.interpolation]
        wide = self.width.abs() + wide if self.interpolation in ("gauss", "triangle") else wide
        f = torch.softmax(-0.5 * (at / wide) ** 2, -1) if self.interpolation == "gauss" else (wide - at.abs()).relu()
        f = f if self.interpolation in ("gauss", "bilinear") else f / f.sum(-1, keepdim=True)
        f = (at == 0).to(f.dtype) if self.discrete else f
        f = f[:, None] if self.per == "dendrite" else f
        return conv_by_taps(inputs[0], self.weight[..., None] * f, None, (1,), (self.pads,), (1,))

    def parameter_count(self) -> int:
        return self.weight.numel() + self.positions.numel()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_features": 2, "out_features": 3}
        yield Example({**common, "max_delay": 5}, ((2, 2, 6),))
        yield Example({**common, "max_delay": 4, "per": "axon", "interpolation": "bilinear"}, ((2, 2, 6),))
        yield Example(
            {**common, "max_delay": 5, "per": "dendrite", "interpolation": "triangle", "extend": False}, ((2, 2, 7),)
        )
        yield Example({**common, "max_delay": 7, "interpolation": "bilinear_norm", "causal": False}, ((2, 2, 5),))
        yield Example({**common, "max_delay": 1, "causal": False, "extend": False}, ((2, 2, 4),))
