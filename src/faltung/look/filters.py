"""What the filters of a network look like: variety, dead ones, copies, and how much of it chance would give."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log2, log10, nan, prod
from typing import Any

import numpy as np
from scipy.linalg import eigvalsh
from scipy.linalg.blas import dsyrk

from faltung.errors import ArgumentError
from faltung.look.tables import table
from faltung.readers import Network, Node, read, read_only

_DRAWS = 30
_ALIKE = 0.99


def slices(w: Any) -> np.ndarray:
    """The filters of a kernel, one for each pair of an output and an input channel, as float64 rows.

    Shapes: w (out, in / groups, *k) of any number of axes; returns (out · in / groups, taps).

    Raises:
        ArgumentError: fewer than two axes, or numbers that are not finite.
    """
    w = np.asarray(read_only(w), np.float64)
    if w.ndim < 2:
        raise ArgumentError.of(
            "slices", "a kernel (out, in / groups, *k)", f"shape {w.shape}", "pass the layer's weight"
        )
    if not np.isfinite(w).all():
        raise ArgumentError.of("slices", "finite numbers", "NaN or infinity in the kernel", "look at numerics first")
    return w.reshape(prod(w.shape[:2]), -1)


def dead_filters(w: Any, eps: float = 0.01) -> np.ndarray:
    """Which filters of a layer have no tap of at least `eps` times the layer's largest.

    Shapes: w (out, in / groups, *k); returns (out, in / groups), True where dead. A layer of zeros is dead throughout.

    Source: Gavrikov and Keuper, CNN Filter DB (2022).

    Example:
        >>> dead_filters(np.array([[[0.0, 0.001]], [[1.0, 0.0]]]))[:, 0]
        array([ True, False])
    """
    rows = slices(w)
    largest = np.abs(rows).max(initial=0.0)
    return (np.abs(rows).max(1, initial=0.0) < eps * (largest or 1 / eps)).reshape(w.shape[:2])


def filter_sparsity(w: Any, eps: float = 0.01) -> float:
    """The share of dead filters, 0 to 1 (`dead_filters`)."""
    return float(dead_filters(w, eps).mean()) if prod(w.shape[:2]) else nan


def variance_entropy(w: Any, mask: Any = None, scale: str | None = None) -> float:
    """How evenly the variance of a layer's filters spreads over its principal directions.

    Formula: H = −Σ pᵢ log₁₀ pᵢ with pᵢ the shares of variance of the centred filters; 0 where all filters are equal.

    Args:
        mask: filters to leave out (out, in / groups), for example the dead ones.
        scale: None for the filters as they are, "absmax" for each divided by its largest tap (two conventions of the
        literature).

    Returns: 0 to log₁₀ min(taps, filters − 1).

    Raises:
        ArgumentError: another scale, or a mask of another shape.

    Cost: filters · taps².
    Source: Gavrikov and Keuper, CNN Filter DB (2022).

    Example:
        >>> bool(np.isclose(variance_entropy(np.eye(4).reshape(4, 1, 2, 2)), np.log10(3)))
        True
    """
    rows = _scaled(_kept(w, mask), scale)
    return _entropy(_spectrum(rows))


def _kept(w: Any, mask: Any) -> np.ndarray:
    rows = slices(w)
    if mask is None:
        return rows
    mask = np.asarray(mask, bool)
    if mask.shape != tuple(w.shape[:2]):
        raise ArgumentError.of(
            "variance_entropy", f"a mask {tuple(w.shape[:2])}", f"{mask.shape}", "use dead_filters(w)"
        )
    return rows[~mask.ravel()]


def _scaled(rows: np.ndarray, scale: str | None) -> np.ndarray:
    if scale is None:
        return rows
    if scale != "absmax":
        raise ArgumentError.of("variance_entropy", "scale None or 'absmax'", repr(scale), "see the docstring")
    largest = np.abs(rows).max(1, keepdims=True, initial=0.0)
    return rows / np.where(largest > 0, largest, 1)


def _spectrum(rows: np.ndarray) -> np.ndarray:
    """Variances along the principal directions, largest first; round-off of what is not there is set to nothing."""
    if len(rows) < 2:
        return np.zeros(max(rows.shape[1], 1))
    peak = np.abs(rows).max()
    centred = rows / (peak or 1.0)
    centred = centred - centred.mean(0)
    small = centred if centred.shape[1] <= len(centred) else centred.T
    values = np.clip(eigvalsh(small.T @ small)[::-1], 0, None)
    # Differences below round-off of the values themselves are not variance.
    floor = np.finfo(float).eps * max(values[:1].sum(), len(rows) * np.finfo(float).eps) * max(rows.shape)
    return np.where(values > floor, values, 0.0)


def _entropy(variances: np.ndarray) -> float:
    total = variances.sum()
    shares = variances[variances > 0] / total if total > 0 else np.ones(1)
    return float(max(-(shares * np.log10(shares)).sum(), 0.0))


def entropy_ceiling(n: int, taps: int = 9, baseline: str = "auto") -> float:
    """What the variance entropy of n filters drawn at random is: what "indistinguishable from chance" means for a layer.

    Formula: published (nine taps): L / (1 + exp(−κ (log₂ n − x₀))) + b with the constants of the paper's fit to the lower
    edge of random layers. montecarlo: the mean over 30 layers of normal numbers (fewer beyond 32 taps, down to 4), drawn by their
    covariance, always the same.

    Args:
        baseline: "published", "montecarlo", or "auto": published for nine taps.

    Raises:
        ArgumentError: no filters, or the published fit for other than nine taps.

    Source: Gavrikov and Keuper, CNN Filter DB (2022).

    Example:
        >>> round(entropy_ceiling(64), 10)
        0.9055617474
    """
    if n < 1 or taps < 1:
        raise ArgumentError.of("entropy_ceiling", "at least one filter and tap", f"{n} and {taps}", "pass counts")
    if baseline not in ("auto", "published", "montecarlo") or (baseline == "published" and taps != 9):
        raise ArgumentError.of(
            "entropy_ceiling", "'montecarlo', or 'published' for nine taps", f"{baseline!r} for {taps}", "use 'auto'"
        )
    if taps == 9 and baseline != "montecarlo":
        return 1.2618047 / (1 + exp(-0.88767525 * (log2(n) - 2.30436435))) - 0.31050834
    return _drawn_ceiling(n, taps)


@lru_cache(maxsize=4096)
def _drawn_ceiling(n: int, taps: int) -> float:
    if taps == 1 or n < 2:
        return 0.0
    rng = np.random.default_rng(0)
    draws = []
    # The entropy of a wide matrix hardly differs from draw to draw: its spread falls with the number of taps.
    for _ in range(max(4, _DRAWS * 32 // max(taps, 32))):
        if (
            n - 1 >= taps
        ):  # the scatter of n centred rows is Wishart with n − 1 degrees of freedom: A Aᵀ with A lower triangular
            lower = np.tril(rng.standard_normal((taps, taps)), -1)
            lower[np.diag_indices(taps)] = np.sqrt(rng.chisquare(n - 1 - np.arange(taps)))
        else:
            lower = rng.standard_normal((n - 1, taps))
        gram = lower @ lower.T if lower.shape[0] <= lower.shape[1] else lower.T @ lower
        draws.append(_entropy(np.maximum(np.linalg.eigvalsh(gram), 0)))
    return float(np.mean(draws))


def filter_orthogonality(w: Any) -> float:
    """One minus the mean |cosine| between the filters of different outputs: 1 where all are orthogonal, 0 where all are
    parallel.

    Outputs without any tap are left out; NaN where fewer than two remain.

    Shapes: w (out, in / groups, *k).   Cost: out² · in / groups · taps / 2, one matrix product.
    Source: Gavrikov and Keuper, CNN Filter DB (2022), which counts outputs of zeros in.

    Example:
        >>> filter_orthogonality(np.eye(3).reshape(3, 1, 3))
        1.0
    """
    return _orthogonality(_cosines(w)[1])


def _orthogonality(cosines: np.ndarray) -> float:
    """One less the mean of |cosines|, each pair once."""
    count = len(cosines)
    return nan if count < 2 else float(1 - 2 * np.abs(cosines).sum() / (count * (count - 1)))


def _cosines(w: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which outputs have a tap, and the cosines between their whole filters, first before second, zeros elsewhere."""
    rows = slices(w).reshape(w.shape[0], -1)
    largest = np.abs(rows).max(1, initial=0.0)
    alive = np.flatnonzero(largest)
    rows = rows[alive] / largest[alive, None]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    # The product of a matrix with itself is half the work of any other.
    return alive, np.triu(np.clip(dsyrk(1.0, rows.T, trans=1), -1, 1), 1) if rows.size else rows @ rows.T


