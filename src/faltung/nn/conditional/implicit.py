"""Kernels that a small network makes of coordinates: any size from the same parameters."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, shown

SOURCE = "Zhang, HyperZZW operator connects slow-fast networks for full context interaction (2024)"


def coordinates(sizes: Iterable[int], like: Tensor) -> Tensor:
    """Places of all taps, (1, axes, *sizes): from −1 to 1 along each axis, ends included, 0 for a single tap."""
    axes = [
        torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device) if n > 1 else like.new_zeros(1) for n in sizes
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


class SineMFN(Layer):
    """The slow net: a multiplicative filter network of sines, from coordinates to numbers, the same at every place.

    Formula: `h_0 = sin(A_0 c)`, `h_i = sin(A_i c) ⊙ (B_i h_{i−1} + b_i) + β_i`, `y = L h_last + l`. The rows of A_i are normal,
    2π·omega times a number each from Gamma(6 / (i + 1), 1): later filters are slower.

    Shapes: input (batch, axes, *n), returns (batch, out, *n).

    Args:
        axes: coordinates of a place, at least 1.   out_channels: numbers made for each place.
        hidden: width. Default 16.   layers: sines that are multiplied, at least 1. Default 3.
        omega: scale of the frequencies; with coordinates in [−1, 1] about so many periods fit into half of the kernel. Default 1.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: sizes below 1, or omega of 0 or less.

    Source: Fathony et al., Multiplicative filter networks (2021), with the scales of the HyperZZW operator.

    Example:
        >>> SineMFN(2, 8)(torch.zeros(1, 2, 5, 5)).shape
        torch.Size([1, 8, 5, 5])
    """

    name = "sine-mfn"
    summary = "a multiplicative filter network of sines, from coordinates to numbers"
    source = "Fathony et al., Multiplicative filter networks (2021)"
    cost = "layers · (axes + hidden) · hidden + hidden · out_channels for each place"
    portrait = shown("coordinates", (1, 2, 96, 96), axes=2, out_channels=3, hidden=32, layers=3, omega=0.3)

    def __init__(
        self,
        axes: int,
        out_channels: int,
        hidden: int = 16,
        layers: int = 3,
        omega: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.axes, self.out_channels, self.hidden, self.layers = functional.numbers(
            "axes, out_channels, hidden, layers", (axes, out_channels, hidden, layers), 4, 1
        )
        if not omega > 0:
            raise ArgumentError.of("SineMFN", "omega above 0", repr(omega), "take about 1 for smooth kernels")
        self.omega = float(omega)
        factory = {"device": device, "dtype": dtype}
        self.frequencies = nn.Parameter(torch.empty(self.layers, self.hidden, self.axes, **factory))
        self.offsets = nn.Parameter(torch.zeros(self.layers - 1, self.hidden, **factory)) if self.layers > 1 else None
        steps = [nn.Linear(self.hidden, self.hidden, **factory) for _ in range(self.layers - 1)]
        self.steps = nn.ModuleList(steps)
        self.last = nn.Linear(self.hidden, self.out_channels, **factory)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the frequencies; all else so that numbers of one layer are as large as those of the one before.

        Sines alone would all be zero in the middle of the kernel: what is added to them starts at random, too.
        """
        for i, rows in enumerate(self.frequencies):
            scale = torch.distributions.Gamma(torch.full((self.hidden, 1), 6.0 / (i + 1)), 1.0).sample()
            rows.normal_().mul_(2 * math.pi * self.omega * scale.to(rows))
        for i, step in enumerate(self.steps):
            # The squares: 1/2 of a sine times (1/2 + 1/4), and 1/8, are 1/2 again.
            nn.init.normal_(step.weight, std=math.sqrt(1 / self.hidden))
            nn.init.normal_(step.bias, std=math.sqrt(1 / 4))
            nn.init.normal_(self.offsets[i], std=math.sqrt(1 / 8))
        nn.init.normal_(self.last.weight, std=math.sqrt(2 / self.hidden))
        nn.init.zeros_(self.last.bias)

    def features(self, places: Tensor) -> Tensor:
        """h_last for places (..., axes): (..., hidden)."""
        # Not as matrix products, which autocast would narrow: a phase of many turns needs all its digits.
        phases = sum(places[..., a, None, None] * self.frequencies[..., a] for a in range(self.axes))
        sines = torch.sin(phases)  # (..., layers, hidden)
        h = sines[..., 0, :]
        for i, step in enumerate(self.steps):
            h = sines[..., i + 1, :] * step(h) + self.offsets[i]
        return h

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        self.expect(input, self.axes, max(input.ndim - 2, 0))
        return self.last(self.features(input.movedim(1, -1))).movedim(-1, 1)

    def definition(self, *inputs: Any) -> Tensor:
        c = inputs[0]

        def times(matrix: Tensor, h: Tensor) -> Tensor:
            return torch.stack([sum(h[:, j] * row[j] for j in range(len(row))) for row in matrix], 1)

        def column(values: Tensor) -> Tensor:
            return values.reshape(1, -1, *[1] * (c.ndim - 2))

        h = times(self.frequencies[0], c).sin()
        for i, step in enumerate(self.steps):
            mixed = times(step.weight, h) + column(step.bias)
            h = times(self.frequencies[i + 1], c).sin() * mixed + column(self.offsets[i])
        return times(self.last.weight, h) + column(self.last.bias)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        h, more = self.hidden, self.layers - 1
        return self.layers * h * self.axes + more * (h * h + 2 * h) + (h + 1) * self.out_channels

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"axes": 2, "out_channels": 3, "hidden": 4}, ((2, 2, 3, 2),))
        yield Example({"axes": 1, "out_channels": 2, "hidden": 3, "layers": 1, "omega": 0.5}, ((2, 1, 5),))


