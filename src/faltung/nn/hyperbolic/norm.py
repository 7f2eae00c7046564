"""PoincareBatchNorm: a batch of points moved to a learnt midpoint and scaled to a learnt deviation, in the hyperbolic ball."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled
from faltung.nn.hyperbolic.ball import expmap0, gyration, logmap0, midpoint, mobius_add, project
from faltung.nn.hyperbolic.planes import SOURCE, settings
from faltung.nn.moves import orthogonal, turned_channels


class PoincareBatchNorm(Layer):
    """Batch normalisation in the ball: the batch's midpoint μ goes to a learnt point β, distances from it to a learnt size.

    Formula: with points x, their midpoint μ over batch and places and the mean squared distance σ² to it, `y = β ⊕ gyr[β, −μ]
    expmap0(s·logmap0((−μ) ⊕ x))`, `s = weight / √(σ² + ε)`: the tangent vectors at μ that lead to x, carried parallel to β, scaled.
    In evaluation mode running μ and σ².

    Shapes: input (batch, channels, *n), tangent vectors at 0, returns the same; bias (channels), a tangent vector at 0 that leads
    to β; weight one number; running_mean (channels), as a tangent vector at 0, and running_var.

    Args:
        ndim: number of spatial axes, at least 1.   channels: at least 1.   c: of the curvature −c, at least 0. Default 0.1.
        eps: added to σ², above 0. Default 1e-6.   momentum: share of the batch in the running values, 0 to 1: μ moves that share of
            the way along its geodesic. Default 0.1.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer.

    Error: equivariant to no motion but invariant to all of them up to a rotation, in training mode.
    Source: van Spengler, Berkhout and Mettes, Poincaré ResNet (2023). The reference never moves its running values.

    Example:
        >>> PoincareBatchNorm(2, 3)(torch.randn(4, 3, 5, 5)).shape
        torch.Size([4, 3, 5, 5])
    """

    name = "poincare-batch-norm"
    summary = "batch normalisation in the hyperbolic ball: a learnt midpoint and deviation"
    source = SOURCE
    cost = "60"
    dims = (1, 2, 3, 4)

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        ndim: int,
        channels: int,
        c: float = 0.1,
        eps: float = 1e-6,
        momentum: float = 0.1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.ndim, self.channels = functional.numbers("ndim, channels", (ndim, channels), 2, 1)
        self.c = settings("PoincareBatchNorm", c, 1.0, "identity", 1.0)[0]
        if not eps > 0 or not 0 <= momentum <= 1:
            raise ArgumentError.of(
                "PoincareBatchNorm", "eps above 0 and a momentum from 0 to 1", f"{eps!r}, {momentum!r}", "leave them out"
            )  # fmt: skip
        self.eps, self.momentum = float(eps), float(momentum)
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.ones(1, **factory))
        self.bias = nn.Parameter(torch.zeros(self.channels, **factory))
        self.register_buffer("running_mean", torch.zeros(self.channels, **factory))
        self.register_buffer("running_var", torch.ones(1, **factory))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, self.ndim)
        if input.is_complex():
            raise ArgumentError.of(
                "PoincareBatchNorm", "real tangent vectors", f"{input.dtype}", "take parts as channels"
            )
        column = (1, -1, *[1] * self.ndim)
        x = expmap0(input.to(self.weight.dtype), self.c, 1)
        if self.training:
            mean = midpoint(x, self.c, (0, *range(2, x.ndim)), 1, keepdim=True)
        else:
            mean = expmap0(self.running_mean, self.c).reshape(column)
        away = logmap0(mobius_add(-mean, x, self.c, 1), self.c, 1)
        if self.training:
            # Distances are twice the lengths of tangent vectors at 0, where λ is 2.
            spread = 4 * away.square().sum(1).mean().reshape(1)
            self._follow(mean.detach().flatten(), spread.detach())
        else:
            spread = self.running_var
        there = expmap0(self.bias, self.c).reshape(column)
        scaled = expmap0(away * (self.weight / (spread + self.eps).sqrt()), self.c, 1)
        return logmap0(mobius_add(there, gyration(there, -mean, scaled, self.c, 1), self.c, 1), self.c, 1)

    @torch.no_grad()
    def _follow(self, mean: Tensor, spread: Tensor) -> None:
        """Move the running values a share of the way, the midpoint along its geodesic."""
        old = expmap0(self.running_mean, self.c)
        step = expmap0(self.momentum * logmap0(mobius_add(-old, mean, self.c), self.c), self.c)
        self.running_mean.copy_(logmap0(project(mobius_add(old, step, self.c), self.c), self.c))
        self.running_var.lerp_(spread, self.momentum)

    def definition(self, *inputs: Any) -> Tensor:
        """Row by row with running values, the transport as what is left of three sums."""
        (x,), root, c = inputs, math.sqrt(self.c), self.c

        def to_ball(v: Tensor) -> Tensor:
            n = ((v**2).sum(-1, keepdim=True) + 1e-300).sqrt()
            return torch.tanh(root * n) * v / (root * n)

        def to_tangent(p: Tensor) -> Tensor:
            n = ((p**2).sum(-1, keepdim=True) + 1e-300).sqrt()
            return torch.atanh(root * n) * p / (root * n)

        def plus(a: Tensor, b: Tensor) -> Tensor:
            ab, aa, bb = ((p * q).sum(-1, keepdim=True) for p, q in ((a, b), (a, a), (b, b)))
            return ((1 + 2 * c * ab + c * bb) * a + (1 - c * aa) * b) / (1 + 2 * c * ab + c**2 * aa * bb)

        mean, there = to_ball(self.running_mean), to_ball(self.bias)
        points = to_ball(x.movedim(1, -1))
        w = to_ball(self.weight / (self.running_var + self.eps) ** 0.5 * to_tangent(plus(-mean, points)))
        turned = plus(-plus(there, -mean), plus(there, plus(-mean, w)))
        return to_tangent(plus(there, turned)).movedim(-1, 1)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels + 1

    def symmetries(self) -> Iterable[Symmetry]:
        """In evaluation mode rotations about the running midpoint, which become rotations about the learnt one."""
        yield rolled(1, self.ndim)
        if self.c:
            yield self._turned(0)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        if self.c:
            yield self._turned(int(random.integers(2**31)))

    def _turned(self, seed: int) -> Symmetry:
        c, column = self.c, (1, -1, *[1] * self.ndim)

        def by(v: Tensor) -> Tensor:
            return turned_channels(v, orthogonal(self.channels, seed))

        def before(v: Tensor) -> Tensor:
            mean = expmap0(self.running_mean, c).reshape(column)
            away = mobius_add(-mean, expmap0(v, c, 1), c, 1)
            return logmap0(mobius_add(mean, by(away), c, 1), c, 1)

        def after(v: Tensor) -> Tensor:
            mean, there = (expmap0(p, c).reshape(column) for p in (self.running_mean, self.bias))
            away = gyration(-mean, there, mobius_add(-there, expmap0(v, c, 1), c, 1), c, 1)
            return logmap0(mobius_add(there, gyration(there, -mean, by(away), c, 1), c, 1), c, 1)

        return Symmetry("a rotation about the midpoint", before, after)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 2, "channels": 3}, ((2, 3, 3, 2),))
        yield Example({"ndim": 1, "channels": 2, "c": 0.4, "momentum": 0.5}, ((3, 2, 4),))
