"""The largest gain of a convolution over all frequencies, from both sides.

A trigonometric polynomial p of degree d with 0 ≤ p ≤ M that reaches M at a point is at least M·cos²(d·s/2) at the distance s ≤
π/d from it. Applied to p(ω) = ‖F(ω)v‖², v the input that gains most: of the kernel's taps only the size k = d + 1 counts, and
σ₁ at the nearest place of a grid of N points an axis is at least cos(Σ_a π d_a / 2N_a) times the supremum. So the grid's
largest value over that cosine is an upper bound, whose excess falls with the square of N; and only places near the largest
value need a finer grid. On coarse grids another theorem may say more; `faltung.filters.between` has both.
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.certify import gram
from faltung.certify.definite import WIDE, Definite
from faltung.filters import Symbol
from faltung.filters.between import between

FIRST = 0.7  # Σ π d / 2N of the coarsest grid
ENTRIES = 1 << 21  # how many entries of matrices are held at a time
MOST_STEPS = 14
BELOW = 1 - 1e-9  # what is dropped is below by more than rounding


@dataclass(frozen=True)
class Peak:
    """The largest gain: from above (without what rounding may hide), from below, and where the upper bound is reached.

    Fields: `group` and `omega` name the matrix; `steps` of Gram iteration were done; `points` is the number of places of the grid.
    """

    upper: float
    lower: float
    group: int
    omega: np.ndarray
    steps: int
    points: int


@dataclass
class _Search:
    """The best gain found so far, and how matrices are looked at."""

    taps: Tensor
    steps: int | None
    svd: bool
    rtol: float
    best: float = 0.0
    place: tuple[int, np.ndarray] | None = None  # where the best gain of a wide convolution was found
    _wide: dict[int, Definite] = field(default_factory=dict)

    def screened(self, group: int, omegas: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, int]:
        """(places, upper bounds there, steps) where the gain of a group may reach that share of the best one."""
        size = self.taps.shape[1] * self.taps.shape[2]
        chunk = max(1, ENTRIES // max(size, self.taps[0, 0, 0].numel()))
        places: list[np.ndarray] = []
        uppers: list[np.ndarray] = []
        most = 0
        for start in range(0, len(omegas), chunk):
            part = omegas[start : start + chunk]
            upper, steps = self._bounds(group, part, share)
            index = np.flatnonzero(upper >= self.best * share * BELOW)
            places.append(start + index)
            uppers.append(upper[index])
            most = max(most, steps)
        index, upper = np.concatenate(places), np.concatenate(uppers)
        kept = upper >= self.best * share * BELOW
        return index[kept], upper[kept], most

    def _bounds(self, group: int, omegas: np.ndarray, share: float) -> tuple[np.ndarray, int]:
        """Upper bounds at frequencies: of wide convolutions those that a factorisation shows to be near the best need no more."""
        taps = self.taps[group]
        if self.svd or self.steps is not None or min(taps.shape[:2]) < WIDE:
            return self._uppers(gram.prepared(values(taps, omegas)), share)
        definite = self._wide.setdefault(group, Definite(taps))
        squares = definite.values(omegas)
        found = np.empty(len(omegas))
        open_ones = np.arange(len(omegas))
        for turn in range(2):
            number = self.best * self._near(share)
            below = definite.below(squares[open_ones], number).numpy(force=True)
            found[open_ones[below]] = number
            open_ones = open_ones[~below]
            if not len(open_ones):
                return found, 0
            if turn == 0:
                reached = definite.reached(squares[open_ones])
                top = int(reached.argmax())
                if float(reached[top]) > self.best:
                    self.best, self.place = float(reached[top]), (group, omegas[open_ones[top]])
        before = self.best
        upper, steps = self._uppers(gram.prepared(values(taps, omegas[open_ones])), share)
        if self.best > before:
            self.place = group, omegas[open_ones[upper.argmax()]]
        found[open_ones] = upper
        return found, steps

    def _near(self, share: float) -> float:
        """How far above the best a bound may stay: what the grid leaves open need not be known much better."""
        return 1 + max(self.rtol / 8, (1 - share) / 6)

    def _uppers(self, matrices: Tensor, share: float) -> tuple[np.ndarray, int]:
        """Upper bounds of σ₁, of each matrix as tight as it matters: less so where it is far below the best or hardly above it."""
        if self.svd:
            found = torch.linalg.matrix_norm(matrices, 2).numpy(force=True)
            self.best = max(self.best, float(found.max()))
            return found, 0
        near = self._near(share)
        last = enough(matrices.shape[-1], near - 1) if self.steps is None else self.steps
        found = np.empty(len(matrices))
        active = np.arange(len(matrices))
        scale = torch.zeros(len(matrices), dtype=torch.float64, device=matrices.device)
        first = matrices
        done = 0
        while True:
            upper, lower = gram.ends(matrices, scale, done)
            if done:
                lower = torch.maximum(lower, gram.reached(first, matrices))
            found[active] = upper.numpy(force=True)
            self.best = max(self.best, float(lower.max()))
            if done == last:
                return found, done
            enough_known = self.best * (near if self.steps is None else share * BELOW)
            open_ones = upper > enough_known
            if not open_ones.any():
                return found, done
            if not open_ones.all():
                active = active[open_ones.numpy(force=True)]
                first, matrices, scale = first[open_ones], matrices[open_ones], scale[open_ones]
            matrices, scale = gram.step(matrices, scale)
            done += 1


def _usual(search: _Search) -> int:
    """Gram steps for the gradient of a wide convolution's bound, where none were needed for the bound."""
    wide = not search.svd and search.steps is None and search.place is not None
    return enough(min(search.taps.shape[1:3]), search.rtol / 8) if wide else 0


