"""Convolution whose taps are multiplied by a density that depends on their distance from the middle."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn.base import ConvLayer, Example, shown
from faltung.nn.exchange import grouped
from faltung.planner import Policy

SUGGESTED: dict[bool, dict[int, tuple[float, ...]]] = {
    False: {1: (), 3: (0.7,), 5: (0.2, 0.8), 7: (0.25, 0.15, 0.55)},
    True: {1: (), 3: (0.8,), 5: (0.1, 0.7), 7: (0.25, 0.15, 0.55)},
}
"""The published densities for each number of taps, the outermost first; for volumes under True."""
_TRAINABLE_START = (0.27, 0.17, 0.54)


class WeightedConv(ConvLayer):
    """A convolution whose kernel is multiplied by a separable density, symmetric about the middle tap.

    Formula: `y = (W ⊙ Φ) ∗ x + b` with `Φ = α₁ ⊗ α₂ ⊗ ...`, `α = (d₁, ..., d_m, 1, d_m, ..., d₁)` for 2m + 1 taps along an axis.

    The layer computes no function that a plain convolution does not compute: a fixed density is a preconditioner. One step of
    gradient descent on W with rate η is one step on the kernel V = W ⊙ Φ with rate η·Φ² for each tap, exactly; with weights V
    drawn as W ⊙ Φ the whole training is the same. With Adam, whose steps do not scale with the gradient, it is not.

    Shapes: input (batch, in, *n) or (in, *n), returns (batch, out, *m) or (out, *m) as `faltung.nn.functional.conv`.

    Args:
        ndim: number of spatial axes, 1 to 4.   in_channels, out_channels: at least 1, multiples of groups.
        kernel_size: odd taps, one number or one for each axis.
        stride, padding, dilation, groups, padding_mode, device, dtype, policy: see `faltung.nn.Conv`; padding is 0 by default.
        bias: default False, as published; starts at zero.
        density: (d₁, ..., d_m) for all axes, the outermost first; a list of such lists, one for each axis ([] for one tap); a
            tensor of one or two axes; or `auto`, the published ones up to 7 taps. Default auto.
        trainable: whether the density is learnt; one list for all axes stays one parameter. It wants an optimiser of its own, with
            a rate a hundred times that of the weights. Default False: a buffer.

    Raises:
        ArgumentError: even taps, or a density that does not fit the kernel.

    Cost: one product for each weight and call; nothing more after `freeze`.
    Source: Cammarasana and Patanè, Optimal density functions for weighted convolution in learning models (2025); there
        squares of at most seven taps.

    Example:
        >>> WeightedConv(1, 1, 1, 5, density=[0.2, 0.8]).density_map()
        tensor([0.2000, 0.8000, 1.0000, 0.8000, 0.2000])
    """

    name = "weighted"
    summary = "a convolution whose taps are multiplied by a symmetric separable density, fixed or learnt"
    source = "Cammarasana and Patanè, Optimal density functions for weighted convolution in learning models (2025)"
    cost = "in / groups · Π kernel_size"
    portrait = shown("kernels photo", (1, 1, 96, 96), ndim=2, in_channels=1, out_channels=2, kernel_size=7, padding=3)

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
        bias: bool = False,
        padding_mode: str = "zeros",
        density: Any = "auto",
        trainable: bool = False,
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        self.settle(
            ndim, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode, policy
        )
        if any(t % 2 == 0 for t in self.kernel_size):
            raise ArgumentError.of("kernel_size", "odd numbers of taps", str(self.kernel_size), "add or remove one")
        factory = {"device": device, "dtype": dtype}
        self.trainable = trainable
        found = self._settled(density)
        self._of_axis = (
            [found.index(d) for d in found] if isinstance(density, str) or not _nested(density) else [*range(ndim)]
        )
        for n, numbers in enumerate(found):
            if numbers and n in self._of_axis:
                values = torch.tensor(numbers, **factory)
                if trainable:
                    self.register_parameter(f"density_{n}", nn.Parameter(values))
                else:
                    self.register_buffer(f"density_{n}", values)
        self.weight = nn.Parameter(torch.empty(self.weight_shape, **factory))
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_channels, **factory)) if bias else None)
        self.reset_parameters()

    def _settled(self, density: Any) -> list[list[float]]:
        """The numbers for each axis."""
        if isinstance(density, str):
            table = SUGGESTED[self.ndim > 2] | ({7: _TRAINABLE_START} if self.trainable else {})
            if density != "auto" or any(t not in table for t in self.kernel_size):
                raise ArgumentError.of(
                    "density", f"numbers, or 'auto' for taps among {sorted(table)}", f"{density!r} for {self.kernel_size}",
                    "write the density down",
                )  # fmt: skip
            return [list(table[t]) for t in self.kernel_size]
        given = density.tolist() if isinstance(density, Tensor) else density
        lists = [list(axis) for axis in given] if _nested(given) else [list(given)] * self.ndim
        lists = [axis.tolist() if isinstance(axis, Tensor) else [float(v) for v in axis] for axis in lists]
        if [len(axis) for axis in lists] != [t // 2 for t in self.kernel_size]:
            raise ArgumentError.of(
                "density", f"{[t // 2 for t in self.kernel_size]} numbers for the axes of a kernel of {self.kernel_size} taps",
                f"{[len(axis) for axis in lists]}", "give a list for each axis, the outermost tap first",
            )  # fmt: skip
        self._arguments["density"] = lists if _nested(given) else lists[0]
        return lists

    def reset_parameters(self) -> None:
        """Draw the weights from He's normal law by fan-out; the bias is zero, the density stays."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def density_map(self) -> Tensor:
        """Φ, of shape (*kernel_size)."""
        total = self.weight.new_ones(())
        for axis in range(self.ndim):
            outer = getattr(self, f"density_{self._of_axis[axis]}", self.weight.new_ones(0))
            line = torch.cat([outer, outer.new_ones(1), outer.flip(0)])
            total = total.unsqueeze(-1) * line
        return total

    def kernel(self) -> Tensor:
        return self.weight * self.density_map()

    def definition_kernel(self) -> Tensor:
        kernel = self.weight.clone()
        for axis, taps in enumerate(self.kernel_size):
            for tap in range(taps):
                distance = abs(tap - taps // 2)
                if distance:
                    factor = getattr(self, f"density_{self._of_axis[axis]}")[taps // 2 - distance]
                    kernel[(..., *[slice(None)] * axis, tap, *[slice(None)] * (self.ndim - axis - 1))] *= factor
        return kernel

    @torch.no_grad()
    def take(self, kernel: Tensor, bias: Tensor | None = None) -> Self:
        """The kernel itself, but for taps whose density is zero; the density stays."""
        density = self.density_map()
        self.weight.copy_(torch.where(density == 0, 0, grouped(kernel, self) / density))
        self.take_bias(bias)
        return self

    def parameter_count(self) -> int:
        bias = 0 if self.bias is None else self.out_channels
        learnt = sum(self.kernel_size[n] // 2 for n in set(self._of_axis)) if self.trainable else 0
        return self.weight.numel() + bias + learnt

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example(
            {"ndim": 1, "in_channels": 2, "out_channels": 3, "kernel_size": 7, "stride": 2, "padding": 3}, ((2, 2, 9),)
        )
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 2, "kernel_size": 5, "trainable": True}, ((2, 2, 6, 5),)
        )
        yield Example(
            {"ndim": 2, "in_channels": 2, "out_channels": 4, "kernel_size": (3, 5), "padding": "same", "padding_mode": "circular",
             "groups": 2, "bias": True, "density": [[0.6], [0.3, 1.5]], "trainable": True},
            ((1, 2, 4, 5),),
        )  # fmt: skip
        yield Example({"ndim": 3, "in_channels": 1, "out_channels": 2, "kernel_size": (3, 1, 3)}, ((1, 1, 3, 2, 4),))
        yield Example(
            {"ndim": 4, "in_channels": 1, "out_channels": 1, "kernel_size": 3, "density": torch.tensor([0.5])},
            ((1, 1, 3, 3, 3, 4),),
        )


def _nested(density: Any) -> bool:
    """Whether there is one list for each axis."""
    if isinstance(density, Tensor):
        return density.ndim > 1
    return any(isinstance(axis, (list, tuple)) or (isinstance(axis, Tensor) and axis.ndim > 0) for axis in density)
