"""Gated long convolutions of tensors: the gated signal and its spectra are never kept, only what a gradient cannot do without.

Where the planner chooses negacyclic transforms, one pass computes the result and another one all derivatives; elsewhere groups
of channels go through the planner's methods one after the other.
"""

from typing import Any

import torch
from torch import Tensor

from faltung import monarch, torch_gate
from faltung.door import texts
from faltung.engine import gated_ring
from faltung.engine.fft_conv import PATTERN, Way, groups, in_a_ring, plainly


def gated(x: Tensor, k: Tensor, a: Tensor | None, b: Tensor | None, way: Way) -> Tensor:
    """`((x · a) ∗ k) · b` of tensors (..., c, n) and k (c, taps)."""
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
    return plainly(x, k, way) if way.mask is None else _Sparse.apply(x, k, way)


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
