"""First values of kernels that are spread over the frequencies: orthogonal spectra, or orthogonal kernels."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError


@torch.no_grad()
def conv_aware_(tensor: Tensor, eps: float = 0.05, exact: bool = False, generator: Any = None) -> Tensor:
    """Fill a kernel so that the filters which one output applies to its inputs see different frequencies.

    Formula: for each output, with m = Π of the half spectrum's sizes, the left singular vectors of `A + Aᵀ − diag(A)`, A an
    m × m normal matrix, are rows that are read as half spectra and transformed back; as many bases are stacked as cover all inputs;
    normal numbers of standard deviation eps are added; the whole is scaled to He's variance 2 / fan_in.

    Half spectra that are real and not symmetric are no spectra of real kernels: the transform back changes them, so those kernels
    are even about tap 0 (circularly) but for eps, and not orthogonal. `exact` draws what is meant: rows that are orthonormal in the
    Π kernel_size taps themselves, and so, by Parseval, in frequency; beyond Π kernel_size inputs in independent bases.

    Shapes: tensor (out, in / groups, *kernel_size), one to three spatial axes. Groups need no mention: each output has its own
    bases.

    Args:
        tensor: real, changed in place.   eps: standard deviation of the noise, at least 0; without effect where `exact`.
        exact: orthogonal kernels. Default False.   generator: of torch; None for its global one.

    Returns:
        The tensor. Kernels of a single tap are He-normal, as no frequencies are to be told apart.

    Raises:
        DtypeError: no real floating tensor.   ArgumentError: another number of axes, eps below 0.

    Cost: one batched decomposition of ⌈in / (groups·m)⌉·out matrices of size m.
    Source: Aghajanyan, Convolution aware initialization (2017).

    Example:
        >>> w = conv_aware_(torch.empty(4, 9, 3, 3), exact=True).flatten(2)
        >>> bool(((w @ w.mT).triu(1).abs() < 1e-6).all())
        True
    """
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise DtypeError.of(
            "init.conv_aware_", "a tensor of real numbers", came, "use faltung.init.complex_ for complex ones"
        )
    if not 3 <= tensor.ndim <= 5:
        raise ArgumentError.of(
            "init.conv_aware_", "a kernel (out, in, *kernel_size) with one to three spatial axes", f"shape {tuple(tensor.shape)}",
            "use torch.nn.init.orthogonal_ for others",
        )  # fmt: skip
    if not eps >= 0:
        raise ArgumentError.of(
            "init.conv_aware_", "a standard deviation of at least 0", repr(eps), "use 0 for no noise"
        )
    if tensor.is_meta or not tensor.numel():
        return tensor
    taps = tuple(tensor.shape[2:])
    if math.prod(taps) == 1:
        return nn.init.kaiming_normal_(tensor, generator=generator)

    def drawn(*shape: int) -> Tensor:  # in float64, where decompositions leave no trace
        return torch.randn(shape, dtype=torch.float64, device=tensor.device, generator=generator)

    made = _orthogonal(tensor.shape, drawn) if exact else _from_spectra(tensor.shape, drawn)
    if eps and not exact:
        made = made + eps * drawn(*tensor.shape)
    variance = 2 / (tensor.shape[1] * math.prod(taps))
    return tensor.copy_(made * (variance / made.var(correction=0)).sqrt())


def _bases(outputs: int, inputs: int, size: int, drawn: Any, symmetric: bool) -> Tensor:
    """Rows of random orthonormal bases of `size` numbers, `inputs` of them for each output: (outputs, inputs, size)."""
    matrices = drawn(outputs * -(-inputs // size), size, size)
    if symmetric:
        matrices = matrices + matrices.mT - torch.diag_embed(matrices.diagonal(dim1=-2, dim2=-1))
    rows = torch.linalg.svd(matrices)[0]
    return rows.reshape(outputs, -1, size)[:, :inputs]


def _from_spectra(shape: torch.Size, drawn: Any) -> Tensor:
    taps = tuple(shape[2:])
    half = (*taps[:-1], taps[-1] // 2 + 1)
    spectra = _bases(shape[0], shape[1], math.prod(half), drawn, True).reshape(*shape[:2], *half)
    axes = tuple(range(-len(taps), 0))
    return torch.fft.irfftn(spectra, taps, axes)


def _orthogonal(shape: torch.Size, drawn: Any) -> Tensor:
    return _bases(shape[0], shape[1], math.prod(shape[2:]), drawn, False).reshape(shape)
