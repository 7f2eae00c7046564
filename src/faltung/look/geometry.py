"""The geometry of features: how many dimensions they fill, and how strongly the surface that they lie on bends."""

from dataclasses import dataclass
from itertools import combinations
from math import nan
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import nn

from faltung.errors import ArgumentError
from faltung.look.tables import table
from faltung.readers import arguments, read_only, replay

_BLOCK = 512
_BATCH = 32


def _points(x: Any, who: str, least: int = 5) -> np.ndarray:
    x = np.asarray(read_only(x), np.float64)
    x = x.reshape(len(x), -1) if x.ndim else x
    if x.ndim != 2 or len(x) < least or not np.isfinite(x).all():
        raise ArgumentError.of(
            who, f"at least {least} finite points (samples, features)", f"shape {x.shape}", "collect more"
        )
    return x


def _nearest(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest other points, in order, and which they are.

    A matrix product finds candidates; their distances are then taken from differences, because products lose the smallest ones.
    """
    centred = x - x.mean(0)
    squares = (centred**2).sum(1)
    wide = min(count + 4, len(x) - 1)
    distances, places = np.empty((len(x), count)), np.empty((len(x), count), np.int64)
    for start in range(0, len(x), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(x)))
        rough = squares[rows, None] + squares - 2 * centred[rows] @ centred.T
        rough[np.arange(len(rows)), rows] = np.inf
        near = np.argpartition(rough, wide - 1, axis=1)[:, :wide]
        exact = np.linalg.norm(centred[rows, None] - centred[near], axis=2)
        order = np.argsort(exact, axis=1)[:, :count]
        distances[rows] = np.take_along_axis(exact, order, 1)
        places[rows] = np.take_along_axis(near, order, 1)
    return distances, places


def intrinsic_dimension(x: Any, method: str = "twonn", *, neighbors: int = 20, variance: float = 0.9) -> float:
    """How many dimensions a cloud of points fills.

    Formula: twonn: the slope through 0 of −log(1 − F) on log μ, μ the ratio of the distances to the second and the first
    neighbour, F its empirical distribution, over nine tenths of the points. mle: 1 / mean of log(r_k / r_j) over neighbours
    j < k and points. pca: principal components of standardised features for the given share of variance.

    Shapes: x (samples, features).   Args: method: "twonn", "mle", "pca".   neighbors: k of mle.   variance: of pca.
    Returns: NaN where all points are the same. Points that coincide with their neighbour are left out.

    Bias: twonn and mle come out low beyond about ten dimensions (mle of 10 gives about 8).
    Cost: samples² · features.
    Source: Facco et al. (2017); Levina and Bickel (2004) with the inverse averaging of MacKay and Ghahramani.

    Example:
        >>> x = np.random.default_rng(0).random((500, 2)) @ np.random.default_rng(1).standard_normal((2, 9))
        >>> round(intrinsic_dimension(x, "pca")), 1.7 < intrinsic_dimension(x) < 2.4
        (2, True)
    """
    x = _points(x, "intrinsic_dimension")
    if method == "pca":
        spread = x.std(0)
        standard = (x - x.mean(0))[:, spread > 0] / spread[spread > 0]
        if not standard.size:
            return nan
        values = np.linalg.svd(standard, compute_uv=False) ** 2
        return float(np.searchsorted(values.cumsum() / values.sum(), variance) + 1)
    if method == "twonn":
        near, far = _nearest(x, 2)[0].T
        usable = (near > 0) & (far > near)
        ratios = np.sort(far[usable] / near[usable])
        if len(ratios) < 5:
            return nan
        shares = np.arange(1, len(ratios) + 1) / len(ratios)
        kept = slice(0, min(int(0.9 * len(ratios)), len(ratios) - 2))
        logs = np.log(ratios[kept])
        return float((logs * -np.log1p(-shares[kept])).sum() / (logs**2).sum())
    if method == "mle":
        k = min(neighbors, len(x) - 1)
        distances = _nearest(x, k)[0]
        usable = distances[:, 0] > 0
        if k < 3 or not usable.any():
            return nan
        inverse = np.log(distances[usable, -1:] / distances[usable, :-1]).mean(1)
        return float(1 / inverse.mean()) if inverse.mean() > 0 else nan
    raise ArgumentError.of("intrinsic_dimension", "twonn, mle or pca", repr(method), "choose one")


def curvature(x: Any, neighbors: Any, dimension: int) -> np.ndarray:
    """The principal curvatures of a surface at one point, from points around it on it.

    Formula: the singular vectors of the centred neighbours split into a tangent space of `dimension` and normals; each normal
    coordinate is fitted by a quadratic of the tangent ones, whose Hessian's eigenvalues are the curvatures.

    Shapes: x (features), neighbors (count, features), at least d (d + 3) / 2 of them; returns (normals, dimension).
    Returns: no normals where the dimension is that of the space or of the neighbours' span.

    Error: of second order in the size of the neighbourhood.   Source: Li (2018), curvature-aware manifold learning; Kaufman and
    Azencot, Data representations' study of latent image manifolds (2023).

    Example:
        >>> angles = np.linspace(-0.1, 0.1, 9)
        >>> circle = 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
        >>> round(float(abs(curvature(circle[4], circle, 1)[0, 0])), 2)
        0.5
    """
    around = np.asarray(neighbors, np.float64) - np.asarray(x, np.float64)
    if around.ndim != 2 or not dimension > 0 or len(around) < dimension * (dimension + 3) // 2:
        need = f"{dimension * (dimension + 3) // 2} neighbours"
        raise ArgumentError.of("curvature", f"{need} for dimension {dimension}", f"shape {around.shape}", "pass more")
    left, values, _ = np.linalg.svd((around - around.mean(0)).T, full_matrices=False)
    rank = int((values > 1e-10 * max(values[0], 1e-300)).sum())
    if rank <= dimension:
        return np.zeros((0, dimension))
    coordinates = around @ left[:, :rank]
    tangent, normal = coordinates[:, :dimension], coordinates[:, dimension:]
    pairs = list(combinations(range(dimension), 2))
    # Columns of their own scale keep the least squares of small neighbourhoods well conditioned.
    scale = np.abs(tangent).max() or 1.0
    t = tangent / scale
    mixed = [(t[:, i] * t[:, j])[:, None] for i, j in pairs]
    design = np.concatenate([t, t**2 / 2, *mixed], 1)
    fitted = np.linalg.lstsq(design, normal, rcond=1e-10)[0] / scale**2
    found = []
    for index in range(normal.shape[1]):
        hessian = np.diag(fitted[dimension : 2 * dimension, index])
        for value, (i, j) in zip(fitted[2 * dimension :, index], pairs, strict=True):
            hessian[i, j] = hessian[j, i] = value
        found.append(np.linalg.eigvalsh(hessian))
    return np.array(found)


def mean_curvature(x: Any, dimension: int, neighbors: int | None = None, samples: int = 200, seed: int = 0) -> float:
    """The mean |principal curvature| over points, normals and directions, neighbourhoods being the nearest points of the cloud.

    Shapes: x (samples, features).   Args: neighbors: default the larger of 2 d and d (d + 3) / 2 + 2.   samples: points
    looked at.
    Returns: 0 where the cloud is flat or fills the space.
    """
    x = _points(x, "mean_curvature")
    count = neighbors or max(2 * dimension, dimension * (dimension + 3) // 2 + 2)
    if count >= len(x):
        raise ArgumentError.of("mean_curvature", f"more than {count} points", str(len(x)), "collect more")
    _, places = _nearest(x, count)
    chosen = np.random.default_rng(seed).permutation(len(x))[:samples]
    sizes = [np.abs(curvature(x[i], x[places[i]], dimension)) for i in chosen]
    flat = np.concatenate([s.ravel() for s in sizes])
    return float(flat.mean()) if flat.size else 0.0


def label_sharpness(x: Any, labels: Any) -> float:
    """The steepest change of label: the largest 1 / ‖x_j − x_k‖ over pairs with different labels, all pairs looked at.

    Shapes: x (samples, ...), labels (samples).   Returns: inf where equal points have different labels, 0 with one label.
    Source: Konz and Mazurowski, The effect of intrinsic dataset properties on generalization (2024).
    """
    x, labels = _points(x, "label_sharpness", 2), np.asarray(labels)
    least = np.inf
    for start in range(0, len(x), _BLOCK):
        part = x[start : start + _BLOCK]
        other = labels[start : start + _BLOCK, None] != labels
        if other.any():
            rows, columns = np.nonzero(other)
            rough = ((part**2).sum(1)[:, None] + (x**2).sum(1) - 2 * part @ x.T)[other]
            near = np.argsort(rough)[:64]
            least = min(least, float(np.linalg.norm(part[rows[near]] - x[columns[near]], axis=1).min()))
    return 0.0 if least == np.inf else float(np.divide(1.0, least)) if least > 0 else float("inf")


@dataclass(frozen=True)
class Profile:
    """The geometry of the features of a network's layers: (name, twonn, mle, components for 90 % of variance, mean curvature)."""

    rows: tuple[tuple[str, float, float, float, float], ...]
    samples: int

    def table(self) -> str:
        """For people."""
        return table(["layer", "twonn", "mle", "linear", "curvature"], self.rows)

    @property
    def curvature_gap(self) -> float:
        """Curvature of the last layer less that of the one before, over the mean of all; NaN where one is not known."""
        values = [row[4] for row in self.rows if row[4] == row[4]]
        return (values[-1] - values[-2]) / float(np.mean(values)) if len(values) > 1 and np.mean(values) > 0 else nan


def representation_profile(source: Any, data: Any, layers: Any = None, *, most: int = 1024) -> Profile:
    """Dimension and curvature of the features after each layer.

    Args:
        source: a module, or what `faltung.readers.replay` gives, which takes samples in batches of its own.
        data: at least some hundred samples (samples, ...).   layers: names of nodes; default the convolutions and linear maps.
        most: features of a layer; those of wider ones are added into so many sums with random signs, always the same, which
            keeps distances nearly.

    Cost: one call for every sample; samples² · features.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
        >>> [row[0] for row in representation_profile(net, torch.randn(64, 1, 12)).rows]
        ['0']
    """
    (x,) = arguments(data)
    if isinstance(source, nn.Module):
        size = min(len(x), _BATCH)
        found = replay(source, x[:size])
        assert found is not None
    else:
        found = source
        size = (found.network[found.network.inputs[0]].shape or (None,))[0] or min(len(x), _BATCH)
    names = list(layers) if layers is not None else [n.name for n in found.network.nodes if n.op in ("conv", "linear")]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(x), size):
        part = x[start : start + size]
        count = len(part)
        if count < size:  # graphs know one size of batch: the last one is filled up and cut
            part = torch.cat([part, part[-1:].expand(size - count, *part.shape[1:])])
        for name, y in found.values(part, names).items():
            if len(y) == size and y.ndim > 1:
                parts[name].append(_sketched(y[:count].flatten(1).double().cpu().numpy(), most))
    rows = []
    for name in names:
        if not parts[name]:
            rows.append((name, nan, nan, nan, nan))
            continue
        features = np.concatenate(parts[name])
        dimension = intrinsic_dimension(features)
        near = max(round(dimension), 1) if dimension == dimension else 1
        fits = near * (near + 3) // 2 + 2 < len(x) and near < features.shape[1]
        bend = mean_curvature(features, near, samples=50) if fits else nan
        mle, linear = (intrinsic_dimension(features, method) for method in ("mle", "pca"))
        rows.append((name, dimension, mle, linear, bend))
    return Profile(tuple(rows), len(x))


