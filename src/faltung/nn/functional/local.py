"""Convolution without shared weights, and its transpose: every place of the result has a kernel of its own."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import BOUNDARY, margins, numbers
from faltung.nn.functional.field import extended, field, folded


def conv_local(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """A convolution whose weights differ from place to place.

    Formula: `y[n, o, p] = bias[o, p] + Σ over i, t of weight[o, i, t, p] · x̃[n, i, p·stride + t·dilation]`, x̃ the padded input.

    Shapes: input (N, in, *n), weight (out, in / groups, *t, *m), bias (out, *m) or (out, *1); returns (N, out, *m) with
    `m = ⌊(n + 2·padding − dilation·(t − 1) − 1) / stride⌋ + 1`. Places are the weight's last axes, so that vectors run along them.

    Args:
        stride, padding, dilation, groups, padding_mode: as for `faltung.nn.functional.conv`.

    Returns:
        A tensor of the input's dtype, differentiable any number of times; half types are summed in float32.

    Raises:
        ArgumentError: shapes or settings that do not fit.   DtypeError: no tensors, or of different or complex dtypes.

    Error: that of a sum of in / groups · Π t products.
    Cost: in / groups · Π t products for each value of the result; every weight is read from memory once for all samples. On other
    devices than the processor a composition of torch's operators, one tap after the other.
    Source: LeCun, Generalization and network design strategies (1989).

    Example:
        >>> conv_local(torch.ones(1, 1, 3), torch.arange(4.0).reshape(1, 1, 2, 2))
        tensor([[[2., 4.]]])
    """
    ndim = _checked("conv_local", input, weight, groups, padding_mode)
    taps, m = tuple(weight.shape[2 : 2 + ndim]), tuple(weight.shape[2 + ndim :])
    steps, spread = numbers("stride", stride, ndim, 1), numbers("dilation", dilation, ndim, 1)
    pads = margins(padding, stride, dilation, taps)
    sizes = zip(input.shape[2:], pads, spread, taps, steps, strict=True)
    many = tuple((n + lo + hi - d * (t - 1) - 1) // s + 1 for n, (lo, hi), d, t, s in sizes)
    if many != m or input.shape[1] != weight.shape[1] * groups:
        raise ArgumentError.of(
            "conv_local", f"an input with {weight.shape[1] * groups} channels that leads to {m} places",
            f"shape {tuple(input.shape)}, which leads to {many}", "give the input for which the weight was made",
        )  # fmt: skip
    if padding_mode != "zeros":
        input, pads = extended(input, pads, padding_mode), ((0, 0),) * ndim
    before = [lo for lo, _ in pads]
    y = field(input, weight, None, "none", groups, input.shape[2:], taps, m, steps, spread, before)
    return y if bias is None else y + bias.to(y.dtype)


def conv_local_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """The transpose of `conv_local` with the same weight, stride, padding and padding mode, plus a bias.

    Formula: `y[n, o, q] = bias[o, q] + Σ over i and (t, p) with p·stride + t·dilation = q of weight[i, o, t, p] · x[n, i, p]`, q
    a place of the padded result; what falls into its margins is folded back as the padding mode filled them.

    Shapes: input (N, in, *m), weight (in, out / groups, *t, *m), bias (out, *n) or (out, *1); returns (N, out, *n) with
    `n = (m − 1)·stride − 2·padding + dilation·(t − 1) + output_padding + 1`.

    Args:
        output_padding: how much longer the result is, below stride or dilation. Default 0.   All others: as for `conv_local`.

    Returns, Raises, Error, Cost: as `conv_local`.

    Source: the transpose of the definition.

    Example:
        >>> conv_local_transpose(torch.ones(1, 1, 2), torch.arange(4.0).reshape(1, 1, 2, 2))
        tensor([[[0., 3., 3.]]])
    """
    who = "conv_local_transpose"
    ndim = _checked(who, input, weight, groups, padding_mode)
    taps, m = tuple(weight.shape[2 : 2 + ndim]), tuple(weight.shape[2 + ndim :])
    if tuple(input.shape[1:]) != (weight.shape[0], *m):
        raise ArgumentError.of(
            who, f"an input (N, {weight.shape[0]}, {', '.join(map(str, m))})", f"shape {tuple(input.shape)}",
            "give the input for which the weight was made",
        )  # fmt: skip
    steps, spread = numbers("stride", stride, ndim, 1), numbers("dilation", dilation, ndim, 1)
    pads = margins(padding, stride, dilation, taps)
    n = transposed_sizes(m, taps, steps, pads, spread, numbers("output_padding", output_padding, ndim, 0))
    around = padding_mode != "zeros"
    whole = tuple(size + lo + hi for size, (lo, hi) in zip(n, pads, strict=True)) if around else n
    before = [0 if around else lo for lo, _ in pads]
    y = field(None, weight, input, "none", groups, whole, taps, m, steps, spread, before)
    y = folded(y, n, pads, padding_mode) if around else y
    return y if bias is None else y + bias.to(y.dtype)


def transposed_sizes(
    m: Sequence[int], taps: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]],
    dilation: Sequence[int], extra: Sequence[int],
) -> tuple[int, ...]:  # fmt: skip
    """The spatial sizes of a transposed convolution's result; ArgumentError where there are none."""
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ArgumentError.of(
            "output_padding", "numbers below stride or dilation", str(tuple(extra)), "lengthen the result by less"
        )
    sizes = zip(m, stride, pads, dilation, taps, extra, strict=True)
    n = tuple((size - 1) * s - lo - hi + d * (t - 1) + e + 1 for size, s, (lo, hi), d, t, e in sizes)
    if any(size < 1 for size in n):
        raise ArgumentError.of(
            "conv_local_transpose",
            "a result with at least one sample along every axis",
            f"sizes {n}",
            "use less padding",
        )
    return n


def _checked(who: str, input: Any, weight: Any, groups: int, padding_mode: str) -> int:
    """How many spatial axes there are, after a look at what does not depend on sizes."""
    for name, tensor in (("input", input), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise DtypeError.of(who, f"{name} as a torch tensor", type(tensor).__name__, "use torch.as_tensor")
    ndim = input.ndim - 2
    if ndim < 1 or weight.ndim != 2 + 2 * ndim:
        raise ArgumentError.of(
            who, "an input (N, channels, *sizes) and a weight (channels, channels, *taps, *places)",
            f"{tuple(input.shape)} and {tuple(weight.shape)}", "give every spatial axis of the input two axes of the weight",
        )  # fmt: skip
    numbers("groups", groups, 1, 1)
    if weight.shape[0] % groups:
        raise ArgumentError.of(
            who, f"a first weight axis that {groups} groups divide", f"{weight.shape[0]}", "choose other groups"
        )
    if padding_mode not in BOUNDARY:
        raise ArgumentError.of(
            "padding_mode", f"one of {', '.join(BOUNDARY)}", repr(padding_mode), "choose one of these"
        )
    return ndim
