"""Fractals of iterated function systems: affine maps that together shrink the plane onto their attractor.

A system is a class of images; points of its attractor come from the chaos game: apply one map after another, each drawn with a
share that follows how much area it keeps.

Source: Barnsley, Fractals everywhere (1988); Kataoka et al., Pre-training without natural images (2020), for classes found by
filling; Anderson and Farrell, Improving fractal pre-training (2022), for maps sampled by their singular values.
"""

from dataclasses import dataclass

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels.orbit import on_numba
from faltung.synth.draws import Source, random

FILLED = 0.2  # least share of pixels of a system found by search
MARGIN = 6 / 512  # left free at each border, as a share of the side
SIDE, POINTS = 512, 100_000  # the picture that decides whether a system fills the plane


@dataclass(frozen=True)
class System:
    """Affine maps `p ↦ A p + b` and how often each is drawn.

    Args:
        maps: (n, 2, 3) float64, `[A | b]` a map.
        shares: (n,), > 0 with sum 1. Default: in proportion to `|det A|`, evenly where all are 0.

    Raises:
        ArgumentError: for arrays of other shapes, values that are not finite, shares that are no distribution.

    Example:
        >>> sierpinski().points(3, rng=0).shape
        (3, 2)
    """

    maps: np.ndarray
    shares: np.ndarray = None  # type: ignore[assignment]  # filled in below where none is given

    def __post_init__(self) -> None:
        maps = np.ascontiguousarray(self.maps, np.float64)
        if maps.ndim != 3 or maps.shape[1:] != (2, 3) or not len(maps) or not np.isfinite(maps).all():
            raise ArgumentError.of(
                "ifs.System", "maps (n, 2, 3), n ≥ 1, finite", f"{np.shape(self.maps)}", "stack [A | b]"
            )
        if self.shares is None:
            area = np.abs(np.linalg.det(maps[:, :, :2]))
            shares = area / area.sum() if area.sum() > 0 else np.full(len(maps), 1 / len(maps))
        else:
            shares = np.asarray(self.shares, np.float64)
            if shares.shape != (len(maps),) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-9:
                raise ArgumentError.of(
                    "ifs.System", f"{len(maps)} shares with sum 1", f"{np.asarray(self.shares)}", "divide by their sum"
                )
        object.__setattr__(self, "maps", maps)
        object.__setattr__(self, "shares", shares)

    @property
    def singular_values(self) -> np.ndarray:
        """(n, 2), the larger first: how much each map stretches."""
        return np.linalg.svd(self.maps[:, :, :2], compute_uv=False)

    @property
    def contractive(self) -> bool:
        """Whether every map shortens every distance, or keeps it at most."""
        return bool((self.singular_values <= 1 + 1e-12).all())

    def fixed_point(self, i: int = 0) -> np.ndarray:
        """The point that map i leaves where it is; it lies on the attractor.

        Raises:
            ArgumentError: where the map has none, or many.
        """
        A, b = self.maps[i, :, :2], self.maps[i, :, 2]
        if abs(np.linalg.det(np.eye(2) - A)) < 1e-12:
            raise ArgumentError.of(
                "ifs.System", "a map with one fixed point", f"map {i} is {A.tolist()}", "drop the map"
            )
        return np.linalg.solve(np.eye(2) - A, b)

    def points(self, count: int, rng: Source = 0) -> np.ndarray:
        """Points of the attractor by the chaos game.

        Formula: `p[t] = A_i p[t-1] + b_i`, i drawn with the shares, from the first map's fixed point: all of them lie on the
        attractor, none has to be thrown away.

        Shapes: returns (count, 2) float64. Points of a system that is not contractive may run away: infinite or NaN.
        Cost: 4 multiplications a point and a chain of them, some 10 ns.

        Raises:
            ArgumentError: for a negative count, or a first map without a fixed point.
        """
        if count < 0:
            raise ArgumentError.of("ifs.System.points", "a count of at least 0", f"{count}", "count points")
        draws = random(rng, "ifs.System.points").random(count)
        return on_numba.orbit(self.maps, np.cumsum(self.shares), draws, self.fixed_point())

    def jittered(self, rng: Source, low: float = 0.8, high: float = 1.1) -> "System":
        """One map scaled by a factor from low to high, so that all stay contractive: another member of the same class."""
        generator = random(rng, "ifs.System.jittered")
        for _ in range(5):
            maps = self.maps.copy()
            maps[generator.integers(len(maps)), :, :2] *= generator.uniform(low, high)
            if (np.linalg.svd(maps[:, :, :2], compute_uv=False) <= 1).all():
                return System(maps)
        return self


