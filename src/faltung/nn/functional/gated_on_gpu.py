"""A long convolution between two gates, in one pass over memory where a GPU has the kernels for it."""

from typing import Any

import torch
from torch import Tensor

from faltung.kernels import gpu
from faltung.kernels.long import layout
from faltung.methods.long_on_gpu import LONG, LONG_HALF, LONGEST
from faltung.methods.method import ROUNDOFF
from faltung.nn.functional.trilinear import KNOWN
from faltung.planner import Policy
from faltung.planner.policy import DEFAULT


def fused(
    x: Tensor, k: Tensor, in_gate: Tensor | None, out_gate: Tensor | None, circular: bool, policy: Policy | None
) -> Tensor | None:
    """The gated convolution in one pass over memory; None where no GPU, or none of its kernels, can do that.

    Products are in half precision where signal and filter are of one half type and the policy's tolerance allows the error (0.0079
    for float16, 0.063 for bfloat16), in single precision otherwise. Nothing is kept for the derivatives but the operands, and
    there are derivatives of any order.

    Shapes: x and gates (batch, channels, n), k (channels, t), t of at most n.
    Error: as the methods `triton-monarch` and `triton-half`, relative to max|in_gate · x| · ‖k‖₁ · max|out_gate|.
    Cost: one pass over memory up to the longest transform that fits a kernel (`docs/gpu.md`), three beyond it.
    Source: Fu, Kumbong, Nguyen and Ré, FlashFFTConv (2024), for gates within the kernel.
    """
    policy = DEFAULT if policy is None else policy
    n = x.shape[-1]
    given = [a for a in (x, k, in_gate, out_gate) if a is not None]
    if gpu.refuses(str(x.device)) is not None or any(a.dtype not in KNOWN or a.dtype == torch.float64 for a in given):
        return None
    fits = x.ndim == 3 and x.numel() > 0 and n <= LONGEST and 1 <= k.shape[-1] <= n
    if not fits or (circular and n != layout.length(n)) or policy.only:
        return None
    half = x.dtype == k.dtype and x.dtype in (torch.float16, torch.bfloat16)
    if half:
        allowed = policy.tolerance or 4096 * ROUNDOFF["float32"]
        unit = 16 * ROUNDOFF[str(x.dtype).removeprefix("torch.")]
        half = unit <= allowed and LONG_HALF.name not in policy.without
    if not half and LONG.name in policy.without:
        return None
    return _gated(x, k, in_gate, out_gate, circular, half)


def _kernel(x: Tensor, half: bool, kernel: str = "monarch") -> Any:
    """The kernels for that length and precision."""
    from faltung.kernels.long.on_triton import Monarch

    return Monarch(x.dtype if half else torch.float32, layout.length(x.shape[-1]), x.device, kernel)


@torch.library.custom_op("faltung::gated", mutates_args=())
def _gated(x: Tensor, k: Tensor, before: Tensor | None, after: Tensor | None, circular: bool, half: bool) -> Tensor:
    kernel, n = _kernel(x, half), x.shape[-1]
    y = kernel.convolve(
        x.transpose(0, 1), kernel.spectrum(k), 0, n, before=_turned(before), after=_turned(after), wrapped=circular
    )
    return y.transpose(0, 1).to(x.dtype)


