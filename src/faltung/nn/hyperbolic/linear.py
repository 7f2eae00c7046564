"""PoincareLinear, PoincareAdd and PoincarePool: what stands between hyperbolic convolutions."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import Example, Layer, Symmetry, rolled
from faltung.nn.hyperbolic.ball import expmap0, logmap0, midpoint, mobius_add
from faltung.nn.hyperbolic.motions import isometry
from faltung.nn.hyperbolic.planes import SOURCE, by_formula, identity_planes, settings, through_planes, unit_planes
from faltung.nn.moves import orthogonal, turned_channels

SPACES = ("tangent", "ball")


class PoincareLinear(Layer):
    """A fully connected layer between hyperbolic balls: coordinates of the result are signed distances to planes.

    Formula: `v_k = (2‖z_k‖/√c) arsinh(√c λ⟨x, z_k⟩/‖z_k‖ cosh(2√c r_k) − (λ − 1) sinh(2√c r_k))`, λ = 2/(1 − c‖x‖²), `w =
    sinh(√c v)/√c`, `y = w/(1 + √(1 + c‖w‖²))`. As c falls to 0 it is `2⟨x, z⟩ − 2‖z‖r`.

    Shapes: input (..., in), returns (..., out); weight (out, in), bias r (out).

    Args:
        in_features, out_features: at least 1.   bias: whether planes are moved from 0. Default True.
        c: of the curvature −c, at least 0. Default 0.1.   gain, init: see `PoincareConv`.
        space: whether inputs and results are "tangent" vectors at 0 (default) or points of the "ball".
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer, other inputs.

    Error: as for `PoincareConv`.
    Source: Shimizu, Mukuta and Harada, Hyperbolic neural networks++ (2021); van Spengler et al., Poincaré ResNet (2023).

    Example:
        >>> PoincareLinear(2, 2, c=1.0, space="ball")(torch.tensor([[0.3, 0.4]])).detach()  # ½·I is the identity
        tensor([[0.3000, 0.4000]])
    """

    name = "poincare-linear"
    summary = "a fully connected layer between hyperbolic balls"
    source = "Shimizu, Mukuta and Harada, Hyperbolic neural networks++ (2021)"
    cost = "in_features + 30"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        c: float = 0.1,
        gain: Any = 1.0,
        init: str = "identity",
        space: str = "tangent",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = functional.numbers(
            "in_features, out_features", (in_features, out_features), 2, 1
        )
        self.c, self.first = settings("PoincareLinear", c, gain, init, 1.0)
        if space not in SPACES:
            raise ArgumentError.of("PoincareLinear", f"space among {', '.join(SPACES)}", repr(space), "leave it out")
        self.init, self.space = init, space
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(self.out_features, self.in_features, **factory))
        self.register_parameter("bias", nn.Parameter(torch.empty(self.out_features, **factory)) if bias else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Planes through 0: an identity, or normal ones."""
        if self.init == "normal":
            nn.init.normal_(self.weight, std=0.5 * self.first / math.sqrt(self.in_features))
        else:
            identity_planes(self.weight, self.first)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 2 or input.shape[-1] != self.in_features or input.is_complex():
            raise ArgumentError.of(
                "PoincareLinear", f"real inputs (..., {self.in_features})", f"{input.dtype} {tuple(input.shape)}",
                "give it that many features",
            )  # fmt: skip
        u = logmap0(input, self.c) if self.space == "ball" else input
        planes, length = unit_planes(self.weight)
        inner = nn.functional.linear(u, planes)
        wide = torch.promote_types(inner.dtype, torch.float32)
        shift = torch.zeros_like(length) if self.bias is None else self.bias
        square = u.to(wide).square().sum(-1, keepdim=True)
        y = through_planes(inner.to(wide), square, length, shift, self.c, -1)
        return expmap0(y, self.c) if self.space == "ball" else y

    def definition(self, *inputs: Any) -> Tensor:
        from faltung.nn.hyperbolic.ball import margin

        rows, root = inputs[0].reshape(-1, self.in_features), math.sqrt(self.c)
        rim = 1 - margin(rows)
        norm = ((rows**2).sum(1, keepdim=True) + 1e-300).sqrt()
        reach = root * norm if self.space == "ball" else torch.tanh(root * norm)
        shift = self.weight.new_zeros(self.out_features) if self.bias is None else self.bias
        y = by_formula(reach.clamp(max=rim) * rows / (root * norm), self.weight, shift, self.c)
        size = ((y**2).sum(1, keepdim=True) + 1e-300).sqrt()
        far = (root * size).clamp(max=rim)
        far = far if self.space == "ball" else torch.atanh(far)
        return (far * y / (root * size)).reshape(*inputs[0].shape[:-1], self.out_features)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (*inputs[0][:-1], self.out_features)

    def parameter_count(self) -> int:
        return self.out_features * (self.in_features + (0 if self.bias is None else 1))

    def symmetries(self) -> Iterable[Symmetry]:
        yield Symmetry(
            "rows in another order", lambda x: x.flip(*range(x.ndim - 1)), lambda y: y.flip(*range(y.ndim - 1))
        )
        if self.bias is None:  # planes through 0
            yield Symmetry("the point at the other side", lambda x: -x, lambda y: -y)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"in_features": 3, "out_features": 4}, ((2, 3),))
        yield Example(
            {"in_features": 2, "out_features": 2, "c": 0.02, "space": "ball", "bias": False, "init": "normal"}, ((2, 3, 2),)
        )  # fmt: skip