def enough(rank: int, excess: float) -> int:
    """The number of Gram steps after which the bound is at most that share above, whatever the matrix."""
    if rank == 1:
        return 0
    return min(MOST_STEPS, max(1, math.ceil(math.log2(math.log(rank) / math.log1p(excess))) - 1))


def values(taps: Tensor, omegas: np.ndarray) -> Tensor:
    """Σ_t taps[o, i, t] exp(−i⟨ω, t⟩) for frequencies (number, D); (number, out, in)."""
    places = np.indices(tuple(taps.shape[2:])).reshape(taps.ndim - 2, -1)
    waves = torch.as_tensor(np.exp(-1j * (omegas @ places)), device=taps.device)
    flat = taps.reshape(*taps.shape[:2], -1)
    if flat.is_complex():
        return torch.einsum("oit,wt->woi", flat, waves)
    return torch.complex(torch.einsum("oit,wt->woi", flat, waves.real), torch.einsum("oit,wt->woi", flat, waves.imag))


def over_grid(symbol: Symbol, n: tuple[int, ...], rtol: float, steps: int | None, svd: bool) -> Peak:
    """The largest gain over the frequencies 2πj / n: the norm of the circular operator on that grid."""
    taps = symbol.taps().detach()
    search = _Search(taps, steps, svd, rtol)
    omegas = 2 * np.pi * _half(n, symbol.is_real) / np.array(n)
    found = []
    for group in range(symbol.groups):
        index, upper, done = search.screened(group, omegas, 1.0)
        found += [(float(u), group, i, done) for i, u in zip(index, upper, strict=True)]
    top, of, place, done = max(found, key=lambda entry: entry[0])
    where = search.place or (of, omegas[place])
    return Peak(top, search.best, where[0], where[1], done or _usual(search), math.prod(n))


def over_all(symbol: Symbol, rtol: float, steps: int | None, svd: bool) -> Peak:
    """The largest gain over all frequencies, of a symbol without stride and dilation."""
    taps = symbol.taps().detach()
    rtol = min(rtol, 0.5)  # the theorem needs a grid on which its angle is below π / 2
    search = _Search(taps, steps, svd, rtol)
    degree = np.array(symbol.size) - 1
    # the coarsest grid is such that some doubling of it is just fine enough
    last = math.pi * int((degree > 0).sum()) / (2 * math.sqrt(1.6 * rtol))
    doublings = max(0, math.ceil(math.log2(FIRST / math.sqrt(1.6 * rtol))))
    n = np.where(degree > 0, np.maximum(np.ceil(degree * last / 2**doublings), degree + 1), 1).astype(int)
    asked = [(group, _half(tuple(n), symbol.is_real)) for group in range(symbol.groups)]
    while True:
        cosine = 1 / between(symbol.size, n.tolist())
        found = []
        most = 0
        for group, places in asked:
            index, upper, done = search.screened(group, 2 * np.pi * places / n, cosine)
            found.append((group, places[index], upper))
            most = max(most, done)
        floor = search.best * cosine * BELOW
        found = [(g, p[u >= floor], u[u >= floor]) for g, p, u in found]
        found = [entry for entry in found if len(entry[1])]
        group, places, uppers = max(found, key=lambda entry: float(entry[2].max()))
        top = float(uppers.max())
        fine = 1 / cosine <= 1 + 0.8 * rtol
        if fine or (steps is None and top / cosine <= search.best * (1 + rtol)) or top == 0:
            where = search.place or (group, 2 * np.pi * places[uppers.argmax()] / n)
            return Peak(top / cosine, search.best, where[0], where[1], most or _usual(search), int(n.prod()))
        asked = [(g, _finer(p, n, degree, symbol.is_real)) for g, p, _ in found]
        n = np.where(degree > 0, 2 * n, 1)