class ImplicitKernel(nn.Module):
    """A kernel of any size from a slow net on coordinates in [−1, 1]: `kernel(sizes)` samples it anew.

    Formula: `K[..., q] = slow_net(c_q) / √taps`, taps the product of the sizes. With `taps=T` it is `slow_net(c_q)·√T / taps`: the
    kernel of T taps sampled at another resolution, so that sums over a signal of that resolution stay what they were.

    Shapes: sizes (axes), returns (*shape, *sizes).

    Args:
        axes: number of spatial axes.   shape: of the leading axes, as (out, in / groups).
        slow_net: a module from coordinates (1, axes, *sizes) to (1, ∏ shape, *sizes). Default `SineMFN(axes, ∏ shape, **settings)`.
        settings: hidden, layers, omega, device, dtype of the default slow net.

    Raises:
        ArgumentError: sizes that do not fit.

    Source: Zhang, HyperZZW operator connects slow-fast networks for full context interaction (2024).

    Example:
        >>> ImplicitKernel(2, (8, 1))((5, 7)).shape
        torch.Size([8, 1, 5, 7])
    """

    def __init__(self, axes: int, shape: tuple[int, ...], slow_net: nn.Module | None = None, **settings: Any) -> None:
        super().__init__()
        (self.axes,) = functional.numbers("axes", axes, 1, 1)
        self.shape = functional.numbers("shape", tuple(shape), len(shape), 1)
        self.slow_net = SineMFN(self.axes, math.prod(self.shape), **settings) if slow_net is None else slow_net

    def forward(self, sizes: Any, taps: int | None = None) -> Tensor:
        sizes = functional.numbers("sizes", sizes, self.axes, 1)
        like = next(p for p in self.slow_net.parameters() if p.is_floating_point())
        made = self.slow_net(coordinates(sizes, like))[0]
        count = math.prod(sizes)
        return made.unflatten(0, self.shape) * (1 / math.sqrt(count) if taps is None else math.sqrt(taps) / count)
