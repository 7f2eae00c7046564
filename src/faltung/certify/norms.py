"""The norm of a convolution with its stride, groups and boundary: guaranteed from above, attained from below."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from faltung.certify import gram, supremum
from faltung.certify.bound import Bound
from faltung.certify.operator import Operator, circle_copies, copies, repeats, usual_copies
from faltung.certify.reshaped import laid_out
from faltung.errors import ArgumentError
from faltung.filters import Symbol
from faltung.filters.filter import whole

METHODS = ("auto", "gram-fft", "gram-tap", "svd", "reshaped", "patches")
COARSE = ("gram-tap", "reshaped", "patches")  # no grid of the size that is asked about
GRID = 4096  # up to so many frequencies the norm for one size is found on that size's own grid


def spectral_norm(
    layer: Any,
    input_size: Any = None,
    *,
    method: str = "auto",
    rtol: float = 0.01,
    n_iter: int | None = None,
    transposed: bool = False,
    **settings: Any,
) -> Bound:
    """The largest factor by which a convolution can lengthen a signal, in the l2 norm: what no signal exceeds.

    Formula: `‖K‖ = max ‖K x‖₂ / ‖x‖₂`. With zero padding it is at most `sup_ω σ₁(F(ω))` of the symbol F (of the polyphase
    kernel for a stride, the largest of all groups), whatever the size of the input, and comes close to it for large ones. σ₁
    is bounded by Gram iteration, the supremum over ω by a theorem on trigonometric polynomials (see
    `faltung.certify.supremum`). Margins that repeat samples multiply by √(largest number of copies) for each axis: √2 for
    reflect, √(1 + p) for replicate. A circular margin costs nothing where the windows go round the circle once.

    Shapes: layer weight (out, in / groups, *k), for `transposed` (in, out / groups, *k); input_size (*n) or one number for all
        axes.

    Args:
        layer: a convolution layer of torch or of this library, transposed or not, or a kernel, array or tensor, with `settings`.
        input_size: spatial size of the input for which alone the bound is to hold. Default None: for all sizes.
        method: `auto`; `gram-fft`, the grid of that size (needs input_size); `gram-tap`, Gram iteration on taps: coarser; `svd`,
            singular values in the place of Gram iteration. To compare with, coarser still: `patches`, √∏⌈k / stride⌉ times the norm
            of the matrix from patches to results; `reshaped`, the least of that and of its likes with other axes of taps by the
            outputs, four for two axes. Default auto.
        rtol: how far apart the supremum's two bounds may be, relatively, above 0. Default 0.01.
        n_iter: number of Gram steps. Default None: as many as rtol needs (4 for gram-tap).
        transposed: whether a kernel is that of a transposed convolution.
        settings: stride, padding, dilation, groups, padding_mode, output_padding as in torch, for a kernel. Defaults as in torch.

    Returns:
        A `Bound`; `upper` is a tensor with a gradient where the kernel asks for one (the gradient at the frequency of the peak).
        `lower` is attained: by some large enough input, or with input_size by a signal of that size.

    Raises:
        ArgumentError: no convolution, settings that do not fit, an unknown method.

    Error: upper includes the rounding of its own computation (`faltung.certify.gram.slack`, about 1e-11, relatively); it is
        about the real-valued map, not about the rounding of a float32 network.
    Cost: some hundred Gram iterations of min(in, out) square; with `gram-fft` one for each frequency of the grid.
    Source: Delattre, Barthélemy, Araujo and Allauzen (2023) for the iteration; M. Riesz (1914) and Hörmander (1955) for the
        step from a grid to all frequencies; Sedghi, Gupta and Long (2019) for circular operators; Singla and Feizi, Fantastic
        four (2021) for `reshaped`.

    Example:
        >>> laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
        >>> bound = spectral_norm(laplacian, padding=1)
        >>> bound.lower <= 8 <= bound.upper <= 8.08
        True
        >>> bound.certified_for
        'every input size'
    """
    who = "spectral_norm"
    if method not in METHODS:
        raise ArgumentError.of(who, f"a method among {', '.join(METHODS)}", repr(method), "choose one of these")
    check_rtol(who, rtol)
    steps = None if n_iter is None else whole(who, "n_iter", n_iter, 0)
    operator = Operator.read(layer, who, transposed, **settings)
    size = None if input_size is None else _sizes(input_size, operator.ndim)
    if method == "gram-fft" and size is None:
        raise ArgumentError.of(
            who, "an input_size for method 'gram-fft'", "None", "give the size, or use method 'auto'"
        )
    upper, lower, said = _best(operator, size, method, rtol, steps)
    if size is not None:
        exact = operator.padding_mode == "circular" and _goes_round(operator, size) and method not in COARSE
        lower, scope = (
            lower if exact and "between" not in said else attained(operator, size),
            f"input size {' x '.join(map(str, size))}",
        )
    else:
        least = _least(operator)
        scope = "every input size" if max(least) <= 1 else f"every input size of at least {' x '.join(map(str, least))}"
    upper = upper if upper.requires_grad else float(upper)
    return Bound(lower, upper, said, scope)


def check_rtol(who: str, rtol: float) -> None:
    """Refuse a tolerance that no refinement reaches."""
    if not rtol > 0:
        raise ArgumentError.of(who, "rtol above 0", repr(rtol), "use 0.01")


def upper_bound(operator: Operator, size: tuple[int, ...] | None, rtol: float) -> float:
    """The upper end alone: no power iteration at the size of the input."""
    with torch.no_grad():
        return float(_best(operator, size, "auto", rtol, None)[0])


def _best(
    operator: Operator, size: tuple[int, ...] | None, method: str, rtol: float, steps: int | None
) -> tuple[Tensor, float, str]:
    """The smallest upper bound of all ways to see the boundary."""
    found = [_one(operator, case, method, rtol, steps) for case in _cases(operator, size)]
    return min(found, key=lambda entry: float(entry[0].detach()))


def _one(operator: Operator, case: "_Case", method: str, rtol: float, steps: int | None) -> tuple[Tensor, float, str]:
    """(upper bound, lower bound of the supremum, method) by one way to see the boundary."""
    symbol = Symbol(operator.weight, case[0], operator.dilation, operator.groups)
    factor, grid = case[1], case[2]
    if method in ("reshaped", "patches"):
        phases = symbol.reduced().polyphase()
        lower = supremum.over_all(phases, 1.0, None, False).lower
        return laid_out(phases, method == "reshaped") * factor, lower, method
    if method == "gram-tap":
        phases = symbol.reduced().polyphase()
        taps, count = phases.taps(), 4 if steps is None else max(steps, 1)
        taps = taps if taps.shape[1] <= taps.shape[2] else taps.transpose(1, 2)
        rows = supremum.tap_rows(taps, count)
        lower = supremum.over_all(phases, 1.0, None, False).lower
        points = math.prod(2**count * (k - 1) + 1 for k in phases.size)
        return _outward(rows.max(), factor, phases, points), lower, f"gram-tap, {count} steps"
    on_grid = grid is not None and (method == "gram-fft" or math.prod(grid) <= GRID)
    svd = method == "svd"
    if on_grid and grid is not None:
        phases = symbol.polyphase()
        if any(d > 1 for d in phases.dilation):  # on this very grid dilation matters; spread the taps out
            phases = Symbol(_spread_out(phases), groups=phases.groups)
        peak = supremum.over_grid(phases, grid, rtol, steps, svd)
    else:
        phases = symbol.reduced().polyphase()
        peak = supremum.over_all(phases, rtol, steps, svd)
    words = f"{'svd' if svd else f'gram, {peak.steps} steps'}, {peak.points} frequencies{'' if on_grid else ' and all between'}"
    upper: Tensor = torch.tensor(peak.upper, dtype=torch.float64)
    if operator.weight.requires_grad and torch.is_grad_enabled():
        here = supremum.again(phases, peak, svd)
        # the same number, times the constant that leads from the grid to all frequencies
        size = float(here.detach())
        upper = here * (peak.upper / size) if size > 0 else here
    return _outward(upper, factor, phases, peak.points), peak.lower, words


_Case = tuple[tuple[int, ...], float, tuple[int, ...] | None]


def _outward(upper: Tensor, factor: float, symbol: Symbol, points: int) -> Tensor:
    """Times the boundary's factor, and rounded up by all that rounding may hide."""
    return upper * (factor * (1 + gram.slack(min(symbol.channels), math.prod(symbol.size), points)))