def sierpinski() -> System:
    """The triangle of three maps that halve the unit square towards three of its corners."""
    return System(np.array([[[0.5, 0, x], [0, 0.5, y]] for x, y in ((0, 0), (0.5, 0), (0, 0.5))]))


def sample(n: int | None = None, method: str = "svd", rng: Source = 0) -> System:
    """A random system.

    Formula:
        svd, uniform: `A_i = R(φ) diag(s_i1, s_i2) R(ψ)` with reflections, `1 ≥ s_i1 ≥ s_i2 ≥ 0` and
        `Σ (s_i1 + 2 s_i2) = α`, α uniform in [(5 + n)/2, (6 + n)/2]; b uniform in [-1, 1]². "svd" draws the pairs one after
        another, "uniform" by rejection, so that all pairs that fulfil the sum are equally likely.
        search: all six numbers of a map uniform in [-1, 1], again until the picture is filled by at least a fifth; the maps need
        not be contractive.

    Args:
        n: number of maps, at least 2. Default: 2, 3 or 4 at random; 2 to 7 for "search".
        method: "svd", "uniform" or "search".
        rng: a seed or a generator.

    Raises:
        ArgumentError: for another method or fewer than 2 maps.

    Source: Anderson and Farrell (2022); Kataoka et al. (2020) for "search".

    Example:
        >>> sample(3, rng=1).contractive
        True
    """
    generator = random(rng, "ifs.sample")
    if method not in ("svd", "uniform", "search"):
        raise ArgumentError.of("ifs.sample", "method 'svd', 'uniform' or 'search'", repr(method), "name one of them")
    most = 8 if method == "search" else 5
    n = int(generator.integers(2, most)) if n is None else n
    if n < 2:
        raise ArgumentError.of("ifs.sample", "at least 2 maps", f"{n}", "one map's attractor is a point")
    if method == "search":
        return _searched(n, generator)
    alpha = generator.uniform((5 + n) / 2, (6 + n) / 2)
    pairs = (_one_by_one if method == "svd" else _rejected)(n, alpha, generator)
    left, right = (_turns(generator.uniform(0, 2 * np.pi, n)) for _ in range(2))
    mirrored = generator.choice([-1.0, 1.0], (2, n, 1, 2))
    A = (left * mirrored[0]) @ (pairs[:, :, None] * (right * mirrored[1]))
    return System(np.concatenate([A, generator.uniform(-1, 1, (n, 2, 1))], axis=2))


