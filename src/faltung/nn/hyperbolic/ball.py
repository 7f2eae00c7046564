"""The Poincaré ball of curvature −c: all x of n numbers with c‖x‖² < 1, its maps, sums, distances and midpoints.

c may be a number or a tensor, which is differentiated as well; at c = 0 the ball is the whole Euclidean space. Points lie along
`dim`, the last axis unless said otherwise. Functions that need a point inside take those beyond the rim (see `project`) for ones on
it, so that no rounding makes infinities.
"""

import math
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.hyperbolic.radial import radial

RIM = {torch.float64: 1e-5, torch.float32: 4e-3}
"""ε by dtype: points stay within (1 − ε)/√c of the middle. Halves: 1e-2."""


def margin(x: Tensor) -> float:
    """ε for the numbers of x."""
    return RIM.get(x.dtype, 1e-2)


def deepest(x: Tensor) -> float:
    """The largest √c‖v‖ of tangent vectors at 0 that stay within the rim: artanh(1 − ε)."""
    return math.atanh(1 - margin(x))


def square_norm(x: Tensor, dim: int = -1) -> Tensor:
    """‖x‖² along an axis that stays, of length 1."""
    return x.square().sum(dim, keepdim=True)


def bounded(x: Tensor, c: Any, most: float, dim: int = -1) -> Tensor:
    """The vector, shortened where √c‖x‖ is above `most`."""
    return x * (most * torch.rsqrt((c * square_norm(x, dim)).clamp(min=most**2)))


