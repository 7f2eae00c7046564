"""Sums of exponentials: the definition at every size, the transpose, no array of all powers, phases of many turns."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from faltung.errors import ArgumentError, DtypeError
from faltung.nn.functional import moments, vandermonde

F64 = torch.float64
SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 700))


def drawn(H, M, N, real, seed=0):
    generator = torch.Generator().manual_seed(seed)
    planes = [torch.randn(shape, generator=generator, dtype=F64) for shape in ((H, M, N), (H, M, N), (H, N), (H, N))]
    if real:
        return (planes[0], None), (-planes[2].abs() / 50, None)
    return (planes[0], planes[1]), (-planes[2].abs() / 50, planes[3])


def joined(planes):
    return torch.complex(planes[0], torch.zeros_like(planes[0]) if planes[1] is None else planes[1])


def powers(exponent, length):
    return torch.exp(joined(exponent)[..., None] * torch.arange(length))


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, real=st.booleans())
def test_is_the_definition(sizes, real):
    H, M, N, length = sizes
    weight, exponent = drawn(H, M, N, real)
    wanted = torch.einsum("hmn,hnl->hml", joined(weight), powers(exponent, length)).real
    assert torch.allclose(vandermonde(weight, exponent, length), wanted, atol=1e-11)


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, real=st.booleans())
def test_moments_are_the_transpose(sizes, real):
    H, R, N, length = sizes
    _, exponent = drawn(H, R, N, real)
    x = torch.randn(H, R, length, dtype=F64, generator=torch.Generator().manual_seed(1))
    got = moments(x, exponent)
    wanted = torch.einsum("hrl,hnl->hrn", x.to(torch.complex128), powers(exponent, length))
    assert (got[1] is None) == real
    assert torch.allclose(joined(got), wanted, atol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # torch on its own internals
@pytest.mark.parametrize("real", [True, False])
def test_derivatives_of_any_order_and_kind(real):
    weight, exponent = drawn(2, 2, 3, real)
    flat = [a.requires_grad_() for a in (*weight, *exponent) if a is not None]

    def call(*planes):
        half = len(planes) // 2
        pair = [p if len(p) == 2 else (*p, None) for p in (planes[:half], planes[half:])]
        return vandermonde(*pair, 37)

    assert torch.autograd.gradcheck(call, flat, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, flat, fast_mode=True)


def test_float32_is_right_after_thousands_of_turns():
    dt = torch.full((1, 32), 0.1, dtype=F64)
    exponent = (-dt * 1e-4, dt * math.pi * torch.arange(32))
    weight = tuple(torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(n)) for n in range(2))
    got = vandermonde(weight, exponent, 1 << 16)
    wanted = vandermonde(tuple(w.double() for w in weight), exponent, 1 << 16)
    assert got.dtype == torch.float32
    assert ((got - wanted).abs().max() / wanted.abs().max()).item() < 1e-6


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest result of any operation has."""

    numel = 0

    def __torch_dispatch__(self, function, types, arguments=(), settings=None):
        result = function(*arguments, **(settings or {}))
        for one in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return result


def test_no_array_holds_all_powers():
    """Forwards and backwards, nothing is larger than the result itself."""
    H, N, length = 4, 32, 1 << 14
    weight, exponent = drawn(H, 1, N, False)
    flat = [a.requires_grad_() for a in (*weight, *exponent)]
    with Largest() as largest:
        y = vandermonde(weight, exponent, length)
        torch.autograd.grad(y.sum(), flat)
    assert largest.numel <= 2 * max(H * length, 2 * H * N * math.isqrt(length))
    with Largest() as naive:
        torch.einsum("hmn,hnl->hml", joined(weight), powers(exponent, length))
    assert naive.numel >= H * N * length


def test_wrong_calls_get_a_sentence():
    weight, exponent = drawn(2, 1, 3, False)
    for call, kind, word in (
        (lambda: vandermonde((weight[0], None), exponent, 4), ArgumentError, "imaginary parts"),
        (lambda: vandermonde(weight, (exponent[0][:, :2], exponent[1][:, :2]), 4), ArgumentError, "exponent"),
        (lambda: vandermonde(weight, exponent, 0), ArgumentError, "length"),
        (lambda: vandermonde((weight[0].long(), weight[1]), exponent, 4), DtypeError, "planes"),
    ):
        with pytest.raises(kind, match=word):
            call()
