"""A long convolution between two gates."""

from torch import Tensor

from faltung.engine.fft_conv import fft_conv
from faltung.nn.functional.gated_on_gpu import fused
from faltung.planner import Policy


def gated_conv(
    x: Tensor,
    k: Tensor,
    in_gate: Tensor | None = None,
    out_gate: Tensor | None = None,
    *,
    causal: bool = True,
    circular: bool = False,
    partial: int | None = None,
    policy: Policy | None = None,
) -> Tensor:
    """A filter for each channel between two gates, causal, with gradients that keep no spectra.

    Formula: `y = ((x · in_gate) ∗ k) · out_gate`, cut to the length of x.

    Shapes, Args, Returns, Raises, Error, Cost, Source: as `faltung.fft_conv`, which this is for tensors; `circular` stands for
        a size of n. On a GPU with kernels for it (`docs/gpu.md`) gates and transforms are one pass over memory, with products in
        half precision where the operands are and the policy's tolerance allows it.

    Example:
        >>> import torch
        >>> x, gate = torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
        >>> gated_conv(x, torch.tensor([[1.0, 0.5]]), gate, gate)
        tensor([[[1., 0., 3.]]])
    """
    gates_fit = all(g is None or g.shape == x.shape for g in (in_gate, out_gate))
    shapes_fit = gates_fit and k.ndim == 2 and x.ndim == 3 and k.shape[0] == x.shape[1]
    if causal and shapes_fit and (partial is None or 1 <= partial <= k.shape[1]):
        taps = k[:, :partial]
        done = fused(x, taps if circular else taps[:, : x.shape[-1]], in_gate, out_gate, circular, policy)
        if done is not None:
            return done
    size = x.shape[-1] if circular else None
    return fft_conv(x, k, in_gate, out_gate, causal=causal, size=size, partial=partial, policy=policy)