def _cases(operator: Operator, size: tuple[int, ...] | None) -> list[_Case]:
    """The ways to see the boundary: (strides, factor, grid of the result on which all is circular or None).

    An axis either repeats samples in a margin, or, if it is circular, is a circle on which the windows lie: s apart where s
    divides its size, else as some of those of stride 1.
    """
    if operator.transposed:
        size = None if size is None else tuple(operator.apply(_one_sample(operator, size)).shape[2:])
    counts = (None,) * operator.ndim if size is None else operator.result(size)
    ways = []
    for axis, (s, d, t, (lo, hi), m) in enumerate(
        zip(operator.stride, operator.dilation, operator.symbol.size, operator.pads, counts, strict=True)
    ):
        n = None if size is None else size[axis]
        reach = d * (t - 1)
        some: list[tuple[int, float, int | None]] = []  # (stride, copies, size of the circle of results)
        if operator.padding_mode == "circular":
            held = circle_copies(n, lo, hi, reach, s)
            divides = n is not None and n % s == 0
            some.append((s, held, n // s if n is not None and divides else None))
            if n is not None and m is not None and not divides:
                some.append((1, repeats(n, m, s), n))
            elif n is None and s > 1 and lo + hi <= reach:
                some.append((1, 1, None))
        elif n is None or m is None:
            some.append((s, usual_copies(operator.padding_mode, lo, hi)[0], None))
        else:
            # a circle so large that no window sees two ends of the signal
            behind = max(0, (m - 1) * s - lo + reach - (n - 1)) if operator.padding_mode == "zeros" else 0
            line = n if operator.padding_mode == "zeros" else n + lo + hi
            ahead = max(lo, 0) if operator.padding_mode == "zeros" else 0
            circle = max(-(-(line + max(behind, ahead)) // s), m)
            if operator.padding_mode != "zeros":
                circle = max(circle, -(-((m - 1) * s + reach + 1) // s))
            some.append((s, copies(operator.padding_mode, n, lo, hi), circle))
        ways.append(some)
    return [_joined(case) for case in itertools.product(*ways)]


def _joined(case: Sequence[tuple[int, float, int | None]]) -> _Case:
    circles = [circle for _, _, circle in case]
    whole_grid = None if any(c is None for c in circles) else tuple(c for c in circles if c is not None)
    return tuple(s for s, _, _ in case), math.prod(c for _, c, _ in case) ** 0.5, whole_grid


def _least(operator: Operator) -> list[int]:
    """The smallest sizes for which a bound for all sizes holds."""
    found = []
    for (lo, hi), d, t, s in zip(operator.pads, operator.dilation, operator.symbol.size, operator.stride, strict=True):
        free = operator.padding_mode == "circular" and lo + hi <= d * (t - 1) and s == 1
        found.append(1 if free else usual_copies(operator.padding_mode, lo, hi)[1])
    return found


def _goes_round(operator: Operator, size: tuple[int, ...]) -> bool:
    """Whether the windows go round each circle exactly once: then the gains of the grid are attained."""
    return not operator.transposed and all(
        m * s == n for m, s, n in zip(operator.result(size), operator.stride, size, strict=True)
    )


def _spread_out(symbol: Symbol) -> Tensor:
    """The kernel with zeros between its taps."""
    size = tuple(d * (t - 1) + 1 for d, t in zip(symbol.dilation, symbol.size, strict=True))
    wide = symbol.weight.new_zeros((*symbol.weight.shape[:2], *size))
    places = tuple(slice(0, None, d) for d in symbol.dilation)
    wide[(slice(None), slice(None), *places)] = symbol.weight
    return wide


def attained(operator: Operator, size: tuple[int, ...], steps: int = 24) -> float:
    """A factor by which some signal of that size is lengthened: the best of a Krylov space of KᵀK, started at one fixed signal.

    Error: rounded down by 1e-12.
    """
    weight = operator.weight.detach()
    still = replace(operator, weight=weight.to(torch.complex128 if weight.is_complex() else torch.float64))
    shape = (1, operator.inputs, *size)
    x = torch.randn(shape, dtype=still.weight.dtype, generator=torch.Generator().manual_seed(0)).to(weight.device)
    space: list[Tensor] = []
    images: list[Tensor] = []
    for _ in range(min(steps, x.numel())):
        for _ in range(2):  # twice is enough
            for other in space:
                x = x - other * torch.vdot(other.flatten(), x.flatten())
        length = x.norm()
        if not length > 1e-9:
            break
        x = (x / length).requires_grad_()
        with torch.enable_grad():
            y = still.apply(x)
            (back,) = torch.autograd.grad(y, x, y.detach())
        space.append(x.detach())
        images.append(y.detach().flatten())
        x = back / max(float(back.norm()), 1e-300)
    _, _, turn = torch.linalg.svd(torch.stack(images, 1), full_matrices=False)
    best = sum(c * v for c, v in zip(turn[0].conj(), space, strict=True))
    return float(still.apply(best).norm() / best.norm()) * (1 - 1e-12)


def _one_sample(operator: Operator, size: tuple[int, ...]) -> Tensor:
    """Zeros of that size, to learn the size of a result."""
    return torch.zeros((1, operator.inputs, *size), dtype=operator.weight.dtype, device=operator.weight.device)


def _sizes(given: Any, ndim: int) -> tuple[int, ...]:
    many = tuple(given) if isinstance(given, (tuple, list)) else (given,) * ndim
    if len(many) != ndim:
        raise ArgumentError.of(
            "spectral_norm", f"{ndim} sizes of the input", repr(given), "give one for each spatial axis"
        )
    return tuple(whole("spectral_norm", "input_size", n, 1) for n in many)
