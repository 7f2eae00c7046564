"""An invertible convolution with a triangular kernel: its determinant is known and its inverse is a parallel recurrence."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import PER_SAMPLE, Example, Layer, shown
from faltung.nn.functional.definition import conv_by_taps
from faltung.planner import Policy

LETTERS = ("SE", "FB", "TB", "LR")
"""What the two ends of an axis are called, the last axis last: start and end, front and back, top and bottom, left and right."""

SPREAD = 0.05  # of the first taps


class InvertibleConv(Layer):
    """A convolution that is inverted exactly, with a known determinant: each group of channels looks back to a corner of the grid.

    Formula: in a group's own frame, where its corner is position 0,
    `y[o, p] = Σ over i, t of K[o, i, t] · x[i, p + t − (k − 1)]`, zeros beyond the edge, with `K[:, :, last tap]` lower triangular
    over the channels of the group and with ones (or learnt positive numbers) on the diagonal. In raster order from the corner the
    matrix is triangular, so log|det| is 0, or Π n · Σ log of the diagonal.

    Shapes: input (batch, channels, *n), returns y (batch, channels, *n) and log|det| (batch); `inverse` takes y alone.

    Args:
        ndim: number of spatial axes.   channels: a multiple of the number of orders.
        kernel_size: taps, one number for all axes or one for each. Default 3.
        orders: each group's corner, one letter for every axis: L or R along the last one, T or B along the second-last, F or B
            (front, back) before that, S or E (start, end) for the fourth: `R`, `TL`, `FTL`. Default: all corners, which in two
            dimensions are `TL`, `TR`, `BL`, `BR`.
        learn_diag: whether the diagonal is learnt, as exp of a parameter. Default False: it is 1.
        inverse: how `inverse` solves: `auto`, `wavefront`, `newton`, `scan`, see `faltung.nn.functional.causal_solve`.
        device, dtype: of the parameters, real.   policy: of the convolution.

    There is no bias, stride, dilation or other margin: with them the layer would not be this invertible map.
    The entries that the triangle leaves out are no parameters, so no optimiser and no weight decay can break it; the reference
    masks gradients, which holds only as long as its own method is called in time.

    Raises:
        ArgumentError: channels that the orders do not divide, corners that are none.

    Cost: channels / orders · Π kernel_size multiplications a sample, forwards and backwards; H + W − 1 dependent steps backwards.
    Source: Kallappa, Nagar, Varma, FInC Flow: Fast and Invertible k × k Convolutions for Normalizing Flows (2023).

    Example:
        >>> layer = InvertibleConv(2, 8)
        >>> y, logdet = layer(torch.ones(1, 8, 5, 6))
        >>> torch.allclose(layer.inverse(y), torch.ones(1, 8, 5, 6), atol=1e-5), logdet
        (True, tensor([0.]))
    """

    name = "invertible-conv"
    summary = "an invertible convolution with determinant 1 whose inverse runs along diagonals in parallel"
    source = "Kallappa, Nagar, Varma, FInC Flow: Fast and Invertible k x k Convolutions for Normalizing Flows (2023)"
    cost = "channels / orders · Π kernel_size"
    portrait = shown("stirred impulses inverse", (1, 4, 33, 33), ndim=2, channels=4, kernel_size=5)
    dims = (1, 2, 3, 4)

    def __init__(
        self,
        ndim: int,
        channels: int,
        kernel_size: Any = 3,
        orders: Sequence[str] | None = None,
        learn_diag: bool = False,
        inverse: str = "auto",
        device: Any = None,
        dtype: Any = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        self.kernel_size = functional.numbers("kernel_size", kernel_size, self.ndim, 1)
        self.orders = corners(self.ndim) if orders is None else tuple(orders)
        self.flips = tuple(_flips(order, self.ndim) for order in self.orders)
        if not self.orders or self.channels % len(self.orders):
            raise ArgumentError.of(
                "InvertibleConv", f"channels that {len(self.orders)} orders divide", str(channels),
                "choose other channels or fewer orders",
            )  # fmt: skip
        if inverse not in functional.SOLVERS:
            raise ArgumentError.of(
                "inverse", f"one of {', '.join(functional.SOLVERS)}", repr(inverse), "choose one of these"
            )
        self.method, self.policy = inverse, policy
        self.width = self.channels // len(self.orders)
        factory = {"device": device, "dtype": torch.get_default_dtype() if dtype is None else dtype}
        if not factory["dtype"].is_floating_point:
            raise DtypeError.of("InvertibleConv", "a real dtype", str(dtype), "give float32 or the like")
        taps = math.prod(self.kernel_size) - 1
        self.weight = nn.Parameter(torch.empty(self.channels, self.width, taps, **factory))
        many = self.width * (self.width - 1) // 2
        self.mixing = nn.Parameter(torch.empty(len(self.orders), many, **factory)) if many else None
        self.log_diag = nn.Parameter(torch.empty(self.channels, **factory)) if learn_diag else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the taps and what lies below the diagonal from N(0, 0.05²); the diagonal starts at 1."""
        nn.init.normal_(self.weight, std=SPREAD)
        if self.mixing is not None:
            nn.init.normal_(self.mixing, std=SPREAD)
        if self.log_diag is not None:
            nn.init.zeros_(self.log_diag)

    def corner(self) -> Tensor:
        """The last taps (orders, channels / orders, same): lower triangular matrices."""
        groups, width = len(self.orders), self.width
        if self.log_diag is None:
            made = torch.eye(width, dtype=self.weight.dtype, device=self.weight.device).expand(groups, -1, -1)
        else:
            made = torch.diag_embed(self.log_diag.exp().unflatten(0, (groups, width)))
        if self.mixing is None:
            return made
        rows, columns = torch.tril_indices(width, width, -1, device=self.weight.device)
        below = self.weight.new_zeros(groups, width * width).index_copy(1, rows * width + columns, self.mixing)
        return made + below.unflatten(1, (width, width))

    def kernel(self) -> Tensor:
        """The kernel (channels, channels / orders, *kernel_size), each group's as seen from its corner."""
        last = self.corner().flatten(0, 1).unsqueeze(-1)
        return torch.cat([self.weight, last], -1).unflatten(-1, self.kernel_size)

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:
        self.expect(input, self.channels, self.ndim)
        y = functional.causal_conv(input, self.kernel(), self.flips, policy=self.policy)
        return y, self.logdet(tuple(input.shape[2:])).expand(input.shape[0])

    def logdet(self, size: Sequence[int]) -> Tensor:
        """log|det| of the map on signals of that size: 0 without a learnt diagonal."""
        if self.log_diag is None:
            return self.weight.new_zeros(())
        return math.prod(size) * self.log_diag.sum()

    def inverse(self, y: Tensor, kernel: Tensor | None = None) -> Tensor:
        """The input with this result. Differentiable in y and in the parameters, by one transposed solve.

        Args:
            kernel: what `inverse_kernel` gave for this size, so that many calls share it: one convolution then, no solve.

        Error: as `faltung.nn.functional.causal_solve`; `inverse_gain` says how far rounding errors can grow.
        """
        self.expect(y, self.channels, self.ndim)
        if kernel is not None:
            return functional.causal_conv(y, kernel, self.flips, policy=self.policy)
        taps = self.kernel()
        return functional.causal_solve(y.to(taps.dtype), taps, self.flips, None, self.method)

    def steps(self, size: Sequence[int]) -> int:
        """How many dependent steps the wavefront takes on a signal of that size: H + W − 1 for an image."""
        return 1 + sum(n - 1 for n in functional.numbers("size", tuple(size), self.ndim, 1))

    @torch.no_grad()
    def inverse_kernel(self, size: Sequence[int]) -> Tensor:
        """The impulse response (channels, channels / orders, *size) of the inverse in each group's frame, nearest position last.

        `inverse` takes it, for signals of that size. Made by Newton's doublings.
        """
        return functional.inverse_kernel(self.kernel(), self._size(size), len(self.orders))

    @torch.no_grad()
    def inverse_gain(self, size: Sequence[int]) -> float:
        """The largest max|x| of an inverse for max|y| = 1 on signals of that size, computed from its impulse response."""
        size, groups, kernel = self._size(size), len(self.orders), self.kernel()
        impulses = kernel.new_zeros(self.width, groups, self.width, math.prod(size))
        impulses[..., 0] = torch.eye(self.width).to(kernel).unsqueeze(1)
        plain = [[False] * self.ndim] * groups
        found = functional.causal_solve(impulses.flatten(1, 2).unflatten(-1, size), kernel, plain, None, "wavefront")
        return float(found.abs().flatten(2).sum((0, 2)).max())

    @torch.no_grad()
    def contraction(self) -> float:
        """ρ = Σ over earlier taps of ‖L⁻¹·A‖∞ of the worst group, L its corner: below 1, the inverse is stable at every size."""
        corner = self.corner()
        taps = self.weight.unflatten(0, (len(self.orders), self.width)).movedim(-1, 1)
        scaled = torch.linalg.solve_triangular(corner.unsqueeze(1), taps, upper=False)
        return float(scaled.abs().sum(-1).amax(-1).sum(-1).max()) if taps.numel() else 0.0

    @torch.no_grad()
    def inverse_bound(self) -> float:
        """A bound on `inverse_gain` for every size, ‖L⁻¹‖∞ / (1 − ρ); infinite where ρ ≥ 1 and nothing is certified."""
        rho = self.contraction()
        corner = self.corner()
        eye = torch.eye(self.width, dtype=corner.dtype, device=corner.device).expand_as(corner)
        largest = torch.linalg.solve_triangular(corner, eye, upper=False).abs().sum(-1).max()
        return float(largest) / (1 - rho) if rho < 1 else math.inf

    def _size(self, size: Sequence[int]) -> tuple[int, ...]:
        return functional.numbers("size", tuple(size), self.ndim, 1)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE, "invertible"})

    def shapes(self, *inputs: Any) -> Any:
        return tuple(inputs[0]), (inputs[0][0],)

    def parameter_count(self) -> int:
        learnt = self.channels * self.width * (math.prod(self.kernel_size) - 1)
        learnt += len(self.orders) * self.width * (self.width - 1) // 2
        return learnt + (0 if self.log_diag is None else self.channels)

    def definition(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        """Group by group: flip, pad (k − 1) in front of every axis, a valid convolution, flip back."""
        (x,) = inputs
        ones, width, results, total = (1,) * self.ndim, self.width, [], 0.0
        for g, flips in enumerate(self.flips):
            kernel = self.weight.new_zeros(width, width, math.prod(self.kernel_size))
            own = slice(g * width, (g + 1) * width)
            kernel[..., :-1] = self.weight[own]
            entries = iter([] if self.mixing is None else self.mixing[g])
            for o in range(width):
                for i in range(o):
                    kernel[o, i, -1] = next(entries)
                kernel[o, o, -1] = 1.0 if self.log_diag is None else self.log_diag[g * width + o].exp()
                total = total + kernel[o, o, -1].log() * math.prod(x.shape[2:])
            axes = [2 + a for a, f in enumerate(flips) if f]
            pads = [(k - 1, 0) for k in self.kernel_size]
            y = conv_by_taps(x[:, own].flip(axes), kernel.unflatten(-1, self.kernel_size), None, ones, pads, ones)
            results.append(y.flip(axes))
        return torch.cat(results, 1), torch.as_tensor(total).to(x).expand(x.shape[0])

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "channels": 2}, ((2, 2, 7),))
        yield Example({"ndim": 2, "channels": 8, "kernel_size": 2, "learn_diag": True}, ((2, 8, 4, 3),))
        common = {"ndim": 2, "channels": 4, "kernel_size": (3, 2)}
        yield Example({**common, "orders": ("BR", "TR"), "inverse": "newton"}, ((2, 4, 3, 5),))
        yield Example({**common, "orders": ("BL",), "learn_diag": True, "inverse": "scan"}, ((2, 4, 5, 3),))
        yield Example({"ndim": 3, "channels": 8, "kernel_size": 2, "inverse": "wavefront"}, ((1, 8, 3, 2, 3),))
        yield Example({"ndim": 4, "channels": 4, "kernel_size": 2, "orders": ("SFTL", "EBTR")}, ((1, 4, 2, 3, 2, 2),))


def corners(ndim: int) -> tuple[str, ...]:
    """All corners of a grid in words: `TL, TR, BL, BR` for two axes."""
    if ndim > len(LETTERS):
        raise ArgumentError.of(
            "orders", f"corners in at most {len(LETTERS)} dimensions", f"{ndim} dimensions", "use fewer axes"
        )
    return tuple("".join(word) for word in itertools.product(*LETTERS[len(LETTERS) - ndim :]))


def _flips(order: str, ndim: int) -> tuple[bool, ...]:
    """Whether each axis is walked from its far end for the corner of that name."""
    known = corners(ndim)
    if order not in known:
        raise ArgumentError.of("orders", f"corners among {', '.join(known)}", repr(order), "name one end of every axis")
    return tuple(letter == pair[1] for letter, pair in zip(order, LETTERS[len(LETTERS) - ndim :], strict=True))
