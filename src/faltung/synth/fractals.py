"""Classes of fractals as data sets: a system is a class, its renderings are the images; item i is the same on every machine."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.synth import ifs
from faltung.synth.plasma import plasma

WEIGHTS = (None, *((j, w) for j in range(6) for w in (0.8, 0.9, 1.1, 1.2)))  # no change, or one of six numbers scaled
FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
MASKS = 10
INSTANCES = len(WEIGHTS) * len(FLIPS) * MASKS


@dataclass(frozen=True)
class FractalClasses:
    """Labelled pictures of fractals: `num_classes` systems, `per_class` renderings of each.

    With method "search", instance k of a class is one of 25 weightings (no change, or one of the six numbers of all maps times 0.8,
    0.9, 1.1 or 1.2), 4 flips and 10 masks of 3 × 3 pixels: 1000 pictures, none twice. With "svd", it is a rendering of a jittered
    system in a random window, with a random mask or grey values, turned and mirrored, in colour before coloured clouds if wished.

    Shapes: item i is (image, label), image (size, size) uint8, (size, size, 3) in colour, label `i // per_class`.

    Args:
        num_classes, per_class: at least 1; at most 1000 a class with "search".
        seed: of all that is drawn; the same seed and index give the same picture.
        size: side of the pictures, default 224.
        method: "svd" (default), "uniform" or "search", as in `ifs.sample`.
        points: of the attractor, default 100,000.
        colour: whether pictures have hues and a background; not with "search".

    Raises:
        ArgumentError: for numbers out of range; IndexError beyond the last picture.

    Cost: 1 to 3 ms a picture of 224² pixels.
    Source: Kataoka et al. (2020); Anderson and Farrell (2022). Their data set takes `index // num_class` for the label, right only
        where both numbers are equal; here it is `index // per_class`.

    Example:
        >>> pictures = FractalClasses(3, 10, seed=0, size=32, points=2000)
        >>> pictures[25][0].shape, pictures[25][1], len(pictures)
        ((32, 32), 2, 30)
    """

    num_classes: int
    per_class: int
    seed: int = 0
    size: int = 224
    method: str = "svd"
    points: int = ifs.POINTS
    colour: bool = False
    _systems: dict[int, ifs.System] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        most = INSTANCES if self.method == "search" else 10**9
        if self.num_classes < 1 or not 1 <= self.per_class <= most or self.size < 4 or self.points < 1 or self.seed < 0:
            raise ArgumentError.of(
                "synth.FractalClasses",
                f"num_classes, points ≥ 1, 1 ≤ per_class ≤ {most}, size ≥ 4, seed ≥ 0",
                f"num_classes {self.num_classes}, per_class {self.per_class}, size {self.size}, points {self.points}, "
                f"seed {self.seed}",
                "method 'svd' has no end of pictures a class",
            )
        if self.method not in ("svd", "uniform", "search") or (self.colour and self.method == "search"):
            raise ArgumentError.of(
                "synth.FractalClasses",
                "method 'svd', 'uniform', or 'search' without colour",
                f"method {self.method!r}, colour {self.colour}",
                "name one of them",
            )

    def __len__(self) -> int:
        return self.num_classes * self.per_class

    def system(self, label: int) -> ifs.System:
        """The system of a class; found when it is first asked for."""
        if label not in self._systems:
            self._systems[label] = ifs.sample(method=self.method, rng=np.random.default_rng((self.seed, label)))
        return self._systems[label]

    def instance(self, k: int) -> tuple[Any, tuple[int, int], int]:
        """Weighting, flip and number of the mask of the k-th picture of a class, for method "search"."""
        return WEIGHTS[k // MASKS // len(FLIPS)], FLIPS[k // MASKS % len(FLIPS)], k % MASKS

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"synth.FractalClasses has pictures 0 to {len(self) - 1}, not {index}")
        label, k = divmod(index, self.per_class)
        generator = np.random.default_rng((self.seed, label, k))
        system = self.system(label)
        if self.method == "search":
            return self._weighted(system, k, generator), label
        seen = system.jittered(generator).points(self.points, generator)
        return dressed(seen, self.size, self.colour, generator), label

    def _weighted(self, system: ifs.System, k: int, generator: np.random.Generator) -> np.ndarray:
        """One of the thousand pictures of a system that was found by search."""
        weight, (down, across), number = self.instance(k)
        maps = system.maps.copy()
        if weight is not None:
            maps.reshape(-1, 6)[:, weight[0]] *= weight[1]
        seen = ifs.System(maps, system.shares).points(self.points, generator)
        mask = np.random.default_rng((self.seed, number))
        return ifs.render(seen, self.size, "patch", rng=mask)[::down, ::across]


@dataclass(frozen=True)
class MultiFractal:
    """Pictures of one to five fractals at once, and which ones: a task of many labels.

    Shapes: item i is (image, labels), image (size, size) uint8, labels (num_classes,) bool.

    Args:
        num_classes: systems to choose from, at least 5; count: pictures, at least 1; seed, size, points: as in `FractalClasses`.
        sides: least and largest side of a fractal, as shares of the picture's; it may be cut by the border. Default 0.15 to 0.6.

    Source: Anderson and Farrell (2022).

    Example:
        >>> image, labels = MultiFractal(8, 100, size=48, points=2000)[3]
        >>> bool(1 <= labels.sum() <= 5)
        True
    """

    num_classes: int
    count: int
    seed: int = 0
    size: int = 224
    points: int = 20_000
    sides: tuple[float, float] = (0.15, 0.6)
    _classes: list[FractalClasses] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.num_classes < 5 or self.count < 1 or not 0 < self.sides[0] <= self.sides[1] <= 1:
            raise ArgumentError.of(
                "synth.MultiFractal",
                "num_classes ≥ 5, count ≥ 1 and sides 0 < least ≤ largest ≤ 1",
                f"num_classes {self.num_classes}, count {self.count}, sides {self.sides}",
                "one picture shows up to five classes",
            )
        self._classes.append(FractalClasses(self.num_classes, 10**9, self.seed, self.size, points=self.points))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < self.count:
            raise IndexError(f"synth.MultiFractal has pictures 0 to {self.count - 1}, not {index}")
        generator = np.random.default_rng((self.seed, self.num_classes, index))
        image, labels = np.zeros((self.size, self.size), np.uint8), np.zeros(self.num_classes, bool)
        for label in generator.choice(self.num_classes, generator.integers(1, 6), replace=False):
            side = max(4, round(self.size * generator.uniform(*self.sides)))
            system = self._classes[0].system(int(label)).jittered(generator)
            fractal = dressed(system.points(self.points, generator), side, False, generator)
            top, left = generator.integers(1 - side // 2, self.size - side // 2, 2)
            rows = slice(max(0, top), min(self.size, top + side))
            columns = slice(max(0, left), min(self.size, left + side))
            part = fractal[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            image[rows, columns] = np.maximum(image[rows, columns], part)
            labels[label] = True
        return image, labels


def dressed(points: np.ndarray, size: int, colour: bool, generator: np.random.Generator) -> np.ndarray:
    """Points in a random window, as grey values or a mask, turned, mirrored, in colour before clouds, sometimes blurred."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = (high - low) * generator.uniform(0.5, 2, 2)
    centre = (low + high) / 2 + (high - low) * generator.uniform(-0.2, 0.2, 2)
    window = (centre - extent / 2, centre + extent / 2)
    grey = ifs.render(points, size, ("grey", "patch")[generator.integers(2)], window, generator)
    if not grey.any():  # the window missed the attractor
        grey = ifs.render(points, size, "grey")
    if generator.random() < 0.5:
        grey = grey.T
    grey = grey[:: generator.choice([-1, 1]), :: generator.choice([-1, 1])]
    if not colour:
        return np.ascontiguousarray(grey)
    hue = (grey / 255 + generator.random()) % 1  # the wrap is meant: neighbours in hue, not in brightness
    image = _rgb(hue, generator.uniform(0.3, 1), np.where(grey > 0, generator.uniform(0.5, 1), 0))
    clouds = plasma((size, size), generator.uniform(0.4, 0.8), generator=generator)[0, 0]
    behind = _rgb((clouds + generator.random()) % 1, generator.uniform(0.3, 1), generator.uniform(0.5, 1))
    image = np.where(grey[..., None] > 0, image, behind)
    if generator.random() < 0.5:
        from faltung.door import correlate
        from faltung.filters import gaussian

        sigma = generator.uniform(0.5, 1)
        image = correlate(image, gaussian(sigma, 1 / sigma, ndim=2), "*s c, *s -> *s c", mode="same", boundary="edge")
    return np.round(255 * image).astype(np.uint8)


def _rgb(hue: Any, saturation: Any, value: Any) -> np.ndarray:
    """Red, green and blue of a hue in [0, 1)."""
    six = (np.asarray(hue)[..., None] * 6 + [5, 3, 1]) % 6
    value = np.asarray(value)[..., None] if np.ndim(value) else value
    return value - value * saturation * np.clip(np.minimum(six, 4 - six), 0, 1)
