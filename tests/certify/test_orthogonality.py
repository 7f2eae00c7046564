"""Orthogonality: the penalty against dense matrices, its guarantee on singular values, and when it can be zero."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from faltung.certify import (
    SpectralRescale,
    can_be_orthogonal,
    filter_orth_penalty,
    l_orth,
    lipschitz_penalty,
    orth_penalty,
    orthogonality,
    spectral_norm,
)
from faltung.errors import ArgumentError
from faltung.filters import Symbol

few = settings(max_examples=40, deadline=None)


@st.composite
def kernels(draw):
    """(weight, stride, dilation, groups) in one or two dimensions."""
    ndim = draw(st.integers(1, 2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(ndim))
    size = tuple(draw(st.integers(1, 3)) for _ in range(ndim))
    groups = draw(st.integers(1, 2))
    shape = (groups * draw(st.integers(1, 5)), draw(st.integers(1, 3)), *size)
    return rng.standard_normal(shape) / 2, stride, draw(st.integers(1, 2)), groups


def exact_defect(weight, stride, dilation, groups, n):
    """(‖·‖_F, ‖·‖₂, kind, all singular values) of KKᵀ − I, or KᵀK − I where K is tall, on a circle with n results an axis."""
    blocks = Symbol(weight, stride, dilation, groups).blocks(n)
    adjoint = blocks.conj().swapaxes(-1, -2)
    rows, columns = blocks.shape[-2:]
    product = blocks @ adjoint if rows <= columns else adjoint @ blocks
    away = product - np.eye(product.shape[-1])
    values = np.linalg.svd(blocks, compute_uv=False)
    return (
        np.linalg.norm(away),
        np.linalg.norm(away, 2, axis=(-2, -1)).max(),
        "row" if rows <= columns else "column",
        values,
    )


@few
@given(kernels())
def test_the_penalty_is_the_frobenius_defect_and_bounds_the_spectrum(drawn):
    weight, stride, dilation, groups = drawn
    n = 13  # prime: dilation permutes frequencies; n · stride ≥ (2k − 1) · dilation
    penalty = float(l_orth(weight, stride, dilation, groups))
    frobenius, spectral, kind, values = exact_defect(weight, stride, dilation, groups, n)
    places = n ** len(stride)
    assert abs(frobenius**2 - places * penalty) < 1e-10 * max(1, frobenius**2)
    found = orthogonality(weight, stride=stride, dilation=dilation, groups=groups)
    assert found.kind == kind
    assert spectral <= found.spectral_bound * (1 + 1e-12)
    low, high = found.sigma_interval
    assert low <= values.min() + 1e-12
    assert values.max() <= high + 1e-12
    rows, inputs = weight.shape[0] // groups, weight.shape[1]
    if any(math.gcd(s, dilation) > 1 for s in stride):
        return  # the published bound is for kernels without dilation
    if kind == "row":
        published = rows * math.prod(2 * ((k - 1) // s) + 1 for k, s in zip(weight.shape[2:], stride, strict=True))
    else:
        published = inputs * math.prod(2 * k - 1 for k in weight.shape[2:])
    assert spectral**2 <= published * penalty * (1 + 1e-9)
    assert found.spectral_bound**2 <= published * penalty * (1 + 1e-6) + 1e-20


def test_frobenius_is_for_the_size_asked_for():
    weight = np.random.default_rng(0).standard_normal((3, 2, 3, 3)) / 3
    frobenius, *_ = exact_defect(weight, 2, 1, 1, (4, 5))
    assert math.isclose(orthogonality(weight, (8, 10), stride=2).frobenius, frobenius, rel_tol=1e-10)
    assert (
        math.isclose(orthogonality(nn.Conv2d(2, 3, 3)).frobenius ** 2, orthogonality(nn.Conv2d(2, 3, 3)).l_orth)
        is False
    )
    with pytest.raises(ArgumentError, match="at least 5"):
        orthogonality(weight, 4, stride=2)


def test_exact_constructions_have_no_defect():
    permuted = torch.zeros(5, 5, 3, 3, dtype=torch.float64)
    permuted[range(5), [2, 0, 1, 4, 3], [0, 1, 2, 1, 0], [2, 1, 0, 0, 2]] = 1
    assert l_orth(permuted).item() == 0
    patches = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0].reshape(8, 2, 2, 2)
    assert abs(l_orth(patches, stride=2).item()) < 1e-28
    low, high = orthogonality(patches, stride=2).sigma_interval
    assert high - low < 1e-12
    tall = torch.linalg.qr(torch.randn(9, 4, dtype=torch.float64))[0].reshape(9, 1, 2, 2)  # more filters than inputs
    assert abs(l_orth(tall, stride=2).item()) < 1e-28
    haar = torch.tensor([[[1.0, 1]], [[1, -1]]], dtype=torch.float64) / 2  # a tight frame: columns at stride 1
    assert abs(l_orth(haar).item()) < 1e-28
    assert orthogonality(tall, stride=2).spectral_bound < 1e-12


def test_a_stride_that_misses_the_middle_shift_is_no_slip_here():
    """The identity sits at shift 0 also at stride 2: two equal filters are not orthogonal."""
    twin = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    twin[:, 0, 1, 1] = 1
    assert l_orth(twin, stride=2).item() == 2


def test_gradients():
    weight = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: l_orth(w, stride=2, groups=2), weight)
    layer = nn.Linear(6, 8, bias=False).double()
    for kind in ("full", "group-inter", "group-intra", "offdiag"):
        assert torch.autograd.gradcheck(
            lambda w, kind=kind: filter_orth_penalty(_with(layer, w), kind, groups=2),
            layer.weight.detach().requires_grad_(),
        )


def _with(layer, weight):
    """A layer whose weight is that very tensor."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    del made._parameters["weight"]
    made.weight = weight
    return made


