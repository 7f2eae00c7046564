"""A long convolution between two gates."""

from torch import Tensor

from faltung.engine.fft_conv import fft_conv
from faltung.planner import Policy


def gated_conv(
    x: Tensor,
    k: Tensor,
    in_gate: Tensor | None = None,
    out_gate: Tensor | None = None,
    *,
    causal: bool = True,
    partial: int | None = None,
    policy: Policy | None = None,
) -> Tensor:
    """A filter for each channel between two gates, causal, with gradients that keep nothing but the arguments.

    Formula: `y = ((x · in_gate) ∗ k) · out_gate`, cut to the length of x.

    Shapes, Args, Returns, Raises, Error, Cost, Source: as `faltung.fft_conv`, which this is for tensors.

    Example:
        >>> import torch
        >>> x, gate = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
        >>> gated_conv(x, torch.tensor([[1.0, 0.5]]), gate, gate)
        tensor([[[1., 0., 3.]]])
    """
    return fft_conv(x, k, in_gate, out_gate, causal=causal, partial=partial, policy=policy)
