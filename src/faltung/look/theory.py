"""Small networks whose training is understood: ranks of Hessians, and which frequencies linear networks learn first."""

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Flow:
    """How a linear convolutional network learns.

    Fields:
        times: (t).   gains: (t, *n) size of the end-to-end map at each frequency.   targets: (*n) where it ends, s / λ.
        correlation, power: (*n) s = ‖Σ_yx‖ and λ of the inputs.   stationary: how much of Σ_xx lies off its diagonal of
            frequencies, 0 where the closed form is exact.
    """

    times: np.ndarray
    gains: np.ndarray
    targets: np.ndarray
    correlation: np.ndarray
    power: np.ndarray
    stationary: float


def frequency_statistics(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """(s, λ, off-diagonal share): correlation of outputs with each frequency of the inputs, power of each frequency.

    Shapes: x (samples, *n), y (samples, outputs).   The transform is unitary, so λ are eigenvalues of a stationary covariance.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    axes = tuple(range(1, x.ndim))
    waves = np.fft.fftn(x, axes=axes, norm="ortho").reshape(len(x), -1)
    cross = np.einsum("nk,nf->kf", y, waves) / len(x)
    covariance = waves.conj().T @ waves / len(x)
    power = np.diag(covariance).real
    away = np.abs(covariance - np.diag(power)) ** 2
    share = away.sum() / max((np.abs(covariance) ** 2).sum(), 1e-300)
    shape = x.shape[1:]
    return np.linalg.norm(cross, axis=0).reshape(shape), power.reshape(shape), float(share)


def linear_cnn_flow(x: Any, y: Any, times: Any, start: float = 1e-3) -> Flow:
    """Gradient flow of a circular convolution with full-size filters and a dense readout, frequency by frequency.

    Formula: a(t) = (s / λ) / (1 + (s / (λ a₀) − 1) e^(−2 s t)) with s = ‖Σ_yx‖ and λ the power of the inputs at the frequency, from
    balanced small values a₀. Exact where the inputs' covariance is diagonal in frequencies; `stationary` says how far from
    that.

    Shapes: x (samples, *n), y (samples, outputs), times (t).   Args: start: a₀.

    Source: Pinson, Lenaerts and Ginis, Linear CNNs discover the statistical structure of the dataset using only the most
    dominant frequencies (2023); Saxe, McClelland and Ganguli (2014) for the curve.
    """
    correlation, power, share = frequency_statistics(x, y)
    times = np.asarray(times, np.float64)
    targets = np.divide(correlation, power, out=np.zeros_like(power), where=power > 0)
    gains = learning_curve(correlation, power, start, times)
    return Flow(times, gains, targets, correlation, power, share)


def learning_curve(correlation: Any, power: Any, start: float, times: Any) -> np.ndarray:
    """a(t) = (s / λ) / (1 + (s / (λ a₀) − 1) e^(−2 s t)) for each time (first axis) and mode; a₀ stays where s is 0 and λ is 0.

    Example:
        >>> float(learning_curve(1.0, 2.0, 0.5, [3.0])[0])
        0.5
    """
    s, lam = np.broadcast_arrays(np.asarray(correlation, np.float64), np.asarray(power, np.float64))
    t = np.asarray(times, np.float64).reshape(-1, *(1,) * s.ndim)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        decay = np.exp(-2 * s * t)
        # Written without s / λ: a₀ s / (a₀ λ + (s − a₀ λ) e^(−2 s t)) holds for λ = 0 too.
        curve = start * s / (start * lam + (s - start * lam) * decay)
        still = start / (1 + 2 * lam * start * t)  # s = 0: the flow a' = −2 λ a²
    return np.where(s == 0, still, curve)


def discovery_order(x: Any, y: Any, start: float = 1e-3) -> list[tuple[tuple[int, ...], float]]:
    """Frequencies in the order in which they are learnt, with the time at which half of s / λ is reached; what never is, left out.

    Formula: t = ln(s / (λ a₀) − 1) / (2 s).
    """
    correlation, power, _ = frequency_statistics(x, y)
    found = []
    for place in np.ndindex(correlation.shape):
        s, lam = correlation[place], power[place]
        if s > 0 and lam > 0 and s / (lam * start) > 1:
            ratio = s / (lam * start) - 1
            found.append((place, float(max(np.log(ratio), 0.0) / (2 * s)) if ratio > 0 else 0.0))
    return sorted(found, key=lambda entry: entry[1])
