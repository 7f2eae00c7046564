"""Long filters over time: what makes them, which way they look, and how they are run sample by sample.

The convention of the whole family, stated here once. Signals are (batch, channels, time). Every channel is filtered by itself, into
`heads` results each. A constructor gives filters k (channels, heads, length), tap 0 first, and

    causal          y[t] = Σ_{l ≥ 0} k[l] · x[t − l]                    tap l meets the sample l steps ago
    anticausal      y[t] = Σ_{l ≥ 0} k[l] · x[t + l]                    the same with time reversed
    bidirectional   y[t] = Σ_{l ≥ 0} k[l] · x[t − l] + Σ_{l ≥ 0} k'[l] · x[t + l]

with x zero beyond its ends, k the first half of the constructor's heads and k' the second. Result channel c · heads + m is head m
of channel c.
"""

import copy
import math
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from faltung import methods
from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Layer
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

DIRECTIONS = ("causal", "anticausal", "bidirectional")

# Methods that let roundoff of one sample into the results of others would let a later one change an earlier result.
LOCAL = Policy(calls=10_000, without=tuple(m.name for m in methods.ALL if m.spreads))


class State(NamedTuple):
    """Where a stream stands: what is remembered of the past, and what the steps need that does not change.

    Args:
        memory: of the past, of the constructor's making.   fixed: coefficients, computed once for a stream.
        rate: of the stream, see `FilterConstructor.filters`.

    To train on a stream piece by piece, start each piece afresh with what is remembered, so that no derivative reaches back beyond:
    `layer.initial_state(batch)._replace(memory=state.memory.detach())`.
    """

    memory: Tensor
    fixed: tuple[Tensor, ...]
    rate: float