def project(x: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The nearest point within the rim, ‖x‖ ≤ (1 − ε)/√c.

    Shapes: any.   Args: x: points.   c: of the curvature −c, at least 0.   dim: their axis. Default −1.

    Example:
        >>> project(torch.tensor([3.0, 4.0]), 1.0).norm()
        tensor(0.9960)
    """
    return bounded(x, c, 1 - margin(x), dim)


def expmap0(v: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The point to which a tangent vector at 0 leads, within the rim.

    Formula: `tanh(√c‖v‖)·v / (√c‖v‖)`.

    Example:
        >>> expmap0(torch.tensor([0.5, 0.0]), 1.0)
        tensor([0.4621, 0.0000])
    """
    v = bounded(v, c, deepest(v), dim)
    return v * radial("tanh", c * square_norm(v, dim))


def logmap0(x: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The tangent vector at 0 that leads to a point.

    Formula: `artanh(√c‖x‖)·x / (√c‖x‖)`.
    """
    x = project(x, c, dim)
    return x * radial("artanh", c * square_norm(x, dim))


def conformal(x: Tensor, c: Any, dim: int = -1) -> Tensor:
    """λ = 2/(1 − c‖x‖²), by which lengths at x are larger than those of coordinates; the axis stays, of length 1."""
    return 2 / (1 - c * square_norm(project(x, c, dim), dim))


def mobius_add(x: Tensor, y: Tensor, c: Any, dim: int = -1) -> Tensor:
    """x ⊕ y, the point to which the translation that takes 0 to x takes y.

    Formula: `((1 + 2c⟨x, y⟩ + c‖y‖²)x + (1 − c‖x‖²)y) / (1 + 2c⟨x, y⟩ + c²‖x‖²‖y‖²)`.

    Shapes: x and y broadcast.

    Raises:
        ArgumentError: different numbers of axes with a `dim` counted from the front, which would name two axes.

    Example:
        >>> mobius_add(torch.tensor([0.5]), torch.tensor([0.5]), 1.0)  # as velocities add
        tensor([0.8000])
    """
    if x.ndim != y.ndim and dim >= 0:
        raise ArgumentError.of(
            "mobius_add", "as many axes in both, or dim counted from behind", f"{x.ndim} and {y.ndim} axes, dim {dim}",
            "add axes of length 1",
        )  # fmt: skip
    if torch.compiler.is_compiling():  # a compiler fuses the derivative of the plain formula itself
        a, b, d, *_ = _coefficients(x, y, c, dim)
        return (a * x + b * y) / d
    found: Tensor = _MobiusAdd.apply(x, y, c if isinstance(c, Tensor) else x.new_tensor(c), dim)
    return found


def dist(x: Tensor, y: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The distance of two points, without their axis; `2‖x − y‖` at c = 0.

    Formula: `(2/√c)·artanh(√c‖(−x) ⊕ y‖)`.

    Error: distances beyond those of the rim count as these.
    """
    away = logmap0(mobius_add(-x, y, c, dim), c, dim).square().sum(dim)
    apart = away > 0
    return 2 * torch.where(apart, torch.where(apart, away, 1).sqrt(), 0)


def expmap(x: Tensor, v: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The point to which a tangent vector at x leads: `x ⊕ expmap0(λ_x v / 2)`."""
    return mobius_add(x, expmap0(conformal(x, c, dim) / 2 * v, c, dim), c, dim)


def logmap(x: Tensor, y: Tensor, c: Any, dim: int = -1) -> Tensor:
    """The tangent vector at x that leads to y: `(2/λ_x)·logmap0((−x) ⊕ y)`."""
    return 2 / conformal(x, c, dim) * logmap0(mobius_add(-x, y, c, dim), c, dim)


def gyration(u: Tensor, v: Tensor, w: Tensor, c: Any, dim: int = -1) -> Tensor:
    """gyr[u, v]w, the rotation by which (u ⊕ v) ⊕ w and u ⊕ (v ⊕ w) differ: `−(u ⊕ v) ⊕ (u ⊕ (v ⊕ w))`, linear in w."""

    def inner(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dim, keepdim=True)

    uu, vv, uv, uw, vw = inner(u, u), inner(v, v), inner(u, v), inner(u, w), inner(v, w)
    along_u = -c * c * uw * vv + c * vw + 2 * c * c * uv * vw
    along_v = -c * c * vw * uu - c * uw
    return w + 2 * (along_u * u + along_v * v) / (1 + 2 * c * uv + c * c * uu * vv)


def transport(x: Tensor, y: Tensor, v: Tensor, c: Any, dim: int = -1) -> Tensor:
    """A tangent vector at x, carried parallel along the geodesic to y: `gyr[y, −x]v·λ_x/λ_y`."""
    return gyration(y, -x, v, c, dim) * (conformal(x, c, dim) / conformal(y, c, dim))


def midpoint(
    x: Tensor, c: Any, over: Any = -2, dim: int = -1, weights: Tensor | None = None, keepdim: bool = False
) -> Tensor:
    """The weighted midpoint of points, which every isometry of the ball takes along.

    Formula: `m = Σ w_i λ_i x_i / Σ w_i (λ_i − 1)`, then `m / (1 + √(1 − c‖m‖²))`.

    Args:
        x: points.   over: the axis or axes of what is averaged. Default −2.   dim: axis of the points. Default −1.
        weights: at least 0, broadcast against x. Default None: all alike.   keepdim: whether `over` stays. Default False.

    Raises:
        ArgumentError: `dim` among `over`.

    Source: Ungar (2010); Shimizu, Mukuta and Harada, Hyperbolic neural networks++ (2021).

    Example:
        >>> midpoint(torch.tensor([[0.6, 0.0], [0.0, 0.0]]), 1.0)
        tensor([0.3333, 0.0000])
    """
    axes = tuple(a % x.ndim for a in (over if isinstance(over, (tuple, list)) else (over,)))
    if dim % x.ndim in axes:
        raise ArgumentError.of("midpoint", f"axes other than that of the points, {dim}", repr(over), "average others")
    x = project(x, c, dim)
    factor = conformal(x, c, dim)
    share = torch.ones_like(factor) if weights is None else weights.expand_as(x).narrow(dim, 0, 1)
    total = (share * (factor - 1)).sum(axes, keepdim=True)
    m = (share * factor * x).sum(axes, keepdim=True) / total.clamp(min=torch.finfo(x.dtype).tiny)
    # ‖m‖ stays below 1/√c, up to rounding on the rim.
    found = m / (1 + (1 - c * square_norm(m, dim)).clamp(min=0).sqrt())
    return found if keepdim else _without(found, axes)


def _without(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    for a in sorted(axes, reverse=True):
        x = x.squeeze(a)
    return x


class _MobiusAdd(torch.autograd.Function):
    """(a·x + b·y)/d, with its derivatives for x, y and c in closed form: two vectors are kept, no chain of products."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, c: Tensor, dim: int) -> Tensor:
        a, b, d, *_ = _coefficients(x, y, c, dim)
        return (a * x + b * y) / d

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.dim = inputs[3]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, y, c = ctx.saved_tensors
        g, dim = gradients[0], ctx.dim
        a, b, d, xy, xx, yy = _coefficients(x, y, c, dim)
        out = (a * x + b * y) / d
        by_a = (g * x).sum(dim, keepdim=True) / d
        by_b = (g * y).sum(dim, keepdim=True) / d
        by_d = -(g * out).sum(dim, keepdim=True) / d
        by_xy, by_xx, by_yy = 2 * c * (by_a + by_d), -c * by_b + c * c * yy * by_d, c * by_a + c * c * xx * by_d
        for_x = a / d * g + by_xy * y + 2 * by_xx * x
        for_y = b / d * g + by_xy * x + 2 * by_yy * y
        for_c = by_a * (2 * xy + yy) - by_b * xx + by_d * (2 * xy + 2 * c * xx * yy)
        return for_x.sum_to_size(x.shape), for_y.sum_to_size(y.shape), for_c.sum_to_size(c.shape), None


def _coefficients(x: Tensor, y: Tensor, c: Any, dim: int) -> tuple[Tensor, ...]:
    xy, xx, yy = (x * y).sum(dim, keepdim=True), square_norm(x, dim), square_norm(y, dim)
    d = 1 + 2 * c * xy + c * c * xx * yy
    # d is at least (1 − c‖x‖‖y‖)², which on the rim of float32 is 6e-5: never 0 for points within it.
    return 1 + 2 * c * xy + c * yy, 1 - c * xx, d, xy, xx, yy
