"""The locally connected layer: a convolution whose weights are not shared, or shared by some places only."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, SHIFT_INVARIANT, ConvLayer, Example, Symmetry, shown, uniform_bias
from faltung.nn.conv import Conv
from faltung.nn.functional.definition import padded
from faltung.planner import Policy

BIASES = (True, False, "shared")


class Local(ConvLayer):
    """What the layer and its transpose share: weights for every place of a period, the way from and to a convolution."""

    input_size: tuple[int, ...]
    period: tuple[int, ...]
    weight: nn.Parameter

    def _build(
        self, tie: Any, bias: bool | str, places: Sequence[int], all_biased: Sequence[int], factory: Any
    ) -> None:
        """Make the parameters; `places` have weights of their own where nothing is tied, `all_biased` constants."""
        who = type(self).__name__
        if isinstance(tie, str) and tie not in ("none", "conv"):
            raise ArgumentError.of("tie", "'none', 'conv' or a period", repr(tie), "choose one of these")
        if tie == "none":
            self.period = tuple(places)
        else:
            self.period = functional.numbers("tie", 1 if tie == "conv" else tie, self.ndim, 1)
        if any(p > m for p, m in zip(self.period, places, strict=True)):
            raise ArgumentError.of(
                who, f"a period of at most the {tuple(places)} places", f"{self.period}", "tie='none'"
            )
        if bias not in BIASES:
            raise ArgumentError.of(
                "bias", "True (each place), 'shared' (each channel) or False", repr(bias), "choose one"
            )
        fan_in = self.in_channels // self.groups * math.prod(self.kernel_size)
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        nn.init.uniform_(self.weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        self.register_parameter("bias", None)
        if bias:
            spots = (1,) * self.ndim if bias == "shared" else all_biased
            self.bias = nn.Parameter(
                uniform_bias(self.out_channels * math.prod(spots), fan_in, factory)
                .detach()
                .reshape(self.out_channels, *spots)
            )

    def parameter_count(self) -> int:
        return math.prod(self.weight_shape) + (0 if self.bias is None else self.bias.numel())

    def everywhere(self) -> Tensor:
        """The weight at every place, (channels, channels, *kernel_size, *places)."""
        return repeated(self.weight, self.places)

    @property
    def places(self) -> tuple[int, ...]:
        """Sizes of the side on which every place has a weight: the result, or the input of the transposed layer."""
        return self.input_size

    def kernel(self) -> Tensor:
        """The one kernel of all places.

        Raises:
            ArgumentError: places differ.
        """
        first = self.weight[(..., *(slice(1),) * self.ndim)]
        if not torch.equal(first.expand_as(self.weight), self.weight):
            raise ArgumentError.of(
                type(self).__name__, "equal weights at all places", "different ones", "train with tie='conv', or keep this layer"
            )  # fmt: skip
        return first.flatten(-self.ndim).squeeze(-1)

    def definition_kernel(self) -> Tensor:
        return self.weight[(..., *(0,) * self.ndim)]

    def effective_bias(self) -> Tensor | None:
        """The one constant of each channel; ArgumentError where places differ."""
        if self.bias is None:
            return None
        flat = self.bias.flatten(1)
        if not torch.equal(flat[:, :1].expand_as(flat), flat):
            raise ArgumentError.of(
                type(self).__name__, "equal biases at all places", "different ones", "use bias='shared', or keep this layer"
            )  # fmt: skip
        return flat[:, 0]

    def _fits(self, input: Tensor) -> None:
        self.expect(input, self.in_channels, self.ndim)
        if tuple(input.shape[2:]) != self.input_size:
            raise ArgumentError.of(
                type(self).__name__, f"spatial sizes {self.input_size}", f"{tuple(input.shape[2:])}",
                "make a layer for that input_size: its weights belong to places",
            )  # fmt: skip

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})


class LocallyConnected(Local):
    """A convolution with weights of its own for every place of the result, or for every place of a period.

    Formula: `y[n, o, p] = bias[o, p] + Σ over i, t of weight[o, i, t, p mod period] · x̃[n, i, p·stride + t·dilation]`.

    Shapes: input (batch, in, *input_size), returns (batch, out, *m); weight (out, in / groups, *kernel_size, *period) with the
    places last, so that vectors run along them, and bias (out, *period).

    Args:
        ndim: number of spatial axes, at least 1.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: taps, one number for all spatial axes or one for each.   input_size: spatial sizes of the input, likewise.
        stride, padding, dilation, groups, padding_mode: as for `faltung.nn.Conv`.   policy: where the ties make a convolution.
        bias: True for a constant at each place (tied as weights are), `shared` for one a channel, False for none. Default True.
        tie: which places share weights: `none`, `conv` (all), or periods: places that far apart. Default none.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: as a convolution; every weight is read once for all samples of the batch. First values are those of a convolution at
    each place: uniform within 1/√fan_in.

    Example:
        >>> layer = LocallyConnected(2, 3, 64, 3, 32)
        >>> layer.parameter_count(), layer(torch.zeros(1, 3, 32, 32)).shape
        (1612800, torch.Size([1, 64, 30, 30]))
    """

    name = "locally-connected"
    summary = "a convolution whose weights are not shared, or shared by places a period apart"
    source = "LeCun, Generalization and network design strategies (1989); Lahoti et al., Role of locality and weight sharing (2024)"
    cost = "in / groups · Π kernel_size"
    portrait = shown(
        "impulses", (1, 1, 36, 36), ndim=2, in_channels=1, out_channels=1, kernel_size=9, input_size=36, padding=4
    )

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        input_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool | str = True,
        padding_mode: str = "zeros",
        tie: Any = "none",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        self.input_size = functional.numbers("input_size", input_size, self.ndim, 1)
        if any(m < 1 for m in self.places):
            raise ArgumentError.of(
                "LocallyConnected", "at least one place", f"{self.places}", "use a larger input_size"
            )
        self._build(
            tie, bias, self.places, self.places if tie == "none" else periods(tie, self.ndim), {"device": device, "dtype": dtype}
        )  # fmt: skip

    @property
    def places(self) -> tuple[int, ...]:
        return self.shapes((1, self.in_channels, *self.input_size))[2:]

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size, *self.period)

    @property
    def claims(self) -> frozenset[str]:
        tied = all(p == 1 for p in self.period) and (self.bias is None or self.bias[0].numel() == 1)
        return super().claims | ({SHIFT_INVARIANT} if tied else set())

    def forward(self, input: Tensor) -> Tensor:
        self._fits(input)
        settings = (self.stride, self.padding, self.dilation, self.groups, self.padding_mode)
        if all(p == 1 for p in self.period):
            y = functional.conv(input, self.weight.flatten(2 + self.ndim).squeeze(-1), None, *settings, self.policy)
        else:
            y = functional.conv_local(input, self.everywhere(), None, *settings)
        return y if self.bias is None else y + repeated(self.bias, self.places).to(y.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        y = by_taps(
            inputs[0], self.weight, self.places, self.stride, self.pads, self.dilation, self.groups, self.padding_mode
        )
        return y if self.bias is None else y + at_places(self.bias, self.places)

    def symmetries(self) -> Iterable[Symmetry]:
        """Shifts by a period, where the result goes round as often as the weights do."""
        places, around = self.places, self.padding_mode == "circular"
        steps = tuple(p * s for p, s in zip(self.period, self.stride, strict=True))
        whole = all(
            n == m * s and m % p == 0
            for n, m, s, p in zip(self.input_size, places, self.stride, self.period, strict=True)
        )
        biased = self.bias is not None and any(b > p for b, p in zip(self.bias.shape[1:], self.period, strict=True))
        if around and whole and not biased:
            axes = tuple(range(-self.ndim, 0))
            yield Symmetry(f"shift by {steps}", lambda x: x.roll(steps, axes), lambda y: y.roll(self.period, axes))

    @classmethod
    def from_conv(cls, conv: nn.Module, input_size: Any, tie: Any = "none") -> Self:
        """The layer that computes what a convolution (torch's or ours) computes on inputs of that size, free to leave it.

        Raises:
            DtypeError: the module is no convolution.   ArgumentError: sizes that do not fit.
        """
        plain = isinstance(conv, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
        if not plain and not (isinstance(conv, ConvLayer) and SHIFT_INVARIANT in conv.claims):
            raise DtypeError.of(
                "LocallyConnected.from_conv",
                "a convolution layer",
                type(conv).__name__,
                "pass nn.ConvNd or a ConvLayer",
            )
        kernel, bias = (conv.weight, conv.bias) if plain else (conv.effective_kernel(), conv.effective_bias())
        ndim = kernel.ndim - 2
        names = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        made = cls(
            ndim, conv.in_channels, conv.out_channels, input_size=input_size, bias=bias is not None, tie=tie,
            device=kernel.device, dtype=kernel.dtype, **{name: getattr(conv, name) for name in names},
        )  # fmt: skip
        with torch.no_grad():
            made.weight.copy_(kernel.reshape(*kernel.shape, *[1] * ndim).expand_as(made.weight))
            if bias is not None:
                made.bias.copy_(bias.reshape(-1, *[1] * ndim).expand_as(made.bias))
        return made.train(conv.training)

    def to_conv(self) -> Conv:
        """The convolution that this layer is; ArgumentError where weights or biases of places differ."""
        kernel, bias = self.kernel(), self.effective_bias()
        made = Conv(
            self.ndim, self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups,
            bias is not None, self.padding_mode, device="meta", policy=self.policy,
        )  # fmt: skip
        made.weight = nn.Parameter(kernel.detach().clone())
        made.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        return made.train(self.training)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        common = {"in_channels": 2, "out_channels": 3, "kernel_size": 3}
        yield Example({"ndim": 1, **common, "input_size": 7, "stride": 2, "padding": 1}, ((2, 2, 7),))
        grouped = {"in_channels": 4, "out_channels": 2, "kernel_size": (2, 3), "input_size": (4, 5), "groups": 2}
        yield Example(
            {"ndim": 2, **grouped, "dilation": (2, 1), "padding_mode": "reflect", "padding": 1}, ((2, 4, 4, 5),)
        )
        round_ = {**common, "input_size": (4, 6), "padding": "same", "padding_mode": "circular"}
        yield Example({"ndim": 2, **round_, "tie": (2, 3)}, ((2, 2, 4, 6),))
        yield Example({"ndim": 2, **round_, "tie": "conv", "bias": "shared"}, ((2, 2, 4, 6),))
        yield Example(
            {"ndim": 3, **common, "kernel_size": 2, "input_size": (2, 3, 3), "bias": "shared"}, ((1, 2, 2, 3, 3),)
        )
        yield Example(
            {"ndim": 4, **common, "kernel_size": 2, "input_size": 2, "bias": False, "padding": "same",
             "padding_mode": "symmetric"}, ((1, 2, 2, 2, 2, 2),),
        )  # fmt: skip


def periods(tie: Any, ndim: int) -> tuple[int, ...]:
    """The periods behind a tie other than `none`."""
    return functional.numbers("tie", 1 if isinstance(tie, str) else tie, ndim, 1)


def repeated(values: Tensor, places: Sequence[int]) -> Tensor:
    """Values of a period, in the last axes, at every place."""
    for axis, m in zip(range(values.ndim - len(places), values.ndim), places, strict=True):
        period = values.shape[axis]
        if period not in (1, m):
            values = torch.cat([values] * (m // period) + [values.narrow(axis, 0, m % period)], axis)
    return values.expand(*values.shape[: values.ndim - len(places)], *places)


def at_places(values: Tensor, places: Sequence[int]) -> Tensor:
    """The same by the index of every place."""
    for axis, m in zip(range(values.ndim - len(places), values.ndim), places, strict=True):
        values = values.index_select(axis, torch.arange(m) % values.shape[axis])
    return values


def by_taps(
    x: Tensor, weight: Tensor, places: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]],
    dilation: Sequence[int], groups: int, padding_mode: str,
) -> Tensor:  # fmt: skip
    """The definition of the locally connected layer, one tap after the other."""
    ndim = len(places)
    x = padded(x, pads, padding_mode).unflatten(1, (groups, -1))
    weight = at_places(weight, places).unflatten(0, (groups, -1))
    y = x.new_zeros(())
    for tap in itertools.product(*map(range, weight.shape[3 : 3 + ndim])):
        seen = tuple(
            slice(t * d, t * d + (m - 1) * s + 1, s) for t, d, m, s in zip(tap, dilation, places, stride, strict=True)
        )
        y = y + torch.einsum("ngc...,goc...->ngo...", x[(..., *seen)], weight[(slice(None),) * 3 + tap])
    return y.flatten(1, 2)
