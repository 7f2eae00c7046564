"""First values for depthwise kernels: the shapes that training tends to."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.init.templates import CLASSES, RATIOS, Template

USUAL = {"dog": 0.5, "first": 0.25, "second": 0.25}


@torch.no_grad()
def dog_(
    tensor: Tensor, mix: Mapping[str, float] = USUAL, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill depthwise kernels with differences of Gaussians, their derivatives and other shapes of an atlas of trained kernels.

    Formula: each slice of k × k taps is a template of a class, `G_σ / ΣG_σ − G_ρσ / ΣG_ρσ` for `dog`, `−u / σ² · G_σ` and
    `(u² / σ⁴ − 1 / σ²) G_σ` for the derivatives along u, times a sign at random, of norm `gain / √(in / groups)`: white signals of
    variance 1 give results of variance gain². σ is drawn from 1/2 to k / 3, ρ from 1.4 to 4, both evenly in their logarithm, the
    direction of u evenly. `other` are normal taps.

    Shapes: tensor (out, in / groups, k, k), at least 2 taps along each axis; filled in place and returned. Without slices there is
    nothing to fill.

    Args:
        mix: the share of each class, of gaussian, dog, first, second, uniform, cross, delta and other; divided by their sum. The
            number of slices of a class is its share of all, to less than one. Default: half dog, a quarter each derivative.
            `faltung.look.kernel_atlas` reads shares off a trained network.
        gain: at least 0. Default 1.   generator: of torch. Default: torch's own.

    Raises:
        ArgumentError: other axes or classes, shares below 0 or all 0, a gain below 0; a share of `dog` for 2 × 2 taps, which are
            all equally far from the middle, so that both Gaussians are the same.

    Error: tensor's own rounding.
    Source: Babaiee, Kiasari, Rus and Grosu, Unveiling the unseen: identifiable clusters in trained depthwise convolutional
        kernels (2024), for the shapes.

    Example:
        >>> weight = dog_(torch.empty(8, 1, 7, 7), {"first": 1})
        >>> bool(weight.sum((1, 2, 3)).abs().max() < 1e-6), round(weight[0].norm().item(), 5)
        (True, 1.0)
    """
    if tensor.ndim != 4 or min(tensor.shape[2:]) < 2:
        raise ArgumentError.of(
            "dog_", "kernels (out, in / groups, k, k) of at least 2 taps an axis", f"shape {tuple(tensor.shape)}", "choose two axes"
        )  # fmt: skip
    unknown = sorted(set(mix) - set(CLASSES))
    total = sum(mix.values())
    if unknown or not total > 0 or min(mix.values(), default=0) < 0:
        raise ArgumentError.of(
            "dog_", f"shares of at least 0 of {', '.join(CLASSES)}", str(dict(mix)), "name classes of the atlas"
        )
    if not (gain >= 0 and math.isfinite(gain)):
        raise ArgumentError.of("dog_", "a gain of at least 0", repr(gain), "the signs of the slices are drawn")
    if mix.get("dog", 0) > 0 and tuple(tensor.shape[2:]) == (2, 2):
        raise ArgumentError.of(
            "dog_", "taps at different distances from the middle for class dog", "2 x 2 taps", "leave dog out of mix"
        )
    if not tensor.numel():
        return tensor
    count, size = tensor.shape[0] * tensor.shape[1], (int(tensor.shape[2]), int(tensor.shape[3]))
    kinds = _dealt({kind: share / total for kind, share in mix.items()}, count)
    order = torch.randperm(count, generator=generator).tolist()
    numbers = torch.rand(count, 4, generator=generator, dtype=torch.float64).numpy()
    normal = torch.randn(count, *size, generator=generator, dtype=torch.float64).numpy()
    rows = [_drawn(kinds[place], size, numbers[n], normal[n]) for n, place in enumerate(order)]
    made = torch.from_numpy(np.stack(rows)) * (gain / math.sqrt(tensor.shape[1]))
    return tensor.copy_(made.reshape(tensor.shape))


def _dealt(shares: dict[str, float], count: int) -> list[str]:
    """That many classes, by largest remainders."""
    whole = {kind: math.floor(share * count) for kind, share in shares.items()}
    left = sorted(shares, key=lambda kind: whole[kind] - shares[kind] * count)
    for kind in left[: count - sum(whole.values())]:
        whole[kind] += 1
    return [kind for kind, many in whole.items() for _ in range(many)]


def _drawn(kind: str, size: tuple[int, int], numbers: Any, normal: Any) -> np.ndarray:
    """One kernel of a class, of norm 1."""
    if kind == "other":
        return normal / np.linalg.norm(normal)
    widest = max(min(size) / 3, 0.5)
    sigma = 0.5 * (widest / 0.5) ** numbers[0]
    ratio = RATIOS[0] * (RATIOS[-1] / RATIOS[0]) ** numbers[1]
    sign = 1.0 if numbers[3] < 0.5 else -1.0
    return sign * Template(kind, float(sigma), float(ratio), float(math.pi * numbers[2])).draw(size)