TABLE = [
    (1, 9, 3, 1),
    (1, 4, 1, 2),
    (1, 4, 2, 2),
    (2, 9, 2, 2),
    (1, 1, 1, 2),
    (1, 2, 1, 2),
    (2, 2, 2, 1),
    (1, 10, 3, 3),
    (2, 3, 1, 2),
]


@pytest.mark.parametrize("architecture", TABLE)
def test_the_predicate_agrees_with_minimisation(architecture):
    inputs, rows, size, stride = architecture
    torch.manual_seed(0)
    best = math.inf
    for _ in range(3):
        weight = torch.randn(rows, inputs, size, size, dtype=torch.float64).div_(2).requires_grad_()
        optimiser = torch.optim.LBFGS(
            [weight], max_iter=400, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
        )

        def closure(weight=weight, optimiser=optimiser):
            optimiser.zero_grad()
            loss = l_orth(weight, stride)
            loss.backward()
            return loss

        optimiser.step(closure)
        best = min(best, float(l_orth(weight.detach(), stride)))
        if best < 1e-8:
            break
    assert (best < 1e-8) == can_be_orthogonal(inputs, rows, size, stride).possible


def test_verdicts_say_why():
    assert not can_be_orthogonal(1, 4, 1, 2).possible
    assert can_be_orthogonal(1, 9, 3, 1).possible
    assert "margin" in can_be_orthogonal(3, 3, 3, padding_mode="zeros").reason
    assert can_be_orthogonal(3, 3, 1, padding_mode="zeros").possible
    assert not can_be_orthogonal(1, 4, 3, padding_mode="valid").possible
    assert can_be_orthogonal(4, 4, 3, padding_mode="valid").possible
    assert (
        "leaves out" in can_be_orthogonal(1, 9, 2, 3 - 1 + 0, ndim=1).reason
        or can_be_orthogonal(1, 9, 2, 2, ndim=1).possible
    )
    assert "stride of 3" in can_be_orthogonal(1, 9, 2, 3, ndim=1).reason
    with pytest.raises(ArgumentError, match="circular, zeros or valid"):
        can_be_orthogonal(1, 1, 1, padding_mode="reflect")


