"""From a differential equation x' = A x + B u to steps in time: the generalised bilinear transform and the zero-order hold."""

from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.functional.vandermonde import Planes

ALPHAS = {"euler": 0.0, "bilinear": 0.5, "backward": 1.0}


def checked(disc: Any) -> float | None:
    """The alpha behind a discretisation, None for the zero-order hold; ArgumentError where it is none."""
    if disc == "zoh":
        return None
    if isinstance(disc, str) and disc in ALPHAS:
        return ALPHAS[disc]
    if isinstance(disc, (int, float)) and not isinstance(disc, bool) and 0 <= disc <= 1:
        return float(disc)
    words = ", ".join(("zoh", *ALPHAS))
    raise ArgumentError.of("disc", f"one of {words}, or a number from 0 to 1", repr(disc), "choose one of these")


def discretise(A: Tensor, B: Tensor, dt: Tensor | float, disc: str | float = "bilinear") -> tuple[Tensor, Tensor]:
    """The matrices (Ā, B̄) of `x_t = Ā x_{t−1} + B̄ u_t` that stand for x' = A x + B u in steps of dt.

    Formula: `Ā = (I − α·dt·A)⁻¹ (I + (1 − α)·dt·A)`, `B̄ = dt (I − α·dt·A)⁻¹ B`; for the zero-order hold `Ā = exp(dt·A)` and
    `B̄ = A⁻¹ (Ā − I) B`, which is computed for singular A as well.

    Shapes: A (*, N, N), B (*, N), dt a number or (*); returns the same shapes, joined.

    Args:
        disc: euler (α = 0), bilinear (½), backward (1), any α from 0 to 1, or zoh. Default bilinear. Bilinear, backward and
            zoh keep the step inside the unit disc where the eigenvalues of A are left of the imaginary axis; euler does for small
            dt only.

    Raises:
        ArgumentError: a word or number that names no discretisation.

    Source: Zhang, Performance recovery in digital implementation of analogue systems (2007), for the generalised transform.

    Example:
        >>> step, push = discretise(torch.tensor([[-1.0]]), torch.tensor([1.0]), 0.25, "backward")
        >>> step.item(), push.item()  # x_t = (x_{t−1} + dt·u_t) / (1 + dt)
        (0.800000011920929, 0.20000000298023224)
    """
    alpha = checked(disc)
    dt = torch.as_tensor(dt, dtype=A.real.dtype, device=A.device)[..., None, None]
    N, all_of = A.shape[-1], torch.broadcast_shapes(A.shape[:-2], B.shape[:-1], dt.shape[:-2])
    scaled, pushed = (dt * A).expand(*all_of, N, N), (dt * B[..., None]).expand(*all_of, N, 1)
    if alpha is None:
        joined = torch.cat([scaled, pushed], -1)
        whole = torch.linalg.matrix_exp(torch.nn.functional.pad(joined, (0, 0, 0, 1)))
        return whole[..., :N, :N], whole[..., :N, N]
    eye = torch.eye(N, dtype=A.dtype, device=A.device)
    both = torch.linalg.solve(eye - alpha * scaled, torch.cat([eye + (1 - alpha) * scaled, pushed], -1))
    return both[..., :N], both[..., N]


def discrete_modes(z: Planes, disc: str | float) -> tuple[Planes, Planes]:
    """The same for numbers z = dt·A in place of matrices: the logarithm of Ā, and B̄ / (dt·B), both as planes.

    Real z stay real for the zero-order hold only: the other transforms make steps below 0, whose logarithm has a phase.
    """
    alpha, (x, y) = checked(disc), z
    if alpha is None:
        if y is None:
            return z, (torch.expm1(x) / x, None)
        re = torch.expm1(x) * y.cos() - 2 * (y / 2).sin() ** 2  # of exp(z) − 1, without cancellation
        return z, divided((re, x.exp() * y.sin()), (x, y))
    y = torch.zeros_like(x) if y is None else y
    up, down = (1 + (1 - alpha) * x, (1 - alpha) * y), (1 - alpha * x, -alpha * y)
    size = (up[0] ** 2 + up[1] ** 2).clamp_min(1e-300).log() - (down[0] ** 2 + down[1] ** 2).log()
    phase = torch.atan2(up[1], up[0]) - torch.atan2(down[1], down[0])
    return (size / 2, phase), divided((torch.ones_like(x), torch.zeros_like(x)), down)


def divided(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The quotient of two complex numbers as planes."""
    size = b[0] ** 2 + b[1] ** 2
    return (a[0] * b[0] + a[1] * b[1]) / size, (a[1] * b[0] - a[0] * b[1]) / size
