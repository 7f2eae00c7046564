"""Gated long convolutions of tensors: the gated signal and its spectra are never kept, only what a gradient cannot do without.

Where the planner chooses negacyclic transforms, one pass computes the result and another one all derivatives; elsewhere groups
of channels go through the planner's methods one after the other.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung import monarch, torch_gate
from faltung.door import texts
from faltung.engine import gated_ring
from faltung.engine.fft_conv import PATTERN, Way, groups, in_a_ring, plainly


def gated(x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
    """`((x · a) ∗ k) · b` of tensors (..., c, n) and k (c, taps)."""
    if way.mask is not None:  # widened here, so that all derivatives are as well, and rounded once
        kind = reduce(torch.promote_types, (t.dtype for t in (x, k, a, b) if t is not None))
        wide = getattr(torch, monarch.MASKED[str(kind).removeprefix("torch.")])
        if any(t is not None and t.dtype != wide for t in (x, k, a, b)):
            x, k, a, b = (None if t is None else t.to(wide) for t in (x, k, a, b))
            return gated(x, k, a, b, way).to(kind)
    flat = x.reshape(-1, *x.shape[-2:])
    a, b = (None if g is None else g.reshape(flat.shape) for g in (a, b))
    on = in_a_ring(flat, k, a, b, way) if torch_gate.unobserved(flat, k, a, b) else None
    if on is not None:
        y = _Ring.apply(flat, k, a, b, way, on)
    elif a is None and b is None:
        y = _meet(flat, k, way)
    elif torch.compiler.is_compiling():  # a graph keeps what it likes
        y = _composed(flat, k, a, b, way)
    else:
        y = _Gated.apply(flat, k, a, b, way)
    return y.reshape(x.shape)


def _meet(x: Tensor, k: Tensor, way: Way) -> Tensor:
    if way.mask is None:
        return plainly(x, k, way)
    return _sparse(x, k, torch.as_tensor(way.mask, device=x.device), way.factors, False)


def _composed(x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
    y = _meet(x if a is None else x * a, k, way)
    return y if b is None else y * b


def _array(t: Tensor | None) -> Any:
    return None if t is None else t.detach().resolve_neg().numpy()


class _Ring(torch.autograd.Function):
    """Everything in one pass each way. Kept are the arguments."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way, on: Any
    ) -> Tensor:  # fmt: skip
        ctx.way, ctx.on = way, on
        ctx.save_for_backward(x, k, a, b)
        y = gated_ring.forward(on, _array(x), _array(k), _array(a), _array(b))
        return _composed(x, k, a, b, way) if y is None else torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        given = x, k, a, b = ctx.saved_tensors
        wanted = tuple(g is not None and n for g, n in zip(given, ctx.needs_input_grad, strict=False))
        if not torch.is_grad_enabled() and torch_gate.alone(cotangent):
            found = gated_ring.backward(
                ctx.on, _array(x), _array(k), _array(a), _array(b), _array(cotangent), wanted
            )  # fmt: skip
            if found is not None:
                return (*(None if t is None else torch.from_numpy(t) for t in found), None, None)
        return (*_by_composition(given, wanted, cotangent, ctx.way), None, None)


