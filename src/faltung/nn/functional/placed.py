"""Kernels whose elements stand at real positions: placed on a window of taps, differentiable in weight, position and width."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from faltung import torch_gate
from faltung.errors import ArgumentError, DtypeError
from faltung.kernels.place import on_numba
from faltung.kernels.place.contract import SMALLEST
from faltung.nn.functional.convolution import numbers

INTERPOLATIONS = {"bilinear": "linear", "bilinear_norm": "shares", "triangle": "shares", "gauss": "gauss"}
FLOORS = {"bilinear": 1.0, "bilinear_norm": 1.0, "triangle": 1.0, "gauss": 0.27}
"""What is added to the absolute width of an element."""
PIECE = 1 << 22  # values that one step of the formula in torch may hold


def placed(
    weight: Tensor,
    position: Tensor,
    width: Tensor | None,
    window: Any,
    interpolation: str = "gauss",
    floor: float | None = None,
) -> Tensor:
    """Kernels on a window of taps from elements at real positions; what `faltung.nn.DCLSConv` convolves with.

    Formula: `y[r, q] = Σ_m weight[r, m] · φ(q; p[:, r, m], s[:, r, m])` for all taps q of the window, with `p_d = position_d +
    ⌊window_d / 2⌋` and `s = |width| + floor`. φ is

    - `bilinear`: `Π_d max(0, s_d − |q_d − p_d|)`, s = 1;
    - `bilinear_norm`: the same divided by its sum over q (0 where it reaches no tap);
    - `triangle`: as bilinear_norm with learnt widths;
    - `gauss`: `exp(−½ Σ_d ((q_d − p_d) / s_d)²)` divided by its sum, which has a limit for s → 0: the nearest tap.

    Shapes: weight (*rows, m), position (n, *rows, m) and width the same, () for one width of all, or None for 0; returns
    (*rows, *window).

    Args:
        window: taps along each of the n axes, 1 to 4 of them.
        floor: the smallest width, at least 0. Default: 0.27 for gauss, 1 for the others.

    Returns:
        A tensor of the weight's dtype, computed in float32 or float64, differentiable any number of times. At a kink (a position
        on a tap) the derivative is the mean of those on its two sides, so elements at the border of the window are not stuck;
        that of |width| at 0 is 1, so that widths that start at 0 learn.

    Raises:
        ArgumentError, DtypeError: tensors or arguments that do not fit.

    Error: that of a sum of m terms; a Gaussian is cut where its share is below the dtype's roundoff.
    Cost: 2ⁿ sums for each element (bilinear), `Π_d (14·s_d + 1)` at most for a Gaussian in float32; no memory but the result.
    Source: Khalfaoui-Hassani, Pellegrini and Masquelier, Dilated convolution with learnable spacings (2023).

    Example:
        >>> placed(torch.ones(1, 1), torch.full((1, 1, 1), 0.25), None, 5, "bilinear")
        tensor([[0.0000, 0.0000, 0.7500, 0.2500, 0.0000]])
    """
    window, floor = _checked(weight, position, width, window, interpolation, floor)
    kind, dtype = INTERPOLATIONS[interpolation], weight.dtype
    wide = torch.promote_types(torch.promote_types(dtype, position.dtype), torch.float32)
    rows = weight.shape[:-1]
    w, p = weight.to(wide).reshape(-1, weight.shape[-1]), position.to(wide).reshape(len(window), -1, weight.shape[-1])
    s = weight.new_zeros((), dtype=wide) if width is None else width.to(wide)
    if s.ndim or s.requires_grad:
        s = s.expand(position.shape).reshape(p.shape)
    if not torch.compiler.is_compiling() and (
        torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    ):
        y = formula(w, p, s, window, kind, floor)
    elif torch_gate.plain(w, p, s):
        y = _placed(w, p, s, window, kind, floor)
    else:
        y = place(w, p, s, window, kind, floor)
    return y.reshape(*rows, *window).to(dtype)


def _checked(
    weight: Any, position: Any, width: Any, window: Any, interpolation: str, floor: float | None
) -> tuple[list[int], float]:
    """Window and floor, after a look at everything."""
    for name, tensor in (("weight", weight), ("position", position), ("width", width)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            if name == "width" and tensor is None:
                continue
            came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise DtypeError.of("placed", f"{name} as a tensor of real numbers", came, "convert it with .float()")
    if interpolation not in INTERPOLATIONS:
        raise ArgumentError.of(
            "interpolation", f"one of {', '.join(INTERPOLATIONS)}", repr(interpolation), "choose one of these"
        )
    n = position.shape[0] if position.ndim else 0
    if not 1 <= n <= on_numba.AXES or weight.ndim < 1 or position.shape[1:] != weight.shape:
        raise ArgumentError.of(
            "placed", f"positions (n, *{tuple(weight.shape)}) for n of 1 to {on_numba.AXES} axes", f"{tuple(position.shape)}",
            "stack one tensor of the weight's shape for each axis",
        )  # fmt: skip
    if width is not None and width.ndim and width.shape != position.shape:
        raise ArgumentError.of(
            "placed", f"widths of shape {tuple(position.shape)} or ()", f"{tuple(width.shape)}", "give each element its own"
        )  # fmt: skip
    taps = numbers("window", tuple(window) if isinstance(window, (tuple, list)) else window, n, 1)
    least = FLOORS[interpolation] if floor is None else float(floor)
    if not 0 <= least < math.inf:
        raise ArgumentError.of("floor", "a number of at least 0", repr(floor), "leave it out for the default")
    return list(taps), least


# -- the formula in plain torch ---------------------------------------------------------------------------------------------


def profiles(p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float) -> list[tuple[Tensor, Tensor]]:
    """For each axis the distances of its taps from the elements and the widths, (rows, taps, m) and (rows or 1, 1, m or 1)."""
    found = []
    for axis, taps in enumerate(window):
        wide = s[axis][:, None] if s.ndim else s
        wide = torch.where(wide < 0, -wide, wide) + floor
        taps_at = torch.arange(taps, dtype=p.dtype, device=p.device)[:, None] - taps // 2
        found.append((taps_at - p[axis][:, None], wide.clamp(min=SMALLEST) if kind == "gauss" else wide))
    return found


def shares(at: Tensor, wide: Tensor, kind: str) -> Tensor:
    """What the taps at these distances get of an element, (rows, taps, m)."""
    if kind == "gauss":
        return torch.softmax(-0.5 * (at / wide) ** 2, 1)
    left = wide - at.abs()
    f = (left.relu() + left.clamp(min=0)) / 2  # at a kink one has the derivative 0 and the other 1
    return f if kind == "linear" else f / _total(f)


def slopes(at: Tensor, wide: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """`shares` with their derivatives for position and width."""
    if kind == "gauss":
        f = shares(at, wide, kind)
        by_position, by_width = f * at / wide**2, f * at**2 / wide**3
    else:
        left = wide - at.abs()
        f, by_width = left.clamp(min=0), (left.sign() + 1) / 2
        by_position = by_width * at.sign()
        if kind == "linear":
            return f, by_position, by_width
        total = _total(f)
        f, by_position, by_width = f / total, by_position / total, by_width / total
    return f, by_position - f * by_position.sum(1, keepdim=True), by_width - f * by_width.sum(1, keepdim=True)


def _total(f: Tensor) -> Tensor:
    total = f.sum(1, keepdim=True)
    return torch.where(total > 0, total, math.inf)


def formula(w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float) -> Tensor:
    """The rows (r, *window) by products of the axes' shares, which torch can differentiate and batch."""
    known = [shares(at, wide, kind) for at, wide in profiles(p, s, window, kind, floor)]
    return torch.einsum(_terms(len(window)), w, *known)