class FilterConstructor(nn.Module):
    """Few parameters that make filters of any length: the base of all constructors.

    A subclass sets `channels` and `heads`, writes `filters` and, once more by its formula, `definition_filters`. One whose filters
    are no longer than `longest` taps can then be run step by step on the last samples. One that is a recurrence sets `recurrent`
    and writes `initial_memory`, `fixed`, `step`, `response` and `advance`.
    """

    recurrent: ClassVar[bool] = False
    learning_rates: ClassVar[dict[str, float]] = {}
    """Parameters that describe dynamics, each with its learning rate, see `faltung.nn.param_groups`."""
    source: ClassVar[str] = ""

    channels: int
    heads: int
    longest: int | None = None
    """Taps beyond this one are zero, at rate 1. None where filters go on."""

    def settle(self, channels: Any, heads: Any) -> None:
        """Check the sizes and keep them."""
        self.channels, self.heads = functional.numbers("channels, heads", (channels, heads), 2, 1)

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        """The first `length` taps of every filter, (channels, heads, length), differentiable.

        Args:
            length: taps, at least 1.
            rate: how many steps of the time that was trained on pass between two samples: 2 for a signal at half the sampling
                rate. Above 0, default 1.
        """
        raise ArgumentError.of(type(self).__name__, "filters()", "none", "make the filters from the parameters")

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        """The same by the formula, in plain torch, slow."""
        raise ArgumentError.of(type(self).__name__, "definition_filters()", "none", "write the formula down")

    def parameter_count(self) -> int:
        """How many numbers are learnt, by formula."""
        raise ArgumentError.of(type(self).__name__, "parameter_count()", "none", "give the formula")

    def reach(self, rate: float) -> int | None:
        """How many taps a filter has at that rate; None where it goes on."""
        return None if self.longest is None else max(1, math.ceil(self.longest / rate))

    def initial_memory(self, batch: int) -> Tensor:
        """The memory of a past of zeros, of a recurrence. Without one it is the last samples, as many as filters reach back."""
        raise ArgumentError.of(type(self).__name__, "initial_memory()", "none", "say what a recurrence remembers")

    def fixed(self, rate: float) -> tuple[Tensor, ...]:
        """What every step at that rate needs; here the filters."""
        return (self.filters(self._finite(rate), rate),)

    def step(self, input: Tensor, memory: Tensor, fixed: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """One sample (batch, channels) further: the results (batch, channels, heads) and the memory after it."""
        window = torch.cat([memory, input[..., None].to(memory.dtype)], -1)
        return torch.einsum("bck,cmk->bcm", window, fixed[0].flip(-1)), window[..., 1:]

    def response(self, memory: Tensor, length: int, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        """What the past adds to the next `length` results, (batch, channels, heads, length)."""
        weight = fixed[0].flip(-1).flatten(0, 1)[:, None]
        y = functional.conv(pad(memory, (0, length)), weight, groups=self.channels)
        return y.unflatten(1, (self.channels, self.heads))

    def advance(self, memory: Tensor, input: Tensor, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        """The memory after an input (batch, channels, n)."""
        past = torch.cat([memory, input.to(memory.dtype)], -1)
        return past[..., past.shape[-1] - memory.shape[-1] :]

    def _finite(self, rate: float) -> int:
        reach = self.reach(rate)
        if reach is None:
            raise ArgumentError.of(
                type(self).__name__, "filters that end, or a recurrence", "filters that go on",
                "give the constructor a largest length",
            )  # fmt: skip
        return reach


class SequenceConv(Layer):
    """A layer that filters every channel over all of its time, with filters that a constructor makes.

    Formula: see the top of this module, plus `skip[c · heads + m] · x[t]`.

    Shapes: input (batch, channels, T), returns (batch, channels · heads, T), heads those of the layer: half the constructor's
    for bidirectional.

    Args:
        constructor: a `FilterConstructor`.
        direction: causal, anticausal or bidirectional. Default causal.
        skip: whether each result has a learnt multiple of its input added. Default True.
        length: the most taps of a filter. Default: as many as the input has samples.
        policy: see `faltung.nn.functional.conv`. By default long filters are multiplied as spectra, where a later sample moves an
            earlier result within rounding; `policy=faltung.nn.sequence.LOCAL` keeps causality bit for bit, for T² products.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: O(T log T) for each result channel, and making the filters; one step costs what the constructor's step costs.

    Example:
        >>> from faltung.nn.sequence import MovingAverage
        >>> SequenceConv(MovingAverage(4, heads=2))(torch.zeros(1, 4, 100)).shape
        torch.Size([1, 8, 100])
    """

    name = "sequence-conv"
    summary = "every channel filtered over all of its time by filters that a constructor makes"

    skip: Tensor | None

    def __init__(
        self,
        constructor: FilterConstructor,
        direction: str = "causal",
        skip: bool = True,
        length: int | None = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(constructor, direction, skip, length, policy)

    def settle(
        self,
        constructor: FilterConstructor,
        direction: str = "causal",
        skip: bool = True,
        length: int | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Check the settings, keep them and make the skip; subclasses call it with a constructor of `heads_of(...)` heads."""
        who = type(self).__name__
        if not isinstance(constructor, FilterConstructor):
            raise ArgumentError.of(
                who, "a FilterConstructor", type(constructor).__name__, "pass one of faltung.nn.sequence"
            )
        if direction not in DIRECTIONS:
            raise ArgumentError.of(
                "direction", f"one of {', '.join(DIRECTIONS)}", repr(direction), "choose one of these"
            )
        if not isinstance(skip, bool):
            raise ArgumentError.of("skip", "True or False", repr(skip), "leave it out for True")
        both = direction == "bidirectional"
        if both and constructor.heads % 2:
            raise ArgumentError.of(
                who, "an even number of heads, half for each direction", f"{constructor.heads}", "double the constructor's heads"
            )  # fmt: skip
        self.constructor, self.direction, self.policy = constructor, direction, policy
        self.channels, self.heads = constructor.channels, constructor.heads // (2 if both else 1)
        self.length = None if length is None else functional.numbers("length", length, 1, 1)[0]
        one = next(constructor.parameters())
        drawn = torch.randn(self.channels * self.heads, dtype=one.dtype, device=one.device) if skip else None
        self.register_parameter("skip", None if drawn is None else nn.Parameter(drawn))

    @property
    def claims(self) -> frozenset[str]:
        exact = (
            self.direction == "causal" and self.policy is not None and set(LOCAL.without) <= set(self.policy.without)
        )
        return frozenset({LINEAR, PER_SAMPLE} | ({"causal"} if exact else set()))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        batch, channels, length = inputs[0]
        return (batch, channels * self.heads, length)

    def parameter_count(self) -> int:
        return self.constructor.parameter_count() + (0 if self.skip is None else self.channels * self.heads)

    def taps(self, samples: int, rate: float = 1.0) -> int:
        """How many taps the filters of an input of that many samples have."""
        return max(1, min(n for n in (samples, self.length, self.constructor.reach(rate)) if n is not None))

    def weight(self, filters: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The weight (out, 1, taps) of the correlation that the layer is with these filters and its skip, and its margins."""
        more = filters.shape[-1] - 1
        if self.skip is not None:
            at_once = pad(self.skip.reshape(self.channels, self.heads, 1), (0, more))
            filters = filters + (at_once if filters.shape[1] == self.heads else torch.cat([at_once, 0 * at_once], 1))
        if self.direction == "causal":
            weight, margins = filters.flip(-1), (more, 0)
        elif self.direction == "anticausal":
            weight, margins = filters, (0, more)
        else:
            back, ahead = filters.split(self.heads, 1)
            weight, margins = pad(back.flip(-1), (0, more)) + pad(ahead, (more, 0)), (more, more)
        return weight.flatten(0, 1)[:, None], margins

    def effective_kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """The weight of the plain correlation that the layer is for signals of up to `length` samples, differentiable.

        Shapes: returns (channels · heads, 1, taps) with taps at most `length`, or 2 · length − 1 for bidirectional; one group for
        each channel. A causal layer's last tap meets the present, an anticausal one's first, a bidirectional one's middle tap.

        Args:
            length: samples, at least 1.   rate: see `FilterConstructor.filters`.
        """
        (length,), rate = functional.numbers("length", length, 1, 1), checked_rate(rate)
        return self.weight(self.constructor.filters(self.taps(length, rate), rate))[0]

    def freeze(self, length: int, rate: float = 1.0) -> nn.Module:
        """The plain layer that this one is for signals of up to `length` samples, as it is in evaluation.

        Returns:
            torch's Conv1d with a group for each channel; behind a ConstantPad1d where one side has zeros only, for causal and
            anticausal filters. Longer signals are filtered with as many taps.

        Cost: taps products a sample of a result, where this layer multiplies spectra; no filters to make.

        Example:
            >>> from faltung.nn.sequence import MovingAverage
            >>> SequenceConv(MovingAverage(2)).freeze(100)
            Sequential(
              (0): ConstantPad1d(padding=(99, 0), value=0.0)
              (1): Conv1d(2, 2, kernel_size=(100,), stride=(1,), groups=2, bias=False)
            )
        """
        (length,), rate = functional.numbers("length", length, 1, 1), checked_rate(rate)
        resting = copy.deepcopy(self.constructor).eval()  # a drawn dropout is not what is to be kept
        with torch.no_grad():
            weight, (low, high) = self.weight(resting.filters(self.taps(length, rate), rate))
        out, _, taps = weight.shape
        made = nn.Conv1d(
            self.channels, out, taps, padding=low if low == high else 0, groups=self.channels, bias=False, device="meta"
        )
        made.weight = nn.Parameter(weight.clone())
        whole = made if low == high else nn.Sequential(nn.ConstantPad1d((low, high), 0.0), made)
        return whole.train(self.training)

    def forward(self, input: Tensor, rate: float = 1.0, mask: Tensor | None = None) -> Tensor:
        """The result for a whole signal.

        Args:
            rate: see `FilterConstructor.filters`.
            mask: booleans (batch, T), True where there is a sample: all else counts as zero, whatever stands there, for signals of
                several lengths in one batch. Results there are what the filters make of the samples. Default: all are.
        """
        self.expect(input, self.channels, 1)
        input, rate = masked(input, mask), checked_rate(rate)
        weight, margins = self.weight(self.constructor.filters(self.taps(input.shape[-1], rate), rate))
        return functional.conv(input, weight, padding=(margins,), groups=self.channels, policy=self.policy)

    def definition(self, *inputs: Any) -> Tensor:
        x = inputs[0]
        taps = self.taps(x.shape[-1], *inputs[1:])
        weight, margins = self.weight(self.constructor.definition_filters(taps, *inputs[1:]))
        return conv_by_taps(x, weight, None, (1,), (margins,), (1,), self.channels)

    def initial_state(self, batch: int, rate: float = 1.0) -> State:
        """The state of a stream before its first sample. Coefficients are taken from the parameters here, once.

        Raises:
            ArgumentError: the layer looks ahead, or its filters neither end nor follow a recurrence.
        """
        rate = checked_rate(rate)
        ends = None if self.constructor.recurrent else self.constructor.reach(rate)
        cut = self.length is not None and (ends is None or self.length < ends)
        if self.direction != "causal" or cut:
            came = f"a {self.direction} one" if self.direction != "causal" else "filters cut off by `length`"
            raise ArgumentError.of(
                f"{type(self).__name__}.initial_state", "a causal layer", came, "call it with the whole signal"
            )
        made = self.constructor
        fixed = made.fixed(rate)
        if made.recurrent:
            return State(made.initial_memory(batch), fixed, rate)
        return State(fixed[0].new_zeros(batch, made.channels, fixed[0].shape[-1] - 1), fixed, rate)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """One sample (batch, channels) in, its results (batch, channels · heads) and the next state out."""
        self.expect(input, self.channels, 0)
        self._expect_batch(input, state)
        y, memory = self.constructor.step(input, state.memory, state.fixed)
        y = y.flatten(1).to(input.dtype)
        return self._skipped(y, input), state._replace(memory=memory)

    def chunk(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """The next samples of a stream (batch, channels, n): their results (batch, channels · heads, n) and the next state."""
        self.expect(input, self.channels, 1)
        self._expect_batch(input, state)
        if not input.shape[-1]:
            return input.new_zeros(input.shape[0], self.channels * self.heads, 0), state
        past = self.constructor.response(state.memory, input.shape[-1], state.fixed, state.rate).flatten(1, 2)
        memory = self.constructor.advance(state.memory, input, state.fixed, state.rate)
        return self(input, state.rate) + past.to(input.dtype), state._replace(memory=memory)

    def _expect_batch(self, input: Tensor, state: State) -> None:
        if not isinstance(state, State) or len(state.memory) != len(input):
            came = f"one of {len(state.memory)}" if isinstance(state, State) else repr(state)
            raise ArgumentError.of(
                type(self).__name__, f"a state of {len(input)} signals", came, "start with initial_state(batch)"
            )

    def _skipped(self, y: Tensor, input: Tensor) -> Tensor:
        return y if self.skip is None else y + self.skip.to(y.dtype) * input.repeat_interleave(self.heads, 1)


def heads_of(heads: Any, direction: Any) -> int:
    """How many heads the constructor of a layer with that many has."""
    (heads,) = functional.numbers("heads", heads, 1, 1)
    return heads * (2 if direction == "bidirectional" else 1)


def checked_chance(dropout: Any) -> float:
    """The chance of a dropout, from 0 to below 1; ArgumentError otherwise."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise ArgumentError.of("dropout", "a number from 0 to below 1", repr(dropout), "leave it out for none")
    return float(dropout)


def masked(input: Tensor, mask: Any) -> Tensor:
    """The input (batch, channels, T) with zeros where a mask (batch, T) of booleans is False; None masks nothing."""
    if mask is None:
        return input
    shape = (input.shape[0], input.shape[-1])
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != shape:
        came = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
        raise ArgumentError.of("mask", f"booleans of shape {shape}", came, "say True where there is a sample")
    return torch.where(mask[:, None], input, torch.zeros((), dtype=input.dtype, device=input.device))


def wide(like: Tensor) -> torch.dtype:
    """The type in which places and distances are counted: whole numbers of bfloat16 end at 256, all of float16 at 65504."""
    return torch.promote_types(like.dtype, torch.float32)


def checked_rate(rate: Any) -> float:
    """The rate as a number above 0; ArgumentError otherwise."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < float(rate) < float("inf"):
        raise ArgumentError.of("rate", "a number above 0", repr(rate), "2 for a signal at half the sampling rate")
    return float(rate)
