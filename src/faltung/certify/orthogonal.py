"""How far a convolution is from an isometry, what that guarantees, and when it can be one at all."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from faltung.certify.operator import Operator
from faltung.errors import ArgumentError
from faltung.filters import Symbol
from faltung.filters.filter import whole
from faltung.nn import functional


@dataclass(frozen=True)
class OrthDefect:
    """How far a convolution with circular boundary is from orthogonal.

    Fields:
        l_orth: the penalty, 0 for an orthogonal layer.   frobenius: ‖KKᵀ − I‖_F, or ‖KᵀK − I‖_F where there are more rows than
            columns, for the size asked for (without one: per place of the result, √l_orth).
        spectral_bound: no less than the spectral norm of the same difference, whatever the size.
        sigma_interval: all singular values lie in it.   kind: `row` or `column`, which of the two products is meant.
    """

    l_orth: float
    frobenius: float
    spectral_bound: float
    sigma_interval: tuple[float, float]
    kind: str


class Verdict(NamedTuple):
    """Whether an orthogonal convolution exists, and why (not)."""

    possible: bool
    reason: str


def l_orth(weight: Any, stride: Any = 1, dilation: Any = 1, groups: int = 1) -> Tensor:
    """The penalty that is zero for orthogonal convolutions and nothing else; differentiable.

    Formula: `L = ‖Z − I₀‖_F² − max(0, M − C·∏S)`, summed over groups; `Z[a, b, τ]` the inner product of filter a with b moved
    by τ strides, I₀ the identity at τ = 0, M filters of C channels. For circular boundary and a result of N places with
    S·N ≥ 2k − 1 an axis, `‖KKᵀ − I‖_F² = N·L` for M ≤ C∏S (rows), else `‖KᵀK − I‖_F² = N·L` (columns). Dilation does not matter.

    Shapes: weight (out, in / groups, *k); returns a number, float64.
    Args:
        stride, dilation, groups: of the convolution, as in torch.
    Cost: M²·C·∏k·∏(2⌈k/S⌉ − 1) multiplications, whatever the size of the input.
    Source: Wang et al., Orthogonal convolutional neural networks (2020); Achour, Malgouyres and Mamalet (2022). Two slips of the
        first's code are avoided: shifts are multiples of the stride, all of them, and tall kernels can reach zero.

    Example:
        >>> l_orth(torch.eye(4).reshape(4, 1, 2, 2), stride=2).item()  # patches, each pixel kept once
        0.0
    """
    symbol = _simplest(
        Symbol(weight if isinstance(weight, Tensor) else torch.as_tensor(weight), stride, dilation, groups)
    )
    rows, inputs = symbol.channels
    # the smaller of the two products: for tall kernels the other one would have to be corrected, and digits would cancel
    taps = symbol.gram("out" if rows <= inputs * math.prod(symbol.stride) else "in").taps()
    middle = (slice(None), slice(None), slice(None), *((n - 1) // 2 for n in taps.shape[3:]))
    identity = torch.zeros_like(taps)
    identity[middle] = torch.eye(taps.shape[1], dtype=taps.dtype, device=taps.device)
    away = taps - identity
    return (away.real.square() + away.imag.square() if away.is_complex() else away.square()).sum()


def _simplest(symbol: Symbol) -> Symbol:
    """Without the dilation, unless it shares a factor with the stride: then inputs are left out, which columns must see."""
    apart = all(math.gcd(s, d) == 1 for s, d in zip(symbol.stride, symbol.dilation, strict=True) if s > 1)
    return symbol.reduced() if apart else symbol


def orthogonality(layer: Any, input_size: Any = None, **settings: Any) -> OrthDefect:
    """How far a convolution layer is from orthogonal, with a guarantee on all its singular values.

    Formula: with n shifts of `Z` (see `l_orth`), `‖KKᵀ − I‖₂² ≤ n·L` for every size with circular boundary, because by Cauchy and
    Schwarz the symbol's `‖Z(ω) − I‖_F² ≤ n·Σ_τ ‖Z_τ − I₀‖²`; all singular values are within `[√(1 − err), √(1 + err)]`.

    Shapes: layer weight (out, in / groups, *k); input_size (*n) or a number.
    Args:
        layer: a convolution of torch or of this library, transposed or not, or a kernel with `settings` as for `spectral_norm`.
        input_size: for which size `frobenius` is. Default None.
    Returns:
        An `OrthDefect`, for circular boundary and inputs of at least 2k − 1 places an axis (with dilation d: (2k − 1)·d).
    Raises:
        ArgumentError: no convolution; an input smaller than that, or that the stride does not divide.
    Source: Achour, Malgouyres and Mamalet, Existence, stability and scalability of orthogonal convolutional neural networks
        (2022); their factor is larger by the number of filters (rows) or by a power of the stride (columns).

    Example:
        >>> orthogonality(torch.nn.Conv2d(1, 4, 2, stride=2)).kind
        'row'
    """
    operator = Operator.read(layer, "orthogonality", **settings)
    symbol = Symbol(operator.weight.detach(), operator.stride, operator.dilation, operator.groups)
    found = float(l_orth(symbol.weight, symbol.stride, symbol.dilation, symbol.groups))
    smaller = _simplest(symbol)
    shifts = math.prod(2 * k - 1 for k in smaller.polyphase().size)
    places = 1
    if input_size is not None:
        sizes = functional.numbers("input_size", input_size, symbol.ndim, 1)
        for n, k, s, d in zip(sizes, symbol.size, symbol.stride, symbol.dilation, strict=True):
            if n < (2 * k - 1) * d or n % s:
                raise ArgumentError.of(
                    "orthogonality", f"sizes of at least {(2 * k - 1) * d} that the stride {s} divides", f"{sizes}",
                    "leave input_size out for the bound alone",
                )  # fmt: skip
        places = math.prod(n // s for n, s in zip(sizes, symbol.stride, strict=True))
    # each sum is of fewer products than the kernel has numbers: their rounding is added to what is reported as a guarantee
    rounding = 1e-15 * math.sqrt(shifts) * symbol.weight.numel() * float(symbol.weight.abs().double().square().sum())
    error = math.sqrt(shifts * found) + rounding
    rows, inputs = smaller.channels
    kind = "row" if rows <= inputs * math.prod(smaller.stride) else "column"
    return OrthDefect(
        found, math.sqrt(places * found), error, (math.sqrt(max(0.0, 1 - error)), math.sqrt(1 + error)), kind
    )


def can_be_orthogonal(
    in_channels: int,
    out_channels: int,
    kernel_size: Any,
    stride: Any = 1,
    padding_mode: str = "circular",
    *,
    ndim: int = 2,
) -> Verdict:
    """Whether a convolution of this architecture can be orthogonal, and why.

    With circular boundary, rows (at most C∏S filters) can be orthonormal exactly if there are no more than C∏k of them, columns
    exactly if no stride is longer than the kernel. With zeros in the margin (size kept, stride 1) only the middle tap could be
    used, because the filters at a corner see a part of their taps and must have the same length; without a margin, inputs at the
    border are seen too rarely for columns.

    Args:
        in_channels, out_channels: of one group.   kernel_size, stride: numbers or tuples.   ndim: of numbers. Default 2.
        padding_mode: `circular`, `zeros` (size kept) or `valid`. Default circular.

    Raises:
        ArgumentError: another padding_mode, or sizes below 1.

    Source: Achour, Malgouyres and Mamalet (2022), theorem 2 and its remarks.

    Example:
        >>> can_be_orthogonal(1, 9, 3).possible, can_be_orthogonal(1, 4, 1, stride=2).possible
        (True, False)
    """
    ndim = max(
        [ndim if not isinstance(v, tuple) else len(v) for v in (kernel_size, stride) if isinstance(v, tuple)] or [ndim]
    )
    size = functional.numbers("kernel_size", kernel_size, ndim, 1)
    steps = functional.numbers("stride", stride, ndim, 1)
    inputs = whole("can_be_orthogonal", "in_channels", in_channels, 1)
    rows = whole("can_be_orthogonal", "out_channels", out_channels, 1)
    if padding_mode not in ("circular", "zeros", "valid"):
        raise ArgumentError.of(
            "can_be_orthogonal", "circular, zeros or valid", repr(padding_mode), "choose one of these"
        )
    taps, seen = inputs * math.prod(size), inputs * math.prod(steps)
    if padding_mode == "zeros" and max(size) > 1:
        return Verdict(False, "with zeros in the margin all taps but the middle one would have to be zero")
    if padding_mode == "valid" and rows > seen and max(size) > 1:
        return Verdict(
            False, "columns cannot be orthonormal: inputs at the border are in fewer windows than those inside"
        )
    if rows <= seen:
        fits = rows <= taps
        return Verdict(fits, f"{rows} orthonormal filters of {taps} taps {'exist' if fits else 'do not exist'}")
    short = [s for s, k in zip(steps, size, strict=True) if s > k]
    said = (
        f"a stride of {short[0]} leaves out inputs"
        if short
        else "no stride is longer than the kernel, so every input is seen"
    )
    return Verdict(not short, said)