def _half(n: tuple[int, ...], real: bool) -> np.ndarray:
    """The places of a grid, (number, D); for real kernels those with j ≤ n / 2 on the last axis: the rest mirror them."""
    ends = (*n[:-1], n[-1] // 2 + 1) if real else n
    return np.indices(ends).reshape(len(n), -1).T


def _finer(places: np.ndarray, n: np.ndarray, degree: np.ndarray, real: bool) -> np.ndarray:
    """The places of the grid twice as fine in the cells around these, each once, of two mirror images one."""
    moves = [(-1, 0, 1) if d > 0 else (0,) for d in degree]
    twice = np.where(degree > 0, 2 * n, 1)
    near = (places * (twice // n))[:, None] + np.array(list(itertools.product(*moves)))[None]
    near = near.reshape(-1, len(n)) % twice
    weights = np.concatenate([np.cumprod(twice[::-1])[-2::-1], [1]]).astype(np.int64)
    key = near @ weights
    if real:
        key = np.minimum(key, (-near % twice) @ weights)
    kept = np.unique(key)
    return np.stack([kept // w % t for w, t in zip(weights, twice, strict=True)], -1)


def again(symbol: Symbol, peak: Peak, svd: bool) -> Tensor:
    """σ₁'s upper bound at the peak once more, with a gradient with respect to the kernel."""
    matrix = gram.prepared(values(symbol.taps()[peak.group], peak.omega[None]))[0]
    if svd:
        return torch.linalg.matrix_norm(matrix, 2)
    return gram.both(matrix, peak.steps)[0]


def tap_rows(taps: Any, n_iter: int) -> Tensor:
    """A bound of the gain over all frequencies for each row, by Gram iteration in the space of taps; differentiable.

    Formula: with K₀ = K (a, c, *k) and K_{t+1} the correlation of K_t with itself over channels, which has the symbol K_t K_t*,
    `(Σ_{b,τ} |K_T[a, b, τ]|)^(2^−T)`. The largest of them is at least σ₁ at every frequency; and a layer whose filters are divided
    each by its own has norm at most 1.

    Shapes: taps (groups, out, in, *k), float64; returns (groups, out).
    Cost: instead of ever larger correlations, Gram steps of the values on a grid of 2^T(k − 1) + 1 places an axis.
    Source: Delattre et al. (2023) and their sequel for zero padding (2024); T = 1 is the almost-orthogonal layer of Prach and
        Lampert (2022).
    """
    ndim = taps.ndim - 3
    axes = tuple(range(-ndim, 0))
    n = [2**n_iter * (k - 1) + 1 for k in taps.shape[3:]]
    grid = torch.fft.fftn(taps, s=n, dim=axes) if taps.is_complex() else torch.fft.rfftn(taps, s=n, dim=axes)
    grid = grid.movedim((1, 2), (-2, -1))  # (groups, *n, out, in)
    scale = torch.zeros(taps.shape[0], dtype=torch.float64, device=taps.device)
    for step in range(n_iter):
        size = gram.frobenius(grid).flatten(1).amax(1).detach()
        size = torch.where(size > 0, size, 1.0)
        grid = grid / size.reshape(-1, *[1] * (ndim + 2))
        grid = grid @ grid.mH if step == 0 else grid.mH @ grid
        scale = 2 * (scale + size.log())
    axes = tuple(range(1, ndim + 1))
    kernel = torch.fft.ifftn(grid, dim=axes) if taps.is_complex() else torch.fft.irfftn(grid, s=n, dim=axes)
    rows = kernel.abs().flatten(1, -3).sum((1, 3))
    return torch.where(
        rows > 0, torch.where(rows > 0, rows, 1.0) ** 2.0**-n_iter * (scale[:, None] * 2.0**-n_iter).exp(), 0.0
    )
