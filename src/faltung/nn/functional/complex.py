"""Complex convolution by real ones: four products of parts in one layer, or three."""

from typing import Any

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import conv
from faltung.nn.functional.ways import Call, fastest
from faltung.planner import Policy

METHODS = ("auto", "direct", "4m", "3m")
Options = tuple[Any, Any, Any, Any, Any]
_REAL = {"complex64": "float32", "complex128": "float64"}


def conv_complex(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    policy: Policy | None = None,
    method: str = "auto",
) -> Tensor:
    """The convolution layer of complex tensors, in complex arithmetic or by real layers, whichever is expected to be fastest.

    Formula: `y = (Wr∗xr − Wi∗xi) + j(Wr∗xi + Wi∗xr) + b`, one bias b that is complex itself. By four products (4m) that is one
    real layer of `[xr, xi]` with the kernel `[[Wr, −Wi], [Wi, Wr]]`; by three (3m) it is `t1 = Wr∗(xr + xi)`, `t2 = (Wi − Wr)∗xr`,
    `t3 = (Wr + Wi)∗xi`, `y = (t1 − t3) + j(t1 + t2)`.

    Shapes: those of `faltung.nn.functional.conv`, all complex.

    Args:
        stride, padding, dilation, groups, padding_mode, policy: see `faltung.nn.functional.conv`.
        method: `auto` (what the planner's rates say; the four products off the CPU), `direct` (complex arithmetic, one plan),
            `4m` or `3m`.

    Returns:
        A tensor of the input's dtype, differentiable any number of times.

    Raises:
        ArgumentError, DtypeError: tensors or arguments that do not fit; real tensors.

    Error: 4m that of the real layer; 3m adds the roundoff of sums that cancel, which is bounded by max|W|·max|x| rather than by
    the smaller part: real and imaginary parts are as accurate as their common modulus.
    Cost: 4, or 3, real products for each complex one.
    Source: the product of three multiplications is Gauss's; Higham, Stability of a method for multiplying complex matrices (1992).

    Example:
        >>> x = torch.ones(1, 1, 3, dtype=torch.complex64)
        >>> conv_complex(x, torch.full((1, 1, 2), 1j), method="3m")
        tensor([[[0.+2.j, 0.+2.j]]])
    """
    if method not in METHODS:
        raise ArgumentError.of("conv_complex", f"a method among {', '.join(METHODS)}", repr(method), "use 'auto'")
    for name, tensor in (("input", input), ("weight", weight)):
        if not isinstance(tensor, Tensor) or not tensor.is_complex():
            came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise DtypeError.of(
                "conv_complex", f"a complex {name}", came, "use faltung.nn.functional.conv for real tensors"
            )
    single = input.ndim == weight.ndim - 1
    options: Options = (stride, padding, dilation, groups, padding_mode)
    x = input.unsqueeze(0) if single else input
    if method == "direct" or not _fits(x, weight, groups):  # what does not fit is for the plain layer to refuse
        return conv(input, weight, bias, *options, policy)
    if method == "auto":
        method = _expected(x, weight, options, policy)
    if method == "direct":
        return conv(input, weight, bias, *options, policy)
    y = (_three if method == "3m" else _four)(x, weight, options, policy)
    y = y if bias is None else y + bias.reshape(-1, *[1] * (weight.ndim - 2))
    return y.squeeze(0) if single else y


def _fits(x: Tensor, weight: Tensor, groups: Any) -> bool:
    """Whether the parts can be taken apart: one dtype that has a real counterpart, and channels that the groups divide."""
    if x.ndim != weight.ndim or weight.ndim < 3 or x.dtype != weight.dtype or torch_gate.facts(x)[1] not in _REAL:
        return False
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        return False
    return weight.shape[0] % groups == 0 and weight.shape[1] * groups == x.shape[1]


def _expected(x: Tensor, weight: Tensor, options: Options, policy: Policy | None) -> str:
    """The method whose plans are expected to take the least time."""
    (n, c, *size), dtype, device = torch_gate.facts(x)
    (o, i, *taps), _, _ = torch_gate.facts(weight)
    settings = tuple(tuple(part) if isinstance(part, list) else part for part in options)
    real = _REAL[dtype]
    # Parts are taken apart and put together again: a pass through memory each, as two more filters of one tap in depth.
    four = Call((n, 2 * c, *size), (2 * o, 2 * i, *taps), settings, real, device)
    three = Call((n, c, *size), (o, i, *taps), settings, real, device)
    beside = Call((n, c, *size), (c, 1, *[1] * len(size)), (1, 0, 1, c, "zeros"), real, device)
    whole = Call((n, c, *size), (o, i, *taps), settings, dtype, device)
    ways = {"4m": (four, beside), "3m": (three, three, three, beside, beside), "direct": (whole,)}
    return list(ways)[fastest(tuple(ways.values()), policy)]


def _three(x: Tensor, weight: Tensor, options: Options, policy: Policy | None) -> Tensor:
    xr, xi, wr, wi = x.real, x.imag, weight.real, weight.imag
    t1 = conv(xr + xi, wr.contiguous(), None, *options, policy)
    t2 = conv(xr.contiguous(), wi - wr, None, *options, policy)
    t3 = conv(xi.contiguous(), wr + wi, None, *options, policy)
    return torch.complex(t1 - t3, t1 + t2)


def _four(x: Tensor, weight: Tensor, options: Options, policy: Policy | None) -> Tensor:
    groups = options[3]
    # Within each group the real parts of all channels, then the imaginary ones.
    parts = x.unflatten(1, (groups, -1))
    parts = torch.cat([parts.real, parts.imag], 2).flatten(1, 2)
    w = weight.unflatten(0, (groups, -1))
    rows = torch.cat([w.real, -w.imag], 2), torch.cat([w.imag, w.real], 2)
    y = conv(parts, torch.cat(rows, 1).flatten(0, 1), None, *options, policy).unflatten(1, (groups, 2, -1))
    return torch.complex(y[:, :, 0], y[:, :, 1]).flatten(1, 2)
