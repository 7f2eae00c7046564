"""Matrix products of tensors over an algebra, with gradients: choices for maxima, shares for the log semiring."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from faltung import algebras
from faltung.algebras import Algebra
from faltung.arrays import dtype_name, to_numpy
from faltung.errors import RefusedError
from faltung.kernels.semiring_product import on_numba as kernel

PIECE = (
    1 << 24
)  # values of the tensor of products that are made at once away from the processor, and for terms far below
FAR = 340.0


def matmul(a: Tensor, b: Tensor, algebra: Algebra, compute: str) -> Tensor:
    """The product of stacks of matrices, or vectors; differentiable over ordered algebras, log and the reals."""
    promoted = torch.promote_types(a.dtype, b.dtype)
    if algebra.name in ("real", "complex"):
        return torch.matmul(a.to(promoted), b.to(promoted))
    if not a.is_cpu and algebra.beats is None and algebra.share is None:
        raise RefusedError.of(
            f"matmul over {algebra.name}", "tensors in the processor's memory", str(a.device), "call .cpu() first"
        )
    wide = getattr(torch, compute)
    left, right = (a if a.ndim > 1 else a[None]), (b if b.ndim > 1 else b[:, None])
    lead = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left, right = (v.to(wide).expand(*lead, *v.shape[-2:]).reshape(-1, *v.shape[-2:]) for v in (left, right))
    run = _Log if algebra.share is not None else _Ordered
    out = run.apply(left, right, algebra.name).reshape(*lead, left.shape[-2], right.shape[-1])
    out = out.to(promoted) if promoted.is_floating_point else out
    out = out if a.ndim > 1 else out[..., 0, :]
    return out if b.ndim > 1 else out[..., 0]


def composed(a: Tensor, b: Tensor, algebra: Algebra) -> Tensor:
    """The same from torch's own operations, a few rows at a time: for devices without our kernels."""
    parts, rows = [], max(1, PIECE // max(1, b.shape[-2] * b.shape[-1]))
    for one, other in zip(a, b, strict=True):
        for i in range(0, one.shape[0], rows):
            x, y = one[i : i + rows, :, None], other[None]
            if algebra.shifts:
                zero = float("inf") if algebra.vector_add == "smaller" else float("-inf")
                terms = torch.where((x == zero) & ~y.isnan() | (y == zero) & ~x.isnan(), zero, x + y)
            elif algebra.vector_mul == "mul":
                terms = torch.where((x == 0) & ~y.isnan() | (y == 0) & ~x.isnan(), 0.0, x * y)
            else:
                terms = torch.minimum(x, y) if algebra.vector_mul == "smaller" else torch.maximum(x, y)
            if algebra.share is not None:
                parts.append(terms.logsumexp(1))
            else:
                parts.append(terms.amax(1) if algebra.vector_add == "larger" else terms.amin(1))
    return torch.cat(parts).reshape(a.shape[0], a.shape[1], b.shape[2])


def _forward(a: Tensor, b: Tensor, algebra: Algebra) -> Tensor:
    if not a.is_cpu:
        return composed(a.detach(), b.detach(), algebra)
    from faltung.engine.matmul import product

    compute = dtype_name(a)
    return torch.from_numpy(product(to_numpy(a, compute), to_numpy(b, compute), algebra, compute))


class _Ordered(torch.autograd.Function):
    """Each result hands its cotangent to the first k that attains it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, name: str) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.over = algebras.named(name)
        return _forward(a, b, ctx.over)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple:
        a, b = ctx.saved_tensors
        over = ctx.over
        if over.beats is None or over.partials is None:
            raise RefusedError.of(f"matmul over {over.name}", "no gradient", "backward", "this algebra has none")
        x, y = (to_numpy(v, dtype_name(v)) for v in (a, b))
        choice = torch.stack([torch.from_numpy(kernel.chosen(p, q, over)) for p, q in zip(x, y, strict=True)])
        choice = choice.to(a.device).long()
        left, right = a.gather(2, choice), b.gather(1, choice)
        slopes = [torch.as_tensor(s, dtype=g.dtype) for s in over.partials(left.cpu().numpy(), right.cpu().numpy())]
        da, db = (torch.where(g == 0, 0.0, g * s.to(g.device)) for s in slopes)
        return torch.zeros_like(a).scatter_add(2, choice, da), torch.zeros_like(b).scatter_add(1, choice, db), None


class _Log(torch.autograd.Function):
    """Each term gets its share of the cotangent; the backward pass is written in torch and can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, name: str) -> Tensor:
        c = _forward(a, b, algebras.named(name))
        ctx.save_for_backward(a, b, c)
        return c

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        a, b, c = ctx.saved_tensors
        top_a, top_b = _top(a, 2), _top(b, 1)
        below = c - top_a - top_b
        near = (below > -FAR) & (c < float("inf"))
        # exp(a + b − c) = exp(a − top) exp(b − top) exp(top + top − c), the last where it cannot overflow.
        w = torch.where(near, g * torch.exp(-torch.where(near, below, 0.0)), 0.0)
        ea, eb = (torch.where(v < float("inf"), torch.exp(v - t), 0.0) for v, t in ((a, top_a), (b, top_b)))
        da, db = ea * (w @ eb.transpose(1, 2)), eb * (ea.transpose(1, 2) @ w)
        far = (~near & (c != float("-inf")) & (g != 0)).nonzero()
        for piece in far.split(max(1, PIECE // max(1, a.shape[2]))):
            n, i, j = piece.unbind(1)
            x, y = a[n, i], b[n, :, j]
            terms = torch.where((x == float("-inf")) | (y == float("-inf")), float("-inf"), x + y)
            share = torch.exp(terms - c[n, i, j][:, None]) * g[n, i, j][:, None]
            da = da.index_put((n, i), share, accumulate=True)
            db = db.transpose(1, 2).index_put((n, j), share, accumulate=True).transpose(1, 2)
        return da, db, None


def _top(v: Tensor, axis: int) -> Tensor:
    """The largest finite value along an axis, 0 where there is none."""
    v = v.detach()
    top = torch.where(v.isfinite(), v, float("-inf")).amax(axis, keepdim=True)
    return torch.where(top.isfinite(), top, 0.0)