def _sketched(x: np.ndarray, most: int) -> np.ndarray:
    """Each feature added to eight of so many sums, with random signs: squared distances stay as they are in the mean."""
    if x.shape[1] <= most:
        return x
    rng = np.random.default_rng(0)
    count, each = x.shape[1], 8
    places = rng.integers(0, most, (count, each))
    signs = rng.choice([-1.0, 1.0], (count, each)) / each**0.5
    return np.asarray(
        x @ csr_array((signs.ravel(), places.ravel(), np.arange(0, count * each + 1, each)), (count, most))
    )


def smoothness(kernel: Any) -> tuple[float, float]:
    """(total variation, share of energy above half the band) of a layer's filters: low for the smooth filters of robust networks.

    Formula: Σ |∂| of each filter over its largest tap, averaged over filters; and the energy at max |ω_d| > π / 2.

    Shapes: kernel (out, in / groups, *k).   Source: Chen, Agarwal and Nguyen, The shape and simplicity biases of adversarially
    robust CNNs (2020).

    Example:
        >>> smoothness(np.ones((1, 1, 3, 3)))[0]
        0.0
    """
    from faltung.look.aliasing import kernel_alias_fraction

    w = np.asarray(read_only(kernel), np.float64)
    axes = tuple(range(2, w.ndim))
    top = np.abs(w).max(axes, keepdims=True)
    scaled = w / np.where(top > 0, top, 1)
    variation = sum(np.abs(np.diff(scaled, axis=a)).sum(axes) for a in axes)
    return float(np.mean(variation)), kernel_alias_fraction(w, 2)
