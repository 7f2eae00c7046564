"""The principal filters of a layer, a model or many models, and how far two populations of filters are apart."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigh

from faltung.errors import ArgumentError
from faltung.look.filters import _scaled, slices
from faltung.look.tables import table

_BINS, _FLOOR = 70, 1.19e-7


@dataclass(frozen=True, eq=False)
class FilterBasis:
    """Principal filters, the largest share of variance first.

    Fields:
        vectors: (components, *k), each of unit length, its largest tap positive.   ratios: shares of the variance, sum 1 (0
            where all filters are equal).   mean: (*k), of the scaled filters.   count: how many filters were seen.
    """

    vectors: np.ndarray
    ratios: np.ndarray
    mean: np.ndarray
    count: int

    @classmethod
    def fit(cls, ws: Any) -> "FilterBasis":
        """The basis of one kernel or of several together, every filter divided by its largest tap first.

        Shapes: each (out, in / groups, *k) with the same *k.   Cost: filters · taps².

        Raises:
            ArgumentError: no filters, or kernels of different taps.

        Source: Gavrikov and Keuper, CNN Filter DB (2022).

        Example:
            >>> edge = np.array([1.0, 0.0, -1.0])
            >>> FilterBasis.fit(np.stack([edge, -edge, 2 * edge])[:, None]).ratios.round(6)
            array([1., 0., 0.])
        """
        given = [ws] if hasattr(ws, "ndim") else list(ws)
        sizes = {tuple(w.shape[2:]) for w in given}
        if len(sizes) != 1:
            raise ArgumentError.of(
                "FilterBasis.fit", "kernels of the same taps", f"{sorted(sizes)}", "fit each size apart"
            )
        taps = sizes.pop()
        rows = np.concatenate([_scaled(slices(w), "absmax") for w in given])
        if not rows.size:
            raise ArgumentError.of("FilterBasis.fit", "at least one filter", "none", "pass a kernel")
        mean = rows.mean(0)
        values, vectors = eigh((rows - mean).T @ (rows - mean))
        values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1].T
        signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
        total = values.sum()
        # Differences of filters that are equal but for round-off are no variance.
        empty = total <= len(rows) * np.finfo(float).eps
        ratios = np.zeros_like(values) if empty else values / total
        return cls((vectors * signs[:, None]).reshape(-1, *taps), ratios, mean.reshape(taps), len(rows))

    def transform(self, w: Any) -> np.ndarray:
        """The coefficients of a kernel's filters.

        Shapes: w (out, in / groups, *k); returns (filters, components).
        """
        if tuple(w.shape[2:]) != self.mean.shape:
            raise ArgumentError.of(
                "transform", f"filters of {self.mean.shape} taps", f"{tuple(w.shape[2:])}", "fit a basis of these"
            )
        rows = _scaled(slices(w), "absmax") - self.mean.ravel()
        return rows @ self.vectors.reshape(len(self.vectors), -1).T

    def drift(
        self, a: Any, b: Any, bins: int = _BINS, span: tuple[float, float] | None = None, weights: Any = None
    ) -> float:
        """How differently two populations of filters are spread along the basis: 0 for the same, the larger the further.

        Formula: D = Σᵢ λᵢ (KL(pᵢ‖qᵢ) + KL(qᵢ‖pᵢ)) over components, of histograms with equal bins; empty bins hold 1.19e−7.

        Args:
            a, b: kernels, or coefficients of `transform` (two axes).   bins: 70.   span: of the histograms; default from
                the least to the largest coefficient of both.   weights: λ; default the shares of variance.

        Source: Gavrikov and Keuper, CNN Filter DB (2022).
        """
        p, q = (np.asarray(c, float) if np.ndim(c) == 2 else self.transform(c) for c in (a, b))
        low, high = span or (min(p.min(), q.min()), max(p.max(), q.max()))
        if not high > low:
            high = low + 1.0
        shares = self.ratios if weights is None else np.asarray(weights, float)
        total = 0.0
        for share, ours, theirs in zip(shares, p.T, q.T, strict=True):
            one, two = (_histogram(c, bins, low, high) for c in (ours, theirs))
            total += share * float(((one - two) * (np.log(one) - np.log(two))).sum())
        return total

    def table(self) -> str:
        """Shares of variance, for people."""
        return table(
            ["component", "share", "together"],
            [[i, float(r), float(c)] for i, (r, c) in enumerate(zip(self.ratios, self.ratios.cumsum(), strict=True))],
        )


def _histogram(values: np.ndarray, bins: int, low: float, high: float) -> np.ndarray:
    counts = np.histogram(values, bins, (low, high))[0] / len(values)
    filled = np.where(counts > 0, counts, _FLOOR)
    return filled / filled.sum()


def population_drift(groups: Iterable[Any]) -> np.ndarray:
    """The drift between each two of several kernels or lists of kernels in one basis of all of them: a symmetric matrix of
    zeros on its diagonal, histograms over one span."""
    lists = [[g] if hasattr(g, "ndim") else list(g) for g in groups]
    basis = FilterBasis.fit([w for g in lists for w in g])
    found = [np.concatenate([basis.transform(w) for w in g]) for g in lists]
    span = (min(c.min() for c in found), max(c.max() for c in found))
    return np.array([[basis.drift(a, b, span=span) for b in found] for a in found])