def render(
    points: np.ndarray,
    size: int,
    mode: str = "grey",
    window: tuple[np.ndarray, np.ndarray] | None = None,
    rng: Source | None = None,
) -> np.ndarray:
    """A square picture of points.

    Shapes: points (count, 2), those that are not finite are left out; returns (size, size) uint8.

    Args:
        points: as from `System.points`.
        size: side in pixels, at least 1.
        mode: "binary": 255 where a point lies; "grey": points in the pixel, 255 for the fullest; "patch": "binary" with a random
            3 × 3 mask of grey 127 around every point, one mask a picture.
        window: lowest and highest corner of what is shown. Default: the points' bounding box and a margin of 6 in 512.
        rng: for the mask of "patch", which needs it.

    Raises:
        ArgumentError: for another mode, a size below 1, points of another shape.
    """
    if mode not in ("binary", "grey", "patch"):
        raise ArgumentError.of("ifs.render", "mode 'binary', 'grey' or 'patch'", repr(mode), "name one of them")
    if size < 1 or points.ndim != 2 or points.shape[1] != 2:
        raise ArgumentError.of(
            "ifs.render",
            "a size of at least 1 and points (count, 2)",
            f"size {size}, points {points.shape}",
            "see System.points",
        )
    x, y = points.T.copy()  # one coordinate after the other: NumPy reduces long rows ten times as fast as short ones
    with np.errstate(over="ignore", invalid="ignore"):  # points that run away
        near = np.isfinite(x.sum() + y.sum())
    if not near:
        kept = (np.abs(points) < 1e150).all(axis=1)
        x, y = x[kept], y[kept]
    if not len(x):
        return np.zeros((size, size), np.uint8)
    free = MARGIN if window is None else 0.0
    low, high = ((x.min(), y.min()), (x.max(), y.max())) if window is None else (tuple(window[0]), tuple(window[1]))
    columns, rows = (
        (v - a) * (size * (1 - 2 * free) / max(b - a, 1e-12)) + size * free
        for v, a, b in zip((x, y), low, high, strict=True)
    )
    if window is not None:
        kept = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
        columns, rows = columns[kept], rows[kept]
    cells = rows.astype(np.int32) * size + columns.astype(np.int32)
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    if mode == "grey":
        return np.round(255 * (counts / max(1, counts.max()))).astype(np.uint8)
    if mode == "binary":
        return np.where(counts, 255, 0).astype(np.uint8)
    if rng is None:
        raise ArgumentError.of("ifs.render", "rng for the mask of mode 'patch'", "None", "say rng=0")
    mask = random(rng, "ifs.render").integers(0, 2, (3, 3))
    wide, covered = np.pad(counts > 0, 1), np.zeros((size, size), bool)
    for i, j in zip(*np.nonzero(mask), strict=True):
        covered |= wide[2 - i : 2 - i + size, 2 - j : 2 - j + size]
    return np.where(covered, 127, 0).astype(np.uint8)


def boxes(points: np.ndarray, depth: int) -> int:
    """How many of the `2^depth × 2^depth` boxes of the unit square hold a point; its growth with depth is the fractal dimension."""
    cells = np.floor(points * 2**depth).astype(np.int64)
    return len(np.unique(cells[:, 0] << 32 | cells[:, 1]))


def _searched(n: int, generator: np.random.Generator) -> System:
    """Free maps until their picture is filled."""
    while True:
        system = System(generator.uniform(-1, 1, (n, 2, 3)))
        if np.abs(np.linalg.det(np.eye(2) - system.maps[0, :, :2])) < 1e-6:
            continue
        if np.count_nonzero(render(system.points(POINTS, generator), SIDE, "binary")) >= FILLED * SIDE**2:
            return system


def _one_by_one(n: int, alpha: float, generator: np.random.Generator) -> np.ndarray:
    """Pairs one after another, each within what still lets the others reach the sum."""
    pairs, rest = np.empty((n, 2)), alpha
    for i in range(n - 1):
        needed = rest - 3 * (n - 1 - i)  # the pairs that follow give 3 each at most
        pairs[i, 0] = generator.uniform(max(0, needed / 3), min(1, rest))
        rest -= pairs[i, 0]
        pairs[i, 1] = generator.uniform(max(0, (needed - pairs[i, 0]) / 2), min(pairs[i, 0], rest / 2))
        rest -= 2 * pairs[i, 1]
    pairs[-1, 1] = generator.uniform(max(0, (rest - 1) / 2), rest / 3)
    pairs[-1, 0] = rest - 2 * pairs[-1, 1]
    return pairs


def _rejected(n: int, alpha: float, generator: np.random.Generator) -> np.ndarray:
    """All numbers but one uniform, the last from the sum: kept where every pair is in order."""
    while True:
        pairs = generator.random((1024, n, 2))
        pairs[:, -1, 0] = alpha - pairs[:, :-1].sum(axis=1) @ [1, 2] - 2 * pairs[:, -1, 1]
        good = ((pairs[:, :, 0] >= pairs[:, :, 1]) & (pairs[:, :, 0] <= 1)).all(axis=1)
        if good.any():
            return pairs[good.argmax()]


def _turns(angles: np.ndarray) -> np.ndarray:
    """Rotations (n, 2, 2)."""
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
