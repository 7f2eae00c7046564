"""The shapes that trained depthwise kernels take: blobs, rings, edges, bars and their likes."""

from dataclasses import dataclass

import numpy as np

CLASSES = ("gaussian", "dog", "first", "second", "uniform", "cross", "delta", "other")
RATIOS = (1.4, 1.6, 2.0, 3.0, 4.0)


@dataclass(frozen=True)
class Template:
    """A shape with a name: class, width σ in taps, ratio of the two widths, angle in radians; 0 where it has none."""

    kind: str
    sigma: float = 0.0
    ratio: float = 0.0
    angle: float = 0.0

    def draw(self, size: tuple[int, int]) -> np.ndarray:
        """The template on a grid of taps, unit norm, mean as the formula has it."""
        rows, columns = (np.arange(n) - (n - 1) / 2 for n in size)
        y, x = np.meshgrid(rows, columns, indexing="ij")
        r2, u = x * x + y * y, x * np.cos(self.angle) + y * np.sin(self.angle)

        def blob(sigma: float) -> np.ndarray:
            return np.exp(-r2 / (2 * sigma * sigma))

        if self.kind == "gaussian":
            made = blob(self.sigma)
        elif self.kind == "dog":
            inner, outer = blob(self.sigma), blob(self.ratio * self.sigma)
            made = inner / inner.sum() - outer / outer.sum()
        elif self.kind == "first":
            made = -u / self.sigma**2 * blob(self.sigma)
        elif self.kind == "second":
            made = (u * u / self.sigma**4 - 1 / self.sigma**2) * blob(self.sigma)
        elif self.kind == "uniform":
            made = np.ones(size)
        elif self.kind == "cross":
            made = ((np.abs(x) < 0.75) | (np.abs(y) < 0.75)).astype(float)
        else:  # delta
            made = ((np.abs(x) < 0.75) & (np.abs(y) < 0.75)).astype(float)
        return made / np.linalg.norm(made)