def test_group_penalties_are_what_their_names_say():
    layer = nn.Conv2d(3, 16, 3).requires_grad_(False)
    full = filter_orth_penalty(layer)
    assert torch.allclose(filter_orth_penalty(layer, "group-inter", groups=1), full)
    filters = layer.weight.detach().reshape(16, -1)
    by_hand = sum(float((g @ g.T - torch.eye(4)).square().sum()) for g in filters.split(4))
    assert math.isclose(float(filter_orth_penalty(layer, "group-inter", groups=4)), by_hand, rel_tol=1e-5)
    by_hand = sum(float((filters[i::4] @ filters[i::4].T - torch.eye(4)).square().sum()) for i in range(4))
    assert math.isclose(float(filter_orth_penalty(layer, "group-intra", groups=4)), by_hand, rel_tol=1e-5)
    odd = nn.Linear(30, 14).requires_grad_(False)  # 3 groups do not divide 14 filters: 2 do
    assert torch.allclose(
        filter_orth_penalty(odd, "group-inter", groups=3), filter_orth_penalty(odd, "group-inter", groups=2)
    )
    with torch.no_grad():
        nn.init.orthogonal_(odd.weight)
        for kind in ("full", "group-inter", "group-intra", "offdiag"):
            assert float(filter_orth_penalty(odd, kind)) < 1e-10
        odd.weight[3] *= 5
    assert float(filter_orth_penalty(odd, "offdiag")) < 1e-10
    assert float(filter_orth_penalty(odd)) > 100
    pair = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).requires_grad_(False)
    assert math.isclose(
        float(filter_orth_penalty(pair, reduction="sum")), 2 * float(filter_orth_penalty(pair)), rel_tol=1e-6
    )
    assert float(filter_orth_penalty(pair, include=r"^0\.")) == float(filter_orth_penalty(pair[0]))
    with pytest.raises(ArgumentError, match="matches"):
        filter_orth_penalty(pair, include="lora")


def test_penalties_of_models():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2))
    parts = l_orth(model[0].weight) + l_orth(model[2].weight, 2, groups=2)
    assert torch.allclose(orth_penalty(model), parts)
    norms = [spectral_norm(model[i], rtol=0.1).upper for i in (0, 2)]
    low, high = sorted(norms, key=lambda norm: norm.item())
    assert float(lipschitz_penalty(model, threshold=float(high.detach()))) == 0
    assert torch.allclose(lipschitz_penalty(model, threshold=float(low.detach())), high)
    lipschitz_penalty(model, threshold=0.1).backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in (model[0], model[2]))
    with pytest.raises(ArgumentError, match="convolutions"):
        orth_penalty(nn.ReLU())


@few
@given(kernels(), st.integers(1, 3))
def test_rescaled_filters_have_norm_at_most_one(drawn, steps):
    weight, stride, dilation, groups = drawn
    made = SpectralRescale(stride, dilation, groups, steps)(torch.tensor(weight))
    assert spectral_norm(made, stride=stride, dilation=dilation, groups=groups).lower <= 1 + 1e-12
    grid = 37 if weight.ndim == 3 else 11
    assert Symbol(made.numpy(), stride, dilation, groups).norm(grid) <= 1 + 1e-12


def test_rescaling_with_one_step_is_the_almost_orthogonal_layer():
    weight = torch.randn(3, 2, 4, dtype=torch.float64)
    products = Symbol(weight).gram().taps()[0]
    by_hand = weight / products.abs().sum((1, 2)).sqrt()[:, None, None]
    assert torch.allclose(SpectralRescale(n_iter=1)(weight), by_hand)
