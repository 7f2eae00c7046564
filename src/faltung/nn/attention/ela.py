"""ELA: a gate for each row and one for each column, from strips of means."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, shown
from faltung.nn.functional.definition import conv_by_taps


class ELA(Layer):
    """Efficient local attention: along each axis the means over all others pass a 1-D convolution and become gates.

    Formula: `y = x · Π over axes a of sigmoid(GroupNorm(conv(m_a)))`, m_a (batch, channels, n_a) the means over the other axes; one
    convolution and one GroupNorm serve all axes.

    Shapes: input (batch, channels, *n) with any number of spatial axes, returns the same; weight (channels, channels / groups, k).

    Args:
        channels: multiples of groups and of norm_groups.
        variant: which of the paper's settings: T (k 5, depthwise, 32 norm groups), B (7, depthwise, 16), S (5, channels / 8
            groups, 16) or L (7, channels / 8 groups, 16). Default B.
        kernel_size, groups, norm_groups: in place of the variant's; kernel_size odd.
        padding_mode: what lies beyond the ends of a strip, see `faltung.nn.functional.conv`. Default zeros.
        eps: added to the variance, above 0. Default 1e-5.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: channels that the groups do not divide, or settings that name no layer.

    Cost: a reading pass for each axis, one pass that reads and writes for the gates; the strips cost next to nothing.

    Example:
        >>> ELA(32, "T")(torch.zeros(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    name = "ela"
    summary = "gates along each axis from pooled strips, a 1-D convolution and GroupNorm"
    source = "Xu and Wan, ELA: efficient local attention for deep convolutional neural networks (2024)"
    cost = "axes, and channels / groups · kernel_size · Σ n / Π n for the gates"
    portrait = shown("gate", (1, 32, 96, 96), channels=32)

    VARIANTS: ClassVar[dict[str, tuple[int, int, int]]] = {
        "T": (5, 1, 32),
        "B": (7, 1, 16),
        "S": (5, 8, 16),
        "L": (7, 8, 16),
    }
    """Taps, channels in each group of the convolution, groups of the norm."""

    def __init__(
        self,
        channels: int,
        variant: str = "B",
        kernel_size: int | None = None,
        groups: int | None = None,
        norm_groups: int | None = None,
        padding_mode: str = "zeros",
        eps: float = 1e-5,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if variant not in self.VARIANTS:
            raise ArgumentError.of(
                "ELA", f"a variant among {', '.join(self.VARIANTS)}", repr(variant), "choose one of these"
            )
        taps, together, parts = self.VARIANTS[variant]
        if groups is None and self.channels % together:
            raise ArgumentError.of(
                f"ELA variant {variant}", f"channels in groups of {together}", f"{channels} channels", "give groups yourself"
            )  # fmt: skip
        (self.kernel_size,) = functional.numbers("kernel_size", taps if kernel_size is None else kernel_size, 1, 1)
        (self.groups,) = functional.numbers("groups", self.channels // together if groups is None else groups, 1, 1)
        (self.norm_groups,) = functional.numbers("norm_groups", parts if norm_groups is None else norm_groups, 1, 1)
        for what, count in (("groups", self.groups), ("norm_groups", self.norm_groups)):
            if self.channels % count:
                raise ArgumentError.of(
                    f"ELA variant {variant}", f"channels that {count} {what} divide", f"{channels} channels",
                    f"give another number of {what}",
                )  # fmt: skip
        if self.kernel_size % 2 == 0:
            raise ArgumentError.of("ELA", "an odd kernel_size", repr(kernel_size), "take the next odd number")
        if padding_mode not in functional.BOUNDARY:
            words = ", ".join(functional.BOUNDARY)
            raise ArgumentError.of("padding_mode", f"one of {words}", repr(padding_mode), "choose one of these")
        if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < math.inf:
            raise ArgumentError.of("ELA", "eps above 0", repr(eps), "leave it out for 1e-5")
        self.padding_mode = padding_mode
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(
            torch.empty(self.channels, self.channels // self.groups, self.kernel_size, **factory)
        )
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.norm = nn.GroupNorm(self.norm_groups, self.channels, eps, **factory)

    def gates(self, input: Tensor) -> list[Tensor]:
        """The gates (batch, channels, n) of each axis, between 0 and 1."""
        self.expect(input, self.channels, None)
        if input.ndim < 3:
            raise ArgumentError.of(
                "ELA", "an input (batch, channels, *n) with spatial axes", f"shape {tuple(input.shape)}", "add an axis"
            )
        return [self._gate(_strip(input, axis)) for axis in range(2, input.ndim)]

    def _gate(self, strip: Tensor) -> Tensor:
        across = functional.conv(
            strip, self.weight, padding=self.kernel_size // 2, groups=self.groups, padding_mode=self.padding_mode
        )
        # Not the module's own call: that refuses a single value in a group, of which the mean is that value.
        norm = self.norm
        return torch.group_norm(across, norm.num_groups, norm.weight, norm.bias, norm.eps).sigmoid()

    def forward(self, input: Tensor) -> Tensor:
        spread = [self._spread(gate, axis, input.ndim) for axis, gate in enumerate(self.gates(input), 2)]
        every = spread[0]
        for gate in spread[1:]:
            every = every * gate
        return input * every

    @staticmethod
    def _spread(gate: Tensor, axis: int, ndim: int) -> Tensor:
        """A gate (batch, channels, n) as (batch, channels, 1, ..., n, ..., 1)."""
        return gate[(..., *(slice(None) if a == axis else None for a in range(2, ndim)))]

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        around, y = self.kernel_size // 2, x
        for axis in range(2, x.ndim):
            others = [a for a in range(2, x.ndim) if a != axis]
            strip = x.sum(others) / math.prod(x.shape[a] for a in others) if others else x
            moved = conv_by_taps(
                strip, self.weight, None, (1,), ((around, around),), (1,), self.groups, self.padding_mode
            )
            parts = moved.reshape(moved.shape[0], self.norm_groups, -1)
            centred = parts - parts.mean(2, keepdim=True)
            scaled = (centred / (centred.square().mean(2, keepdim=True) + self.norm.eps).sqrt()).reshape(moved.shape)
            gate = 1 / (1 + torch.exp(-(scaled * self.norm.weight[:, None] + self.norm.bias[:, None])))
            y = y * gate.reshape(*gate.shape[:2], *[-1 if a == axis else 1 for a in range(2, x.ndim)])
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels * self.channels // self.groups * self.kernel_size + 2 * self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        yield Symmetry("exchanged axes", _exchanged, _exchanged)
        if self.padding_mode == "circular":
            yield Symmetry("shift by 1", lambda x: x.roll(1, -1), lambda y: y.roll(1, -1))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 16}, ((2, 16, 3, 4),))
        yield Example({"channels": 32, "variant": "T", "padding_mode": "circular"}, ((2, 32, 3, 2),))
        yield Example({"channels": 16, "variant": "S"}, ((2, 16, 5),))
        yield Example({"channels": 8, "variant": "L", "norm_groups": 4}, ((2, 8, 2, 3, 2),))
        yield Example({"channels": 6, "kernel_size": 3, "groups": 2, "norm_groups": 3, "eps": 1e-3}, ((2, 6, 4, 3),))


def _strip(x: Tensor, axis: int) -> Tensor:
    """The means (batch, channels, n) over all spatial axes but one."""
    others = [a for a in range(2, x.ndim) if a != axis]
    return x.mean(others) if others else x


def _exchanged(x: Tensor) -> Tensor:
    """The last two spatial axes in each other's place, where there are two."""
    return x.transpose(-1, -2) if x.ndim > 3 else x
