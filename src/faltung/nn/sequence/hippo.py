"""Matrices whose states remember the past as coefficients of polynomials: HiPPO, their normal parts, and the memory itself."""

import itertools
from collections.abc import Iterator

import numpy as np
import scipy.linalg
import torch
from numpy.polynomial import legendre
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.nn.functional.convolution import numbers
from faltung.nn.sequence.discretisation import discretise

NAMES = ("legs", "legt", "lmu", "lagt", "fourier")


def matrices(name: str, state: int) -> tuple[Tensor, Tensor]:
    """The matrices (A, B) of x' = A x + B u whose state x holds the past of u in an orthogonal basis.

    | name | basis | what of the past |
    |---|---|---|
    | legs | Legendre | all of it, scaled: of age s with weight exp(−s) where A does not change with time |
    | legt | Legendre | a window of length 2 |
    | lmu | Legendre, without the factors that make them orthonormal | a window of length 1 |
    | lagt | Laguerre | all of it, weight exp(−s) |
    | fourier | sines and cosines | a window of length 2 |

    Shapes: returns (state, state) and (state), float64.

    Raises:
        ArgumentError: a name that is none of these.

    Source: Gu, Dao, Ermon, Rudra and Ré, HiPPO: recurrent memory with optimal polynomial projections (2020); Voelker, Kajić and
    Eliasmith, Legendre memory units (2019); Gu, Johnson, Timalsina, Rudra and Ré, How to train your HiPPO (2023), for fourier.

    Example:
        >>> matrices("legs", 2)[0]
        tensor([[-1.0000,  0.0000],
                [-1.7321, -2.0000]], dtype=torch.float64)
    """
    (state,) = numbers("state", state, 1, 1)
    n = torch.arange(state, dtype=torch.float64)
    root, row, column = (2 * n + 1).sqrt(), n[:, None], n[None]
    if name == "legs":
        A = torch.where(row > column, -root[:, None] * root, torch.where(row == column, -(row + 1), 0.0))
        return A, root
    if name == "legt":
        sign = torch.where(row >= column, 1.0, (-1.0) ** (row - column))
        return -0.5 * root[:, None] * root * sign, 0.5 * root
    if name == "lmu":
        size = 2 * n + 1
        sign = torch.where(row < column, -1.0, (-1.0) ** (row - column + 1))
        return size[:, None] * sign, (-1.0) ** n * size
    if name == "lagt":
        eye = torch.eye(state, dtype=torch.float64)
        return eye / 2 - torch.ones_like(eye).tril(), torch.ones_like(n)
    if name == "fourier":
        if state % 2:
            raise ArgumentError.of("matrices('fourier')", "an even number of states", str(state), "add one")
        B = torch.zeros(state, dtype=torch.float64)
        B[0::2] = 2**0.5
        B[0] = 1.0
        turn = torch.zeros(state, state, dtype=torch.float64)
        even = torch.arange(0, state, 2)
        w = torch.pi * n[: state // 2]
        turn[even, even + 1] = -w
        turn[even + 1, even] = w
        return turn - B[:, None] * B, B
    raise ArgumentError.of("matrices", f"one of {', '.join(NAMES)}", repr(name), "choose one of these")


def correction(name: str, state: int) -> Tensor:
    """The vectors P (rank, state) with which `A + Σ_r P_r P_rᵀ` is normal: rank 1 for legs, lagt and fourier, 2 for legt.

    Raises:
        ArgumentError: lmu, which has none, or a name that is none of `NAMES`.

    Source: Gu, Goel and Ré, Efficiently modeling long sequences with structured state spaces (2022); for lagt P² = ½.
    """
    n = torch.arange(state, dtype=torch.float64)
    if name == "legs":
        return (n + 0.5).sqrt()[None]
    if name == "legt":
        root = (n + 0.5).sqrt()
        return torch.stack([root * (n % 2 == 0), root * (n % 2 == 1)])
    if name == "lagt":
        return torch.full((1, state), 0.5**0.5, dtype=torch.float64)
    if name == "fourier":
        return matrices(name, state)[1][None]
    has = ", ".join(word for word in NAMES if word != "lmu")
    raise ArgumentError.of("correction", f"one of {has}", repr(name), "take a dense matrix for lmu")


def normal_pairs(name: str, state: int) -> tuple[Tensor, Tensor]:
    """Half of the eigenvalues of the normal part of a HiPPO matrix, and the way to their coordinates.

    The normal part is a multiple of the identity and a skew-symmetric matrix S. Its eigenvalues are conjugate pairs; of each pair
    the one with positive imaginary part is kept.

    Shapes: returns eigenvalues (state/2), ascending by frequency, and V* (state/2, state), both complex128: a vector b has the
    coordinates V* b and their conjugates.

    Raises:
        ArgumentError: an odd number of states.

    Error: the eigenvectors are orthonormal to rounding, whatever the matrix, because they are those of S.
    """
    if state % 2:
        raise ArgumentError.of("normal_pairs", "an even number of states", str(state), "add one")
    A, P = matrices(name, state)[0], correction(name, state)
    normal = A + P.T @ P
    skew = ((normal - normal.T) / 2).numpy()
    block, basis = scipy.linalg.schur(skew, output="real")
    pairs, still, i = [], [], 0
    while i < state:
        if i + 1 < state and abs(block[i, i + 1]) > 1e-9 * max(1.0, np.abs(block).max()):
            pairs.append((block[i, i + 1], i, i + 1))
            i += 2
        else:  # an eigenvalue 0; there is an even number of them
            still.append(i)
            i += 1
    pairs += [(0.0, a, b) for a, b in zip(still[::2], still[1::2], strict=True)]
    # S maps the plane of the columns (a, b) by [[0, w], [−w, 0]]: e_a + i·sign(w)·e_b belongs to i·|w|.
    pairs.sort(key=lambda pair: abs(pair[0]))
    vectors = [(basis[:, a] + 1j * (1 if w >= 0 else -1) * basis[:, b]) / 2**0.5 for w, a, b in pairs]
    values = torch.tensor([abs(w) for w, _, _ in pairs], dtype=torch.float64)
    shift = torch.diagonal(normal).mean()
    return torch.complex(torch.full_like(values, float(shift)), values), torch.from_numpy(np.stack(vectors).conj())


def remember(signal: Tensor, state: int, name: str = "legs", window: int | None = None) -> Tensor:
    """What a HiPPO memory of so many numbers holds after each sample of a signal.

    Formula: x' = A x + B u for legt and lmu, x' = (A x + B u)/t for legs, which is the former in the time log t; solved exactly
    for a signal that stays as it is between samples. So legs holds the projection of the whole past on polynomials, however long
    it is.

    Shapes: signal (*, T), returns (*, T, state), float64.

    Args:
        name: legs, legt or lmu. Default legs.   window: samples; for legt and lmu only.

    Raises:
        ArgumentError: another name, or a window that does not fit it.

    Source: Gu, Dao, Ermon, Rudra and Ré, HiPPO: recurrent memory with optimal polynomial projections (2020).

    Example:
        >>> remember(torch.ones(50), 3)[-1].round(decimals=3)
        tensor([1., 0., 0.], dtype=torch.float64)
    """
    if name not in ("legs", "legt", "lmu") or (window is None) != (name == "legs"):
        raise ArgumentError.of(
            "remember",
            "legs without a window, legt or lmu with one",
            f"{name!r}, window {window}",
            "choose one of these",
        )
    A, B = matrices(name, state)
    u = signal.double()
    c, every = u.new_zeros(*u.shape[:-1], state), []
    for now, (step, push) in zip(u.unbind(-1), _steps(A, B, name, window), strict=False):
        c = c @ step.T + now[..., None] * push
        every.append(c)
    return torch.stack(every, -2)


def _steps(A: Tensor, B: Tensor, name: str, window: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """The matrices of every step, without end."""
    if window is not None:
        yield from itertools.repeat(discretise(A, B, {"legt": 2, "lmu": 1}[name] / window, "zoh"))
    yield torch.zeros_like(A), torch.linalg.solve(A, -B)  # what a past without change is remembered as
    for first in itertools.count(2, 64):
        ends = torch.arange(first, first + 64, dtype=torch.float64)
        yield from zip(*discretise(A, B, (ends / (ends - 1)).log(), "zoh"), strict=True)


def recall(memory: Tensor, samples: int, name: str = "legs") -> Tensor:
    """The past that a memory of `remember` stands for, oldest sample first.

    Formula: `u(s) = Σ_n c_n √(2n+1) P_n(2s − 1)` for legs and legt, P the Legendre polynomials on the past or the window scaled to
    [0, 1]; for lmu without the root, and with the newest sample at s = 0.

    Shapes: memory (*, state), returns (*, samples).

    Args:
        samples: at how many places the past is wanted, from its oldest sample to the newest.

    Source: as `remember`.
    """
    n = np.arange(memory.shape[-1])
    at = (np.arange(samples) + 0.5) / samples
    turned, size = (-1, np.ones(len(n))) if name == "lmu" else (1, np.sqrt(2 * n + 1))
    basis = size * legendre.legvander(turned * (2 * at - 1), len(n) - 1)
    return memory @ torch.from_numpy(basis).T.to(memory)
