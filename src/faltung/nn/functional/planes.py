"""Depthwise convolution straight into channels of a tensor that is there already, for inference on the processor."""

from functools import lru_cache

import torch
from torch import Tensor

from faltung import torch_gate
from faltung.domains import Boundary
from faltung.errors import ArgumentError
from faltung.kernels.planes.layout import Planes
from faltung.kernels.threads import available
from faltung.nn.functional.convolution import BOUNDARY

_FLOATS = (torch.float32, torch.float64)


def can_fill_planes(input: Tensor, out: Tensor, *parameters: Tensor | None) -> bool:
    """Whether `fill_planes` takes these: one dtype of float32 or float64, planes contiguous in memory, and nobody watches.

    Nobody watches where no derivative can be asked for and nothing is traced, batched or cast.
    """
    together = [a for a in (input, out, *parameters) if a is not None]
    if not torch_gate.plain(*together) or input.dtype not in _FLOATS or len({a.dtype for a in together}) > 1:
        return False
    return all(a[:1, :1].is_contiguous() for a in (input, out)) and all(a.is_contiguous() for a in together[2:])


def fill_planes(input: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor, padding_mode: str = "zeros") -> None:
    """Write a depthwise convolution that keeps the size into `out`, which may be a part of a larger tensor, or the input itself.

    Formula: `out[b, c, p] = bias[c] + Σ over t of x̃[b, c, p + t − ⌊taps / 2⌋] · weight[c, 0, t]`, x̃ the padded input.

    Shapes: input and out (batch, channels, *n), weight (channels, 1, *t), bias (channels) or None.

    Args:
        padding_mode: what stands in the margin of ⌊t / 2⌋ samples on both sides. Default zeros.

    Raises:
        ArgumentError: shapes that do not fit, even taps, or tensors that `can_fill_planes` does not take.

    Error: as the definition, summed tap by tap.
    Cost: Π t multiplications for each result; the input is read once and the result written once.
    Source: the definition.

    Example:
        >>> x, y = torch.ones(1, 1, 4), torch.zeros(1, 2, 4)
        >>> fill_planes(x, torch.ones(1, 1, 3), None, y[:, 1:])
        >>> y
        tensor([[[0., 0., 0., 0.],
                 [2., 3., 3., 2.]]])
    """
    channels, taps = input.shape[1], tuple(weight.shape[2:])
    if (
        input.shape != out.shape
        or weight.shape[:2] != (channels, 1)
        or len(taps) != input.ndim - 2
        or any(t % 2 == 0 for t in taps)
        or (bias is not None and bias.shape != (channels,))
        or padding_mode not in BOUNDARY
    ):
        raise ArgumentError.of(
            "fill_planes", f"a weight ({channels}, 1, *odd taps), a bias ({channels},), an out like the input {tuple(input.shape)}",
            f"{tuple(weight.shape)}, {None if bias is None else tuple(bias.shape)}, {tuple(out.shape)} and {padding_mode!r}",
            "use faltung.nn.functional.conv for other convolutions",
        )  # fmt: skip
    if not can_fill_planes(input, out, weight, bias):
        raise ArgumentError.of(
            "fill_planes", "contiguous planes of float32 or float64 on the processor, none of them watched",
            f"{input.dtype} on {input.device}", "call it within torch.no_grad(), or use faltung.nn.functional.conv",
        )  # fmt: skip
    from faltung.kernels.planes import on_numba

    layout = _layout(tuple(input.shape[2:]), taps, padding_mode)
    start = weight.new_zeros(channels) if bias is None else bias
    x, k, b, y = (a.detach().numpy() for a in (input, weight, start, out))
    on_numba.planes(x, k, b, y, layout, available())


@lru_cache(maxsize=256)
def _layout(n: tuple[int, ...], t: tuple[int, ...], padding_mode: str) -> Planes:
    boundary = Boundary(BOUNDARY[padding_mode])
    return Planes(n, t, tuple(boundary.sources(s, w // 2, w // 2) for s, w in zip(n, t, strict=True)))
