"""Gated long convolutions of tensors: what lies between the gates is never kept, it is computed again for the gradients."""

from typing import Any

import torch
from torch import Tensor

from faltung import monarch
from faltung.engine.fft_conv import Way, groups, plainly


def gated(x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
    """`((x · a) ∗ k) · b` of tensors (..., c, n) and k (c, taps)."""
    flat = x.reshape(-1, *x.shape[-2:])
    a, b = (None if g is None else g.reshape(flat.shape) for g in (a, b))
    if a is None and b is None:
        y = _meet(flat, k, way)
    elif torch.compiler.is_compiling():  # a graph keeps what it likes
        y = _composed(flat, k, a, b, way)
    else:
        y = _Gated.apply(flat, k, a, b, way)
    return y.reshape(x.shape)


def _meet(x: Tensor, k: Tensor, way: Way) -> Tensor:
    return plainly(x, k, way) if way.mask is None else _Sparse.apply(x, k, way)


def _composed(x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
    y = _meet(x if a is None else x * a, k, way)
    return y if b is None else y * b


class _Gated(torch.autograd.Function):
    """Groups of channels, one after the other; only the arguments are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
        ctx.save_for_backward(x, k, a, b)
        ctx.way = way
        y = x.new_empty(x.shape)
        for part in _groups(x, way):
            z = _meet(x[:, part] if a is None else x[:, part] * a[:, part], k[part], way)
            y[:, part] = z
            if b is not None:
                y[:, part] *= b[:, part]
        return y

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        x, k, a, b = ctx.saved_tensors
        given = (x, k, a, b)
        needs = [g is not None and needed for g, needed in zip(given, ctx.needs_input_grad[:4], strict=True)]
        if torch.is_grad_enabled():  # a derivative of the derivative is wanted: by way of the plain composition
            with torch.enable_grad():
                y = _composed(x, k, a, b, ctx.way)
            asked = [g for g, needed in zip(given, needs, strict=True) if needed]
            found = iter(torch.autograd.grad(y, asked, cotangent, create_graph=True))
            return (*(next(found) if needed else None for needed in needs), None)
        gradients: list[Tensor | None] = [
            torch.empty_like(g) if needed and g is not None else None for g, needed in zip(given, needs, strict=True)
        ]
        for part in _groups(x, ctx.way):
            pieces = [None if g is None else (g[part] if g is k else g[:, part]).detach() for g in given]
            with torch.enable_grad():
                asked = [
                    p.requires_grad_() for p, needed in zip(pieces, needs, strict=True) if needed and p is not None
                ]
                y = _composed(pieces[0], pieces[1], pieces[2], pieces[3], ctx.way)
            found = iter(torch.autograd.grad(y, asked, cotangent[:, part]))
            for number, gradient in enumerate(gradients):
                if gradient is not None:
                    gradient[part if number == 1 else (slice(None), part)] = next(found)
        return (*gradients, None)


class _Sparse(torch.autograd.Function):
    """The circular convolution with some frequencies of the filter; its adjoints are the same with conjugates."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor, way: Way) -> Tensor:
        ctx.save_for_backward(x, k)
        ctx.way = way
        return _by_numpy(x, k, way, False)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        x, k = ctx.saved_tensors
        way, N = ctx.way, len(ctx.way.mask)
        gx = _Adjoint.apply(cotangent, k, way) if ctx.needs_input_grad[0] else None
        gk = None
        if ctx.needs_input_grad[
            1
        ]:  # the filter is summed over the batch: ordinary transforms, its own length of results
            mask = torch.from_numpy(way.mask).to(x.device)
            spectra = (torch.fft.fft(x, N).conj() * torch.fft.fft(cotangent, N)).sum(0)
            gk = torch.fft.ifft(spectra * mask)[..., : k.shape[1]]
            gk = gk if k.is_complex() else gk.real
        return gx, gk, None


class _Adjoint(torch.autograd.Function):
    """The map back to the signal, with derivatives of its own."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, k: Tensor, way: Way) -> Tensor:
        ctx.save_for_backward(y, k)
        ctx.way = way
        return _by_numpy(y, k, way, True)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        y, k = ctx.saved_tensors
        way, N = ctx.way, len(ctx.way.mask)
        mask = torch.from_numpy(way.mask).to(y.device)
        gk = torch.fft.ifft((torch.fft.fft(y, N) * torch.fft.fft(cotangent, N).conj()).sum(0) * mask)
        gk = gk[..., : k.shape[1]]
        return _Sparse.apply(cotangent, k, way), gk if k.is_complex() else gk.real, None


def _by_numpy(x: Tensor, k: Tensor, way: Way, adjoint: bool) -> Tensor:
    assert way.mask is not None
    values, taps = (t.detach().cpu().numpy() for t in (x, k))
    result = monarch.sparse_conv(values, taps, way.mask, way.factors, adjoint)
    return torch.from_numpy(result).to(x.device)


def _groups(x: Tensor, way: Way) -> list[slice]:
    """All channels at once for what is not planned in pieces."""
    return [slice(0, x.shape[1])] if way.mask is not None else groups(tuple(x.shape), x.element_size())