def duplicate_filters(w: Any, cosine: float = _ALIKE) -> list[tuple[int, int, float]]:
    """Pairs of outputs whose filters point the same or the opposite way: (first, second, cosine), |cosine| above the limit."""
    return _duplicates(*_cosines(w), cosine)


def _duplicates(alive: np.ndarray, cosines: np.ndarray, cosine: float = _ALIKE) -> list[tuple[int, int, float]]:
    pairs = zip(*np.nonzero(np.abs(cosines) > cosine), strict=True)
    return [(int(alive[i]), int(alive[j]), float(cosines[i, j])) for i, j in pairs]


def separable_share(w: Any, energy: float = 0.99) -> float:
    """The share of filters that are nearly one product of lines: each unfolding has that part of its energy in one direction.

    NaN where a filter has fewer than two axes with more than one tap. Dead filters (all zero) are left out.
    """
    taps = [k for k in w.shape[2:] if k > 1]
    rows = slices(w)
    rows = rows[np.abs(rows).max(1, initial=0.0) > 0]
    if len(taps) < 2 or not len(rows):
        return nan
    cubes = rows.reshape(-1, *taps) / np.abs(rows).max(1).reshape(-1, *(1,) * len(taps))
    left = np.arange(len(rows))
    for axis in range(len(taps) if len(taps) > 2 else 1):  # a matrix and its transpose have the same singular values
        unfolded = np.moveaxis(cubes[left], axis + 1, 1).reshape(len(left), taps[axis], prod(taps) // taps[axis])
        # With shares p₁ ≥ p₂ ≥ … of the energy Σp² ≥ p₁², which tells most filters without their singular values.
        gram = np.einsum("nij,nkj->nik", unfolded, unfolded)
        purity = np.einsum("nik,nik->n", gram, gram) / np.einsum("nii->n", gram) ** 2
        near = purity >= energy**2 * (1 - 1e-9)
        left, unfolded = left[near], unfolded[near]
        values = np.linalg.svd(unfolded, compute_uv=False) ** 2
        left = left[values[:, 0] >= energy * values.sum(1)]
    return len(left) / len(rows)


@dataclass(frozen=True)
class FilterLook:
    """The filters of one layer; every number is that of the function of its name.

    Fields:
        filters: how many (out · in / groups).   taps: of each.   sparsity: share of dead ones.   entropy: of the variance,
        of all.
        ceiling: of random filters.   ratio: entropy / ceiling; near 1 is like chance, near 0 like copies; NaN for one tap.
        clean_ratio: without the dead filters.   orthogonality: of whole outputs.   separable: share of products of lines.
        dead_outputs: outputs that a norm behind switches off, or that have no tap.   duplicates: pairs of outputs alike.
    """

    name: str
    shape: tuple[int, ...]
    filters: int
    taps: int
    sparsity: float
    entropy: float
    ceiling: float
    ratio: float
    clean_ratio: float
    orthogonality: float
    separable: float
    dead_outputs: int
    duplicates: int


@dataclass(frozen=True)
class FilterTable:
    """The filters of a network, a row a layer."""

    layers: tuple[FilterLook, ...]
    skipped: tuple[str, ...] = ()

    def table(self) -> str:
        """For people."""
        header = ["layer", "kernel", "dead", "entropy / chance", "orthogonal", "separable", "dead outputs", "copies"]
        rows = [
            [x.name, x.shape, x.sparsity, x.ratio, x.orthogonality, x.separable, x.dead_outputs, x.duplicates] for x in
        self.layers ]  # fmt: skip
        return "\n".join([table(header, rows), *(f"skipped: {s}" for s in self.skipped)])

    def by_depth(self, bins: int = 10) -> list[dict[str, float]]:
        """Means by depth, the first layer apart: depth is index / (layers − 1); weighed by filters (orthogonality: outputs)."""
        rest = self.layers[1:]
        made = []
        for bin in range(bins):
            inside = [
                x for i, x in enumerate(rest, 1) if min(int(bins * i / max(len(self.layers) - 1, 1)), bins - 1) == bin
            ]
            valued = [x for x in inside if x.ratio == x.ratio]
            aligned = [x for x in inside if x.orthogonality == x.orthogonality]
            made.append(
                {
                    "from": bin / bins,
                    "layers": len(inside),
                    "ratio": _mean([x.ratio for x in valued], [x.filters for x in valued]),
                    "sparsity": _mean([x.sparsity for x in inside], [x.filters for x in inside]),
                    "orthogonality": _mean([x.orthogonality for x in aligned], [x.shape[0] for x in aligned]),
                }
            )
        return made


def _mean(values: list[float], weights: list[int]) -> float:
    return float(np.average(values, weights=weights)) if values else nan


def look_at_filters(
    w: Any, name: str = "", *, eps: float = 0.01, baseline: str = "auto", gamma: Any = None
) -> FilterLook:
    """All numbers of one kernel.

    Shapes: w (out, in / groups, *k).   gamma (out,): the factors of a norm behind the layer, for outputs that it switches off.
    """
    w = np.asarray(read_only(w), np.float64)  # once, for all that follows
    mask = dead_filters(w, eps)
    n, taps = mask.size, prod(w.shape[2:])
    entropy, ceiling = variance_entropy(w), entropy_ceiling(n, taps, baseline)
    kept = int((~mask).sum())
    clean = entropy_ceiling(kept, taps, baseline) if kept else 0.0
    outputs = np.abs(slices(w).reshape(w.shape[0], -1)).max(1, initial=0.0) * (
        1.0 if gamma is None else np.abs(np.asarray(gamma, float))
    )
    alive, cosines = _cosines(w)
    cleaned = nan if not kept else variance_entropy(w, mask) if kept < n else entropy
    return FilterLook(
        name, tuple(w.shape), n, taps, float(mask.mean()) if n else nan, entropy, ceiling, _ratio(entropy, ceiling),
        _ratio(cleaned, clean) if kept else nan, _orthogonality(cosines), separable_share(w),
        int((outputs <= eps * outputs.max(initial=0.0)).sum()), len(_duplicates(alive, cosines)),
    )  # fmt: skip


def _ratio(entropy: float, ceiling: float) -> float:
    # The published fit is negative for one or two filters, where nothing can be said.
    return entropy / ceiling if ceiling > 0 else nan


def filters(
    source: Any,
    example: Any = None,
    *,
    eps: float = 0.01,
    baseline: str = "auto",
    kernel_size: tuple[int, ...] | None = None,
) -> FilterTable:
    """The filters of every convolution of a model, a file, a network or one kernel; no data are needed.

    Args:
        source: what `faltung.readers.read` takes, or one array (out, in / groups, *k).   example: for the graph, which says
            what norm stands behind a layer and turns kernels of transposed convolutions the right way; not needed for the rest.
        eps: dead is below this share of the layer's largest tap.   baseline: see `entropy_ceiling`.
        kernel_size: only layers with these taps.

    Returns: a `FilterTable`; layers whose kernel is not known are named in `skipped`. A layer called twice is one row.

    Cost: filters · taps² + out² · in · taps for each layer.
    Source: Gavrikov and Keuper, CNN Filter DB (2022).

    Example:
        >>> print(filters(np.eye(4).reshape(4, 1, 2, 2)).table())
        layer  kernel         dead  entropy / chance  orthogonal  separable  dead outputs  copies
        array  4 × 1 × 2 × 2     0             1.558           1          1             0       0
    """
    if not isinstance(source, Network) and hasattr(source, "ndim"):
        return FilterTable((look_at_filters(source, "array", eps=eps, baseline=baseline),))
    network = read(source, example)
    rows, skipped = [], []
    for node in network.once(network.convolutions):
        kernel = node.filters
        if kernel is None:
            skipped.append(f"{node.name}: {node.note or 'kernel not known'}")
        elif kernel_size is None or tuple(kernel_size) == node.taps:
            rows.append(
                look_at_filters(kernel, node.name, eps=eps, baseline=baseline, gamma=gamma_behind(network, node))
            )
    return FilterTable(tuple(rows), tuple(skipped))


def gamma_behind(network: Network, node: Node) -> np.ndarray | None:
    """The factors of a frozen batch norm that alone reads a layer's result; None where there is none."""
    norm = network.reader(node.name)
    return norm.values.get("gamma") if norm is not None and norm.op == "norm" and norm.settings.get("frozen") else None


def bounded_entropy(taps: int, n: int) -> float:
    """The largest variance entropy that n filters of so many taps can have: log₁₀ min(taps, n − 1)."""
    return log10(max(min(taps, n - 1), 1))


def kernels_of(source: Any, taps: Iterable[int] | None = None) -> list[np.ndarray]:
    """The known kernels of a source, those with given taps where said, each layer once: what `FilterBasis.fit` takes."""
    network = read(source)
    kept = [node.filters for node in network.once(network.convolutions) if taps is None or node.taps == tuple(taps)]
    return [k for k in kept if k is not None]