class PoincareAdd(Layer):
    """The skip of a hyperbolic network: the Möbius sum of two maps of tangent vectors, over their channels.

    Formula: `logmap0(expmap0(f) ⊕ expmap0(x))`. The sum does not commute; at c = 0 it is the plain one.

    Shapes: two inputs (batch, channels, *n), returns the same.

    Args:
        c: of the curvature −c, at least 0. Default 0.1.

    Raises:
        ArgumentError: a curvature below 0, inputs of two shapes.

    Source: van Spengler et al., Poincaré ResNet (2023). The reference adds along the last axis, which is one of space.

    Example:
        >>> PoincareAdd()(torch.zeros(1, 2, 3), torch.ones(1, 2, 3))[0, 0]
        tensor([1.0000, 1.0000, 1.0000])
    """

    name = "poincare-add"
    summary = "the Möbius sum of two hyperbolic maps, as a skip"
    source = SOURCE
    cost = "30"

    def __init__(self, c: float = 0.1) -> None:
        super().__init__()
        self.c = settings("PoincareAdd", c, 1.0, "identity", 1.0)[0]

    def forward(self, branch: Tensor, input: Tensor) -> Tensor:
        self.expect(branch, None, None)
        self.expect(input, None, None)
        if branch.shape != input.shape or input.ndim < 2:
            raise ArgumentError.of(
                "PoincareAdd", "two maps (batch, channels, *n) of one shape", f"{tuple(branch.shape)} and {tuple(input.shape)}",
                "give the skip a convolution",
            )  # fmt: skip
        one, two = (expmap0(a.to(torch.promote_types(a.dtype, torch.float32)), self.c, 1) for a in (branch, input))
        return logmap0(mobius_add(one, two, self.c, 1), self.c, 1)

    def definition(self, *inputs: Any) -> Tensor:
        root = math.sqrt(self.c)

        def norm(a: Tensor) -> Tensor:
            return ((a**2).sum(1, keepdim=True) + 1e-300).sqrt()

        x, y = (torch.tanh(root * norm(a)) * a / (root * norm(a)) for a in inputs)
        product, c = (x * y).sum(1, keepdim=True), self.c
        above = (1 + 2 * c * product + c * norm(y) ** 2) * x + (1 - c * norm(x) ** 2) * y
        z = above / (1 + 2 * c * product + c**2 * norm(x) ** 2 * norm(y) ** 2)
        return torch.atanh(root * norm(z)) * z / (root * norm(z))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        seed = int(random.integers(2**31))

        def turned(v: Tensor) -> Tensor:
            return turned_channels(v, orthogonal(v.shape[1], seed))

        yield Symmetry("a rotation of the ball", lambda *x: tuple(map(turned, x)), turned, together=True)

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4), (2, 3, 4)))
        yield Example({"c": 0.3}, ((1, 2, 2, 3), (1, 2, 2, 3)))


class PoincarePool(Layer):
    """The midpoint of a map's points over all places: one tangent vector for each sample.

    Formula: `logmap0(midpoint over places of expmap0(x))`; it moves with every isometry of the ball.

    Shapes: input (batch, channels, *n), returns (batch, channels).

    Args:
        c: of the curvature −c, at least 0. Default 0.1.

    Raises:
        ArgumentError: a curvature below 0, an input without places.

    Source: van Spengler et al., Poincaré ResNet (2023).

    Example:
        >>> PoincarePool()(torch.ones(1, 2, 3, 3))
        tensor([[1.0000, 1.0000]])
    """

    name = "poincare-pool"
    summary = "the hyperbolic midpoint over all places"
    source = SOURCE
    cost = "0"

    def __init__(self, c: float = 0.1) -> None:
        super().__init__()
        self.c = settings("PoincarePool", c, 1.0, "identity", 1.0)[0]

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        if input.ndim < 3:
            raise ArgumentError.of(
                "PoincarePool", "an input (batch, channels, *n)", f"{tuple(input.shape)}", "add an axis"
            )
        points = expmap0(input.to(torch.promote_types(input.dtype, torch.float32)), self.c, 1)
        return logmap0(midpoint(points, self.c, tuple(range(2, input.ndim)), 1), self.c, 1)

    def definition(self, *inputs: Any) -> Tensor:
        c, root = self.c, math.sqrt(self.c)
        flat = inputs[0].flatten(2)
        norm = ((flat**2).sum(1, keepdim=True) + 1e-300).sqrt()
        x = torch.tanh(root * norm) * flat / (root * norm)
        factor = 2 / (1 - c * (x**2).sum(1, keepdim=True))
        m = (factor * x).sum(2) / (factor - 1).sum(2)
        m = m / (1 + (1 - c * (m**2).sum(1, keepdim=True)).sqrt())
        size = ((m**2).sum(1, keepdim=True) + 1e-300).sqrt()
        return torch.atanh(root * size) * m / (root * size)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0][:2])

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, 1, stays=True)
        if self.c:
            yield isometry(self.c, 0)

    def random_symmetries(self, random: np.random.Generator) -> Iterable[Symmetry]:
        yield from super().random_symmetries(random)
        if self.c:
            yield isometry(self.c, int(random.integers(2**31)))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 3, 2),))
        yield Example({"c": 0.5}, ((1, 2, 4),))