def formula_gradients(
    y: Tensor, w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives of `Σ y · formula(...)` for weight, position and width (zeros for a width that all share)."""
    known = [slopes(at, wide, kind) for at, wide in profiles(p, s, window, kind, floor)]
    letters = "abcd"[: len(window)]
    by_position, by_width, by_weight = [], [], w
    for axis, letter in enumerate(letters):
        others = [(f"r{other}m", known[d][0]) for d, other in enumerate(letters) if d != axis]
        terms = ",".join([f"r{letters}", *(term for term, _ in others)])
        # Against the profiles of all other axes: (rows, taps of this one, m).
        left = torch.einsum(f"{terms}->r{letter}m", y, *(f for _, f in others)) if others else y[..., None]
        by_weight = (left * known[axis][0]).sum(1)
        by_position.append(w * (left * known[axis][1]).sum(1))
        by_width.append(w * (left * known[axis][2]).sum(1))
    signed = torch.stack(by_width) * torch.where(s < 0, -1.0, 1.0) if s.ndim else torch.zeros_like(s)
    return by_weight, torch.stack(by_position), signed


def _terms(n: int) -> str:
    letters = "abcd"[:n]
    return ",".join(["rm", *(f"r{letter}m" for letter in letters)]) + f"->r{letters}"


def _pieces(w: Tensor, window: Sequence[int]) -> list[slice]:
    """Rows that are worked on together, so that memory stays small."""
    each = w.shape[1] * (sum(window) + math.prod(window[:-1])) + math.prod(window)
    step = max(1, PIECE // each)
    return [slice(first, first + step) for first in range(0, w.shape[0], step)]


# -- the operator -----------------------------------------------------------------------------------------------------------


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _placed(w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float) -> Tensor:
    if w.is_cpu:
        threads = torch.get_num_threads()
        return torch.from_numpy(on_numba.placed(_array(w), _array(p), _array(s), window, kind, floor, threads))
    y = w.new_empty(w.shape[0], *window)
    for rows in _pieces(w, window):
        y[rows] = formula(w[rows], p[:, rows], s[:, rows] if s.ndim else s, window, kind, floor)
    return y


def _gradients(
    y: Tensor, w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    if w.is_cpu:
        found = on_numba.gradients(_array(y), _array(w), _array(p), _array(s), kind, floor, torch.get_num_threads())
        return torch.from_numpy(found[0]), torch.from_numpy(found[1]), torch.from_numpy(found[2])
    by_weight, by_position, by_width = torch.empty_like(w), torch.empty_like(p), torch.zeros_like(s)
    for rows in _pieces(w, window):
        own = s[:, rows] if s.ndim else s
        found = formula_gradients(y[rows], w[rows], p[:, rows], own, window, kind, floor)
        by_weight[rows], by_position[:, rows] = found[:2]
        if s.ndim:
            by_width[:, rows] = found[2]
    return by_weight, by_position, by_width


@torch.library.custom_op("faltung::place", mutates_args=())
def place(w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float) -> Tensor:
    """`formula` as an operator of its own: compiled for the processor, in pieces elsewhere."""
    return _placed(w, p, s, window, kind, floor)


@torch.library.custom_op("faltung::place_gradients", mutates_args=())
def place_gradients(
    y: Tensor, w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`formula_gradients` as an operator of its own."""
    return _gradients(y, w, p, s, window, kind, floor)


@place.register_fake
def _(w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float) -> Tensor:
    return w.new_empty(w.shape[0], *window)


@place_gradients.register_fake
def _(
    y: Tensor, w: Tensor, p: Tensor, s: Tensor, window: Sequence[int], kind: str, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    return w.new_empty(w.shape), p.new_empty(p.shape), s.new_empty(s.shape)


def _keep(ctx: Any, inputs: tuple, output: Any) -> None:
    tensors, ctx.settings = [a for a in inputs if isinstance(a, Tensor)], inputs[-3:]
    ctx.save_for_backward(*tensors)


def _place_backward(ctx: Any, y: Tensor) -> tuple:
    w, p, s = ctx.saved_tensors
    by_weight, by_position, by_width = place_gradients(y, w, p, s, *ctx.settings)
    return by_weight, by_position, by_width if s.ndim else None, None, None, None


def _gradients_backward(ctx: Any, *cotangents: Tensor) -> tuple:
    _, back = torch.func.vjp(lambda *a: formula_gradients(*a, *ctx.settings), *ctx.saved_tensors)
    return (*back(cotangents), None, None, None)


place.register_autograd(_place_backward, setup_context=_keep)
place_gradients.register_autograd(_gradients_backward, setup_context=_keep)
