"""Against marks that are blurs: random sharpening, another one for each picture, and the low square of cosine frequencies."""

from typing import Any

import numpy as np
from scipy.fft import dct

from faltung.door import correlate
from faltung.errors import ArgumentError
from faltung.synth.draws import Source, random
from faltung.synth.operations import is_real, like


def sharpening_kernels(count: int, strength: float = 1.0, spread: float = 0.1, rng: Source = 0) -> np.ndarray:
    """Random sharpening kernels: a centre less its four neighbours.

    Formula: centre `c ~ N(1 + strength, spread²)`; each neighbour `−n`, `n ~ N((c − 1)/4, spread²)` on its own; corners 0. The gain
        at frequency 0 is 1 on average, its standard deviation `2·spread`; without spread it is 1, and the gain at (π, π) is
        `1 + 2·strength`.

    Args:
        count: at least 0.   strength: at least 0.   spread: at least 0, default 0.1.   rng: a seed or a generator.

    Returns:
        (count, 3, 3) float64; each drawn after the other, so that the first ones do not depend on count.

    Raises:
        ArgumentError: for numbers below 0 or not finite.

    Source: Kim and Sandoval-Segura, Learning from convolution-based unlearnable datasets (2024).

    Example:
        >>> sharpening_kernels(1, 1.0, 0.0)[0, 1]
        array([-0.25,  2.  , -0.25])
    """
    if count < 0 or not (0 <= strength < np.inf and 0 <= spread < np.inf):
        raise ArgumentError.of(
            "synth.sharpening_kernels",
            "count, strength and spread of at least 0",
            f"{count}, {strength}, {spread}",
            "strength=0, spread=0 changes nothing",
        )
    drawn = spread * random(rng, "synth.sharpening_kernels").standard_normal((count, 5))
    centre = 1 + strength + drawn[:, 0]
    kernels = np.zeros((count, 3, 3))
    kernels[:, 1, 1] = centre
    kernels[:, (0, 1, 1, 2), (1, 0, 2, 1)] = -((centre[:, None] - 1) / 4 + drawn[:, 1:])
    return kernels


def sharpen(x: Any, strength: float = 1.0, spread: float = 0.1, clip: bool = True, generator: Source = 0) -> Any:
    """Each picture sharpened by a random kernel of its own: a blur that told its label then tells less.

    Formula: `correlate(x_i, k_i)`, the picture reflected at its border, k_i from `sharpening_kernels`, one for all channels; held
        in [0, 1] with clip. Strength and spread 0 change nothing.

    Shapes: x (B, C, H, W), real, at least 2 × 2, array or tensor; returns the same.

    Args:
        strength, spread: of the kernels. Default 1 and 0.1.   clip: whether values below 0 and above 1 become these. Default True.
        generator: a seed or a `numpy.random.Generator`, also for tensors.

    Raises:
        ArgumentError: for numbers out of range, other shapes and whole numbers.

    Error: some ulp of the largest value times the kernel's sum of sizes.   Cost: five products a pixel.
    Source: Kim and Sandoval-Segura (2024), who cut a border of one pixel off instead.

    Example:
        >>> sharpen(np.full((1, 1, 3, 3), 0.5), spread=0.0)[0, 0, 1]
        array([0.5, 0.5, 0.5])
    """
    if x.ndim != 4 or min(x.shape[2:]) < 2 or not is_real(x):
        raise ArgumentError.of(
            "synth.sharpen",
            "x (B, C, H, W) of real numbers, at least 2 × 2",
            f"x {tuple(x.shape)} of {x.dtype}",
            "add axes, divide bytes by 255",
        )
    kernels = like(sharpening_kernels(len(x), strength, spread, generator), x)
    if not len(x):
        return x
    out = correlate(x, kernels, "b c *s, b *s -> b c *s", mode="same", boundary="reflect")
    return out.clip(0, 1) if clip else out


def low_cosines(x: Any, kept: float = 0.3, clip: bool = True) -> Any:
    """What is left of a picture with its low square of cosine frequencies alone.

    Formula: the type-II cosine transform of H rows and W columns is set to 0 but for the first `⌊kept·H⌋ × ⌊kept·W⌋` coefficients
        and transformed back: `P x Qᵀ` with the orthogonal projectors P and Q onto these cosines. Held in [0, 1] with clip; without,
        a second time changes nothing, and with `kept = 1` nothing is changed.

    Shapes: x (B, C, H, W), real, array or tensor; returns the same. Tensors keep their derivatives.

    Args:
        kept: share of each axis, in (0, 1], at least one coefficient of either. Default 0.3.
        clip: whether values below 0 and above 1 become these. Default True.

    Raises:
        ArgumentError: for a share out of range or that leaves nothing, other shapes and whole numbers.

    Error: some ulp of the largest value times √(H·W).   Cost: 4·kept·(H + W) products a pixel at most, in four matrix products.
    Source: Kim and Sandoval-Segura (2024).

    Example:
        >>> low_cosines(np.array([[[[0.0, 1.0], [1.0, 0.0]]]]), 0.5)[0, 0]
        array([[0.5, 0.5],
               [0.5, 0.5]])
    """
    if x.ndim != 4 or not is_real(x) or not 0 < kept <= 1 or min(kept * n for n in x.shape[2:]) < 1:
        raise ArgumentError.of(
            "synth.low_cosines",
            "x (B, C, H, W) of real numbers and a share in (0, 1] that keeps one coefficient at least",
            f"x {tuple(x.shape)} of {x.dtype}, kept {kept}",
            "add axes, divide bytes by 255, keep more",
        )
    # 0.29 · 100 is 28.999…: whole products are meant to be whole.
    rows, columns = (like(_cosines(n, int(kept * n + 1e-9)), x) for n in x.shape[2:])
    out = rows.T @ (rows @ x @ columns.T) @ columns
    return out.clip(0, 1) if clip else out


def _cosines(n: int, kept: int) -> np.ndarray:
    """The first rows of the orthogonal cosine transform (kept, n)."""
    return dct(np.eye(n), axis=0, norm="ortho")[:kept]
