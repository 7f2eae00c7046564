"""A convolution whose kernel is another one at every place of every sample, shared by some channels."""

import math
from typing import Any

from torch import Tensor

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional.convolution import BOUNDARY, margins, numbers
from faltung.nn.functional.field import SHARES, extended, field


def conv_per_pixel(
    input: Tensor,
    weight: Tensor,
    kernel_size: Any,
    share: str = "interleave",
    stride: Any = 1,
    dilation: Any = 1,
    padding: Any = 0,
    padding_mode: str = "zeros",
) -> Tensor:
    """Every channel with a kernel that the weight gives for this sample and this place of the result.

    Formula: `y[n, c, p] = Σ over t of weight[n, g(c), t, p] · x̃[n, c, p·stride + t·dilation]`, x̃ the padded input, taps t in
    C order, and g(c) = c mod G for `interleave`, ⌊c·G / C⌋ for `block`.

    Shapes: input (N, C, *n), weight (N, G, Π kernel_size, *m) with G a divisor of C; returns (N, C, *m) with
    `m = ⌊(n + 2·padding − dilation·(kernel_size − 1) − 1) / stride⌋ + 1`.

    Args:
        kernel_size: taps, one number for all spatial axes or one for each.
        share: which channels have a kernel in common, `interleave` (every G-th) or `block` (neighbours). Default interleave.
        stride, dilation, padding, padding_mode: as for `faltung.nn.functional.conv`.

    Returns:
        A tensor of the input's dtype, differentiable any number of times; half types are summed in float32.

    Raises:
        ArgumentError: shapes or settings that do not fit.   DtypeError: no tensors, or of different or complex dtypes.

    Error: that of a sum of Π kernel_size products.
    Cost: Π kernel_size products for each value of the result, no copy of the input for every tap. On other devices than the
    processor a composition of torch's operators, one tap after the other.
    Source: Wang, Chen, Lin, Han and Ding, LSNet: See large, focus small (2025).

    Example:
        >>> x, middle = torch.randn(1, 4, 5), torch.tensor([0.0, 1.0, 0.0]).reshape(1, 1, 3, 1).expand(1, 2, 3, 5)
        >>> torch.equal(conv_per_pixel(x, middle, 3, padding=1), x)
        True
    """
    who = "conv_per_pixel"
    for name, tensor in (("input", input), ("weight", weight)):
        if not isinstance(tensor, Tensor):
            raise DtypeError.of(who, f"{name} as a torch tensor", type(tensor).__name__, "use torch.as_tensor")
    ndim = input.ndim - 2
    if ndim < 1 or weight.ndim != ndim + 3:
        raise ArgumentError.of(
            who, "an input (N, C, *n) and a weight (N, G, taps, *m)", f"{tuple(input.shape)} and {tuple(weight.shape)}",
            "give both a batch axis, and the weight an axis of groups and one of taps",
        )  # fmt: skip
    if share not in SHARES[:2]:
        raise ArgumentError.of("share", f"one of {', '.join(SHARES[:2])}", repr(share), "choose one of these")
    if padding_mode not in BOUNDARY:
        raise ArgumentError.of(
            "padding_mode", f"one of {', '.join(BOUNDARY)}", repr(padding_mode), "choose one of these"
        )
    taps, steps = numbers("kernel_size", kernel_size, ndim, 1), numbers("stride", stride, ndim, 1)
    spread, pads = numbers("dilation", dilation, ndim, 1), margins(padding, stride, dilation, taps)
    m = tuple(
        (n + lo + hi - d * (t - 1) - 1) // s + 1
        for n, (lo, hi), d, t, s in zip(input.shape[2:], pads, spread, taps, steps, strict=True)
    )
    groups = weight.shape[1]
    wanted = (input.shape[0], groups, math.prod(taps), *m)
    if tuple(weight.shape) != wanted or groups < 1 or input.shape[1] % groups:
        raise ArgumentError.of(
            who, f"a weight of shape {wanted}, its groups a divisor of {input.shape[1]} channels", f"shape {tuple(weight.shape)}",
            "give a value for every sample, group, tap and place of the result",
        )  # fmt: skip
    if padding_mode != "zeros":
        input, pads = extended(input, pads, padding_mode), ((0, 0),) * ndim
    before = [lo for lo, _ in pads]
    return field(input, weight, None, share, groups, input.shape[2:], taps, m, steps, spread, before)
