"""Small networks whose training is understood: ranks and eigenvalues of the Hessians of their loss."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.readers import undisturbed

_LARGEST = 3000


@dataclass(frozen=True)
class HessianRank:
    """Ranks of the Hessian of a mean squared loss: the whole, its Gauss–Newton part, and the part of the residual."""

    whole: int
    outer: int
    functional: int
    parameters: int


def hessian_rank(model: nn.Module, x: Tensor, y: Tensor, tol: float = 1e-9) -> HessianRank:
    """The rank of the Hessian of ½ mean ‖y − f(x)‖², and of its two parts H = H_outer + H_functional.

    Shapes: x (samples, ...), y (samples, outputs).   Args: tol: relative to the largest singular value; numbers are float64.

    Raises:
        ArgumentError: more than 3000 parameters.

    Cost: parameters³.
    Source: Singh, Hofmann and Schölkopf, The Hessian perspective into the nature of convolutional neural networks (2023).
    """
    names = [n for n, _ in model.named_parameters()]
    start = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    if len(start) > _LARGEST:
        raise ArgumentError.of(
            "hessian_rank", f"at most {_LARGEST} parameters", str(len(start)), "take a smaller model"
        )
    shapes = [p.shape for p in model.parameters()]
    x, y = x.double(), y.double()

    def result(flat: Tensor) -> Tensor:
        parts = [p.reshape(s) for p, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        return torch.func.functional_call(model, dict(zip(names, parts, strict=True)), (x,)).reshape(len(x), -1)

    with undisturbed(model):
        jacobian = torch.func.jacrev(result)(start)  # (samples, outputs, parameters)
        outer = torch.einsum("nkp,nkq->pq", jacobian, jacobian) / len(x)
        residual = (result(start) - y).detach() / len(x)
        # The residual held fixed, so that second derivatives of the model alone are left.
        functional = torch.func.jacrev(torch.func.grad(lambda flat: (residual * result(flat)).sum()))(start)
    ranks = [
        int(torch.linalg.matrix_rank(h.detach(), rtol=tol, hermitian=True))
        for h in (outer + functional, outer, functional)
    ]
    return HessianRank(ranks[0], ranks[1], ranks[2], len(start))


def hessian_values(model: nn.Module, x: Tensor, y: Tensor, k: int = 20) -> np.ndarray:
    """The k eigenvalues of largest size of the Hessian of ½ mean ‖y − f(x)‖², for models too large for `hessian_rank`.

    Lanczos on products of the Hessian with vectors, each a gradient of a gradient; the Hessian is never made. Where the k-th is
    nothing beside the first, fewer than k directions matter.

    Shapes: as for `hessian_rank`; returns (k), by falling size, signs kept.   Raises: ArgumentError: k not below the parameters.

    Error: of ARPACK, about the precision of float64.   Cost: some tens of gradients for each.
    """
    names = [n for n, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    start = torch.cat([p.detach().double().flatten() for p in model.parameters()])
    if not 0 < k < len(start):
        raise ArgumentError.of("hessian_values", f"1 to {len(start) - 1} eigenvalues", str(k), "ask for fewer")
    x, y = x.double(), y.double()

    def loss(flat: Tensor) -> Tensor:
        parts = [p.reshape(s) for p, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        made = torch.func.functional_call(model, dict(zip(names, parts, strict=True)), (x,)).reshape(len(x), -1)
        return 0.5 * ((made - y) ** 2).sum() / len(x)

    def product(v: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(v.ravel().copy())
        return back(direction)[0].detach().numpy()

    with undisturbed(model):
        back = torch.func.vjp(torch.func.grad(loss), start)[1]  # the Hessian is symmetric
        first = np.random.default_rng(0).standard_normal(len(start))
        operator = LinearOperator((len(start),) * 2, product, dtype=np.float64)
        values = eigsh(operator, k, which="LM", v0=first, return_eigenvectors=False)
    return values[np.argsort(-np.abs(values))]


def hessian_rank_bound(filters: int, taps: int, size: int, outputs: int, input_rank: int | None = None) -> HessianRank:
    """Upper bounds for a linear network of one hidden convolution of one channel without margins and a dense readout.

    Formula: outer ≤ K · rank Σ_xx; functional ≤ 2 m · min(k, K (d − k + 1)); whole ≤ their sum and the number of parameters.

    Args: filters: m.   taps: k.   size: d, of the input.   outputs: K.   input_rank: of the inputs' covariance, d by default.

    Example:
        >>> hessian_rank_bound(2, 3, 8, 2).functional
        12
    """
    parameters = filters * (taps + outputs * (size - taps + 1))
    outer = min(outputs * (size if input_rank is None else input_rank), parameters)
    functional = min(2 * filters * min(taps, outputs * (size - taps + 1)), parameters)
    return HessianRank(min(outer + functional, parameters), outer, functional, parameters)
