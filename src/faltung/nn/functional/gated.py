"""A long convolution between two gates, in one pass over memory where a GPU has the kernels for it."""

from typing import Any

import torch
from torch import Tensor

from faltung.door import convolve
from faltung.errors import ArgumentError, DtypeError
from faltung.kernels import gpu
from faltung.kernels.monarch import layout
from faltung.methods.method import ROUNDOFF
from faltung.methods.monarch import LONGEST, MONARCH_HALF
from faltung.nn.functional.trilinear import KNOWN
from faltung.planner import Policy
from faltung.planner.policy import DEFAULT

PATTERN = "b c *s, c *s -> b c *s"


def gated_convolution(
    input: Tensor, weight: Tensor, before: Tensor | None = None, after: Tensor | None = None, *, circular: bool = False,
    policy: Policy | None = None,
) -> Tensor:  # fmt: skip
    """One filter a channel over a gated signal, and a gate behind: causal, or circular.

    Formula: `y[b, c, i] = after[b, c, i] · Σ over j of weight[c, j] · (before · input)[b, c, i − j]`; what is before the start
    is 0, or with `circular` the end.

    Shapes: input, before, after and the result (batch, channels, n), weight (channels, t), t of at most n.

    Args:
        before, after: gates, or None for none.
        policy: its tolerance decides the products on a GPU: in half precision where input and weight are of one half type and
            the tolerance allows its error (0.0079 for float16, 0.063 for bfloat16), in single precision otherwise.

    Returns:
        A tensor of the input's dtype, differentiable once in all four. On a GPU nothing is kept for the derivatives but the
        operands; in the processor's memory, and in float64, it is composed of products and `faltung.convolve`.

    Raises:
        ArgumentError, DtypeError: tensors that do not fit.

    Error: that of `faltung.convolve` under the policy, relative to max|before · input| · ‖weight‖₁ · max|after|.
    Cost: one pass over memory up to the longest transform that fits a kernel (`docs/gpu.md`), three beyond it.
    Source: Fu, Kumbong, Nguyen and Ré, FlashFFTConv (2024), for gates within the kernel.

    Example:
        >>> x = torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> gated_convolution(x, torch.tensor([[1.0, 0.5]]), after=torch.tensor([[[1.0, 0.0, 2.0]]]))
        tensor([[[1., 0., 8.]]])
    """
    _check(input, weight, before, after)
    policy = DEFAULT if policy is None else policy
    n = input.shape[-1]
    single = torch.promote_types(input.dtype, weight.dtype) != torch.float64
    fits = n <= LONGEST and input.numel() > 0 and weight.numel() > 0
    if gpu.refuses(str(input.device)) is not None or not single or not fits or (circular and n != layout.length(n)):
        return _composed(input, weight, before, after, circular, policy)
    half = input.dtype == weight.dtype and input.dtype in (torch.float16, torch.bfloat16)
    if half:
        allowed = policy.tolerance or 4096 * ROUNDOFF["float32"]
        half = (
            16 * ROUNDOFF[str(input.dtype).removeprefix("torch.")] <= allowed
            and MONARCH_HALF.name not in policy.without
        )
    return _gated(input, weight, before, after, circular, half)


def _composed(
    input: Tensor, weight: Tensor, before: Tensor | None, after: Tensor | None, circular: bool, policy: Policy
) -> Tensor:
    signal = input if before is None else input * before
    how: dict[str, Any] = {"mode": [(weight.shape[-1] - 1, 0)], "policy": policy}
    result = convolve(signal, weight, PATTERN, boundary="wrap" if circular else "constant", **how).to(input.dtype)
    return result if after is None else result * after


def _kernel(x: Tensor, half: bool, kernel: str = "monarch") -> Any:
    """The kernels for that length and precision."""
    from faltung.kernels.monarch.on_triton import Monarch

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


def _turned(gate: Tensor | None) -> Tensor | None:
    """Channels before the batch, as kernels take them."""
    return None if gate is None else gate.transpose(0, 1)


def _check(input: Tensor, weight: Tensor, before: Tensor | None, after: Tensor | None) -> None:
    for name, tensor in (("input", input), ("weight", weight), ("before", before), ("after", after)):
        if tensor is None and name in ("before", "after"):
            continue
        if not isinstance(tensor, Tensor) or tensor.dtype not in KNOWN:
            came = str(tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise DtypeError.of(
                "gated_convolution", f"{name} as a tensor of real numbers", came, "convert it with .float()"
            )
    gates = [tuple(gate.shape) for gate in (before, after) if gate is not None]
    if input.ndim != 3 or weight.ndim != 2 or weight.shape[0] != input.shape[1] or any(g != input.shape for g in gates):
        raise ArgumentError.of(
            "gated_convolution", "input and gates (batch, channels, n), weight (channels, t)",
            f"{tuple(input.shape)}, {tuple(weight.shape)} and gates {gates}", "match their sizes",
        )  # fmt: skip
    if not 1 <= weight.shape[1] <= input.shape[2]:
        raise ArgumentError.of(
            "gated_convolution",
            f"1 to {input.shape[2]} taps, the signal's length",
            str(weight.shape[1]),
            "cut the filter",
        )