def _by_composition(given: Any, wanted: tuple, cotangent: Tensor, way: Way) -> list[Tensor | None]:
    """The derivatives of the plain composition, which have derivatives themselves where these can be asked for."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        if not again:
            given = [t if t is None else t.detach().requires_grad_(w) for t, w in zip(given, wanted, strict=True)]
        x, k, a, b = given
        y = _composed(x, k, a, b, way)
    asked = [t for t, want in zip(given, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(y, asked, cotangent, create_graph=again))
    return [next(found) if want else None for want in wanted]


class _Gated(torch.autograd.Function):
    """Groups of channels, one after the other. Kept are the arguments and, where the second gate learns, what it multiplies."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
        ctx.way = way
        y = x.new_empty(x.shape)
        before = torch.empty_like(y) if b is not None and ctx.needs_input_grad[3] else None
        for part in _groups(x, way):
            z = _meet(x[:, part] if a is None else x[:, part] * a[:, part], k[part], way)
            if before is not None:
                before[:, part] = z
            y[:, part] = z if b is None else z * b[:, part]
        ctx.save_for_backward(x, k, a, b, before)
        return y

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        *given, before = ctx.saved_tensors
        x, k, a, b = given
        way, needs = ctx.way, ctx.needs_input_grad
        # A derivative of the derivative is wanted, or many at once: by way of the plain composition.
        if torch.is_grad_enabled() or not torch_gate.alone(cotangent):
            wanted = tuple(g is not None and n for g, n in zip(given, needs, strict=False))
            return (*_by_composition(given, wanted, cotangent, way), None)
        gx, gk, ga = (
            torch.empty_like(g) if g is not None and n else None for g, n in zip(given[:3], needs, strict=False)
        )
        for part in _groups(x, way):
            taps = k[part]
            u = x[:, part] if a is None else x[:, part] * a[:, part]
            g = cotangent[:, part] if b is None else cotangent[:, part] * b[:, part]
            if gk is not None:
                gk[part] = _partial("k", u, taps, g, way)
            if gx is not None or ga is not None:
                gu = _partial("x", u, taps, g, way)
                if gx is not None:
                    gx[:, part] = gu if a is None else gu * a[:, part]
                if ga is not None:
                    ga[:, part] = gu * x[:, part]
        return gx, gk, ga, None if before is None else cotangent * before, None


def _partial(slot: str, x: Tensor, k: Tensor, y: Tensor, way: Way) -> Tensor:
    """The cotangent of x or k, from that of the result; planned as a problem of its own where there is one."""
    if way.size is not None or way.mask is not None:
        with torch.enable_grad():
            x, k = x.detach().requires_grad_(), k.detach().requires_grad_()
            return torch.autograd.grad(_meet(x, k, way), x if slot == "x" else k, y)[0]
    options = (True, PATTERN, way.pads(k.shape[-1]), "constant", 1, 1, None, None, None, slot)
    problem, policy = texts(torch_gate.facts(x), torch_gate.facts(k), options, way.policy)
    x, k = (t.conj().resolve_conj() if t.is_complex() else t for t in (x, k))
    known = {"k": k} if slot == "x" else {"x": x}
    return torch_gate.solve(problem, policy, y=y.contiguous(), **known)


@torch.library.custom_op("faltung::sparse_spectrum", mutates_args=())
def _sparse(x: Tensor, k: Tensor, mask: Tensor, factors: Sequence[int], adjoint: bool) -> Tensor:
    """The circular convolution with some frequencies of the filter, or its adjoint, which has their conjugates."""
    values, taps = (t.detach().resolve_conj().resolve_neg().cpu().numpy() for t in (x, k))
    result = monarch.sparse_conv(values, taps, mask.cpu().numpy(), tuple(factors), adjoint)
    return torch.from_numpy(np.ascontiguousarray(result)).to(x.device)


@_sparse.register_fake
def _(x: Tensor, k: Tensor, mask: Tensor, factors: Sequence[int], adjoint: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.factors, ctx.adjoint = inputs
    ctx.save_for_backward(*tensors)


def _slopes(ctx: Any, cotangent: Tensor) -> tuple:
    x, k, mask = ctx.saved_tensors
    gx = _sparse(cotangent, k, mask, ctx.factors, not ctx.adjoint) if ctx.needs_input_grad[0] else None
    gk = None
    if ctx.needs_input_grad[1]:  # the filter is summed over the batch: ordinary transforms, its own length of results
        seen, flow = torch.fft.fft(x, len(mask)), torch.fft.fft(cotangent, len(mask))
        spectra = seen * flow.conj() if ctx.adjoint else seen.conj() * flow
        gk = torch.fft.ifft(spectra.sum(0) * mask)[..., : k.shape[1]]
        gk = gk if k.is_complex() else gk.real
    return gx, gk, None, None, None


_sparse.register_autograd(_slopes, setup_context=_keep)


def _groups(x: Tensor, way: Way) -> list[slice]:
    """All channels at once for what is not planned in pieces."""
    return [slice(0, x.shape[1])] if way.mask is not None else groups(tuple(x.shape), x.element_size())