@_gated.register_fake
def _(x: Tensor, k: Tensor, before: Tensor | None, after: Tensor | None, circular: bool, half: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("faltung::gated_back", mutates_args=())
def _gated_back(
    y: Tensor, x: Tensor, k: Tensor, before: Tensor | None, after: Tensor | None, circular: bool, half: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the cotangent y hands to signal, filter and both gates; gates that are not there get an empty tensor.

    The transpose of a causal convolution is the same one from the end: rows are read and written backwards.
    """
    n, t = x.shape[-1], k.shape[-1]
    kernel, summed = _kernel(x, half), _kernel(x, half, "summed")
    spectrum = kernel.spectrum(k)
    signal = (x if before is None else x * before).transpose(0, 1)
    flow = (y if after is None else y * after).transpose(0, 1)
    back = kernel.convolve(
        flow, spectrum, 0, n, turn_x=True, turn_y=True, wrapped=circular, dtype=torch.float32
    ).transpose(0, 1)
    # Tap j is the value n − 1 − j of the cotangent, turned around, convolved with the signal.
    whole = summed.filters(signal, flow, n - t, t, wrapped=circular)
    gk = whole.flip(-1).to(k.dtype)
    gx = back if before is None else back * before
    gb = x.new_empty(0) if before is None else (back * x).to(before.dtype)
    ga = x.new_empty(0)
    if after is not None:
        inner = kernel.convolve(signal, spectrum, 0, n, wrapped=circular, dtype=torch.float32)
        ga = (inner.transpose(0, 1) * y).to(after.dtype)
    return gx.to(x.dtype).contiguous(), gk.contiguous(), gb.contiguous(), ga.contiguous()


@_gated_back.register_fake
def _(
    y: Tensor, x: Tensor, k: Tensor, before: Tensor | None, after: Tensor | None, circular: bool, half: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gx, gk, gb, ga = (x.new_empty(0) if a is None else a.new_empty(a.shape) for a in (x, k, before, after))
    return gx, gk, gb, ga


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *operands, ctx.circular, ctx.half = inputs
    ctx.save_for_backward(*operands)


def _backward(ctx: Any, y: Tensor) -> tuple:
    x, k, before, after = ctx.saved_tensors
    gx, gk, gb, ga = _gated_back(y, x, k, before, after, ctx.circular, ctx.half)
    return gx, gk, None if before is None else gb, None if after is None else ga, None, None


_gated.register_autograd(_backward, setup_context=_keep)


def _keep_back(ctx: Any, inputs: tuple, output: tuple) -> None:
    *operands, ctx.circular, ctx.half = inputs
    ctx.save_for_backward(*operands)


def _backward_twice(ctx: Any, hx: Tensor, hk: Tensor, hb: Tensor, ha: Tensor) -> tuple:
    """The derivatives of `<hx, gx> + <hk, gk> + <hb, gb> + <ha, ga>`, of all that `_gated_back` gives.

    With u = x · before, p = hx · before + hb · x, v = y · after and w = y · ha that sum is
    `<p ∗ k, v> + <u ∗ hk, v> + <u ∗ k, w>`: convolutions and their transposes again, so that it goes on to any order.
    """
    y, x, k, before, after = ctx.saved_tensors
    how = (None, None, ctx.circular, ctx.half)
    p, u = (hx, x) if before is None else (hx * before + hb * x, x * before)
    p, u, hk = p.to(x.dtype), u.to(x.dtype), hk.to(k.dtype)
    v = y if after is None else y * after
    of_p, gk, *_ = _gated_back(v, p, k, *how)
    of_u, *_ = _gated_back(v, u, hk, *how)
    of_v = _gated(p, k, *how) + _gated(u, hk, *how)
    gy, ga = of_v, None
    if after is not None:
        w = y * ha
        more_u, more_k, *_ = _gated_back(w, u, k, *how)
        of_u, gk = of_u + more_u, gk + more_k
        gy, ga = of_v * after + _gated(u, k, *how) * ha, (of_v * y).to(after.dtype)
    gx, gb = of_u, None
    if before is not None:
        gx, gb = of_u * before + of_p * hb, (of_u * x + of_p * hx).to(before.dtype)
    return gy.to(y.dtype), gx.to(x.dtype), gk, gb, ga, None, None


_gated_back.register_autograd(_backward_twice, setup_context=_keep_back)


def _turned(gate: Tensor | None) -> Tensor | None:
    """Channels before the batch, as kernels take them."""
    return None if gate is None else gate.transpose(0, 1)
