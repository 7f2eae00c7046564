"""What a layer says of its symmetries, checked: fixed elements and random ones, their derivatives, and after steps of training."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from faltung.certify.actions import Declared
from faltung.certify.moved import equivariance
from faltung.nn.base import Symmetry
from faltung.testing.layer_cases import Case, loss_of, near

EXACT, SLOPES = 1e-10, 1e-9
DRAWS, STEPS = 3, 2


def declared(layer: Any, inputs: tuple[Any, ...], draws: int = DRAWS) -> tuple[Symmetry, ...]:
    """All symmetries that a layer lists, then random ones of as many draws: those that fit the inputs."""
    found = list(layer.symmetries())
    for seed in range(draws):
        found.extend(layer.random_symmetries(np.random.default_rng(seed)))
    return tuple(s for s in found if s.fits(*inputs))


def symmetric(case: Case) -> None:
    """What the layer says of its symmetries is so, as `faltung.certify.equivariance` measures it."""
    layer, inputs = case.layer(), case.inputs()
    _measured(layer, inputs, declared(layer, inputs))


def symmetric_slopes(case: Case) -> None:
    """Derivatives move with results: `∇⟨c, seen(f(S x))⟩ = ∇⟨c, T f(x)⟩`, for an orthogonal S = g that is ∇f(gx) = g⁻ᵀ∇f(x).

    For inputs and parameters alike: the symmetry holds for all of their values, so both sides are one function of them.
    """
    layer, inputs = case.layer(), case.inputs()
    leaves, spec = pytree.tree_flatten(inputs)
    leaves = [leaf.requires_grad_() for leaf in leaves]
    inputs = pytree.tree_unflatten(leaves, spec)
    for element in (*tuple(layer.symmetries())[:2], *layer.random_symmetries(np.random.default_rng(0))):
        if not element.fits(*inputs):
            continue
        ends = element.seen(layer(*element.moved(inputs))), element.wanted(layer(*inputs))
        wanted = [p for p in layer.parameters() if p.requires_grad] + leaves
        found = [_slopes(end, wanted) for end in ends]
        near(*found, SLOPES, f"derivatives under {element.name}")


def symmetric_trained(case: Case) -> None:
    """The symmetry is the layer's, not that of its first values: steps of gradient descent in training mode leave it."""
    layer, inputs = case.layer(), case.inputs()
    torch.manual_seed(0)
    layer.train()
    values = [p for p in layer.parameters() if p.requires_grad]
    for _ in range(STEPS):
        loss = loss_of(layer(*inputs))
        slopes = torch.autograd.grad(loss, values, allow_unused=True) if values and loss.requires_grad else ()
        with torch.no_grad():
            for value, slope in zip(values, slopes, strict=False):
                if slope is not None and (size := slope.norm()) > 0:
                    value -= 0.1 * (1 + value.norm()) * slope / size
    layer.eval()
    _measured(layer, inputs, declared(layer, inputs, 1))


def _measured(layer: Any, inputs: tuple[Any, ...], elements: tuple[Symmetry, ...]) -> None:
    if not elements:
        return
    report = equivariance(layer, Declared(*elements), inputs, count=len(elements), layers=None, tolerance=EXACT)
    assert report.kept, "\n".join(f"{e.words}: off by {e.error:.1e}" for e in report.elements)


def _slopes(results: Any, wanted: list[Tensor]) -> Tensor:
    """The derivatives of a random real number of the results, in one row."""
    generator, total = torch.Generator().manual_seed(3), torch.zeros((), dtype=torch.float64)
    for result in pytree.tree_leaves(results):
        weight = torch.randn(result.shape, dtype=torch.float64, generator=generator)
        if result.requires_grad:
            part = result.real + result.imag * 0.7 if result.is_complex() else result
            total = total + (part * weight).sum()
    if not total.requires_grad:
        return torch.zeros(1)
    found = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return torch.cat([torch.view_as_real(g).flatten() if g.is_complex() else g.flatten() for g in found])
