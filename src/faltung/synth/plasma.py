"""Plasma: noise that is smooth and rough at once, by doubling the grid and averaging neighbours, level after level.

Each level stuffs zeros between the values and fills them by small convolutions: first the middles of cells from their corners, then
the middles of faces, then those of edges. Only the places that are filled are computed, a quarter of what dense kernels cost.

Source: Fournier, Fussell and Carpenter, Computer rendering of stochastic models (1982); Nicolaou et al., TorMentor (2022), for the
    cascade of convolutions.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.errors import ArgumentError
from faltung.synth.draws import random

START = 3  # values along the shortest axis before the first level


def plasma(
    size: Sequence[int],
    roughness: float = 0.5,
    batch: int = 1,
    channels: int = 1,
    seed_image: Any = None,
    noise: Iterable[Any] | None = None,
    kernels: Sequence[Any] | None = None,
    generator: Any = None,
    normalise: bool = True,
) -> Any:
    """Fractal noise of any number of dimensions.

    Formula:
        level: `Z[::2, ::2, ...] = I`, then for m = D, ..., 1 the places with m odd coordinates:
        `Z = (1 - s) · Σ_o κ_m[o] · Z[· + o] · all/inside + s · N`, with s = roughness^level, level = 1, 2, ..., and `all/inside`
        the number of neighbours over the number of those within the grid. In two dimensions the middles of cells are the mean of 4
        corners, the middles of edges the mean of 4 neighbours, 3 at the border. At last `(Z - min) / (max - min)` of each sample
        and channel.

    Shapes: returns (batch, channels, *size).

    Args:
        size: of one to four axes, each at least 1.
        roughness: 0 (smooth) to 1 (noise of all scales alike), default 0.5.
        seed_image: (batch, channels, *small), where the levels start. Default: uniform, 3 along the shortest axis.
        noise: arrays or tensors, one a level, (batch, channels, *Z's size) with values in [0, 1]. Default: drawn.
        kernels: D arrays of shape (3,)*D, κ_1 to κ_D, to weigh neighbours otherwise; tensors may be learnt. Default: means.
        generator: a seed or a `numpy.random.Generator` for NumPy, a `torch.Generator` for tensors. Needed where something is drawn.
        normalise: whether to stretch every channel to [0, 1].

    Returns:
        a tensor, differentiable in seed image and kernels, where a tensor or torch.Generator was given, else float64.

    Raises:
        ArgumentError: for numbers out of range, shapes that do not fit, or nothing to draw from.

    Cost: (4/3)^D of the points, 4 additions each in two dimensions: bound by memory.
    Source: see the module.

    Example:
        >>> plasma((5, 9), generator=0).shape
        (1, 1, 5, 9)
    """
    size = tuple(int(n) for n in size)
    if not 1 <= len(size) <= 4 or min(size) < 1 or not 0 <= roughness <= 1 or batch < 0 or channels < 1:
        raise ArgumentError.of(
            "synth.plasma",
            "a size of 1 to 4 axes, roughness in [0, 1], channels ≥ 1",
            f"size {size}, roughness {roughness}, batch {batch}, channels {channels}",
            "size=(480, 640) is an image",
        )
    draw = _drawing(generator, [seed_image, *(kernels or ())])
    if seed_image is None:
        seed_image = draw((batch, channels, *_start(size)))
    if seed_image.ndim != len(size) + 2 or min(seed_image.shape[2:]) < 2:
        raise ArgumentError.of(
            "synth.plasma",
            f"a seed image (batch, channels, and {len(size)} axes of at least 2)",
            f"{tuple(seed_image.shape)}",
            "put axes of length 1 in front",
        )
    image, strength, levels = seed_image, 1.0, iter(noise) if noise is not None else None
    while any(have < want for have, want in zip(image.shape[2:], size, strict=True)):
        shape = (*image.shape[:2], *(2 * n - 1 for n in image.shape[2:]))
        drawn = next(levels, None) if levels is not None else draw(shape)
        if drawn is None or tuple(drawn.shape) != shape:
            came = "none" if drawn is None else str(tuple(drawn.shape))
            raise ArgumentError.of("synth.plasma", f"noise of shape {shape} for this level", came, "one array a level")
        strength *= roughness
        image = doubled(image, strength, drawn, kernels)
    spare = [(have - want) // 2 for have, want in zip(image.shape[2:], size, strict=True)]
    image = image[(..., *(slice(first, first + want) for first, want in zip(spare, size, strict=True)))]
    return _stretched(image) if normalise else image


def doubled(image: Any, strength: float, noise: Any, kernels: Sequence[Any] | None = None) -> Any:
    """One level: `(..., h, w)` to `(..., 2h - 1, 2w - 1)`; the formula is that of `plasma`. Neither argument is changed."""
    ndim = image.ndim - 2
    known = {(0,) * ndim: image}  # values by which coordinates are odd
    for odd in sorted(product((0, 1), repeat=ndim), key=sum, reverse=True):
        if any(odd):
            own = noise[(..., *(slice(o, None, 2) for o in odd))]
            mean = _mean(known, odd, image.shape, None if kernels is None else kernels[sum(odd) - 1])
            known[odd] = (1 - strength) * mean + strength * own
    whole: Any = noise.new_empty(noise.shape) if is_torch(noise) else np.empty(noise.shape, noise.dtype)
    for odd, values in known.items():
        whole[(..., *(slice(o, None, 2) for o in odd))] = values
    return whole


def offsets(odd: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where the neighbours of places with these odd coordinates lie: the corners of their own face, and along even axes beside."""
    ndim = len(odd)
    corners = product(*((-1, 1) if o else (0,) for o in odd))
    beside = [
        tuple(step if a == axis else 0 for a in range(ndim))
        for axis in range(ndim)
        if not odd[axis]
        for step in (-1, 1)
    ]
    return [*corners, *beside]


def _mean(known: dict, odd: tuple[int, ...], shape: tuple[int, ...], kernel: Any) -> Any:
    """The weighted neighbours of all places with these odd coordinates, made up for those beyond the border."""
    sizes = [n - o for n, o in zip(shape[2:], odd, strict=True)]
    image, places = known[(0,) * len(odd)], offsets(odd)
    total: Any = (
        image.new_zeros((*shape[:2], *sizes)) if is_torch(image) else np.zeros((*shape[:2], *sizes), image.dtype)
    )
    inside = [np.zeros(n) for n in sizes]
    alone = [offset for offset in places if not any(o and not e for o, e in zip(offset, odd, strict=True))]
    for offset in places:
        # An odd place 2i + 1 has neighbours 2i and 2i + 2; an even place 2i has 2i - 1 and 2i + 1, beyond the border at the ends.
        parity = tuple((e + abs(o)) % 2 for e, o in zip(odd, offset, strict=True))
        to, from_ = [slice(None)] * len(odd), [slice(None)] * len(odd)
        for a, (e, o) in enumerate(zip(odd, offset, strict=True)):
            if o and e:
                from_[a] = slice(1, None) if o > 0 else slice(None, -1)
            elif o:
                to[a] = slice(None, -1) if o > 0 else slice(1, None)
                inside[a][to[a]] += 1
        weight = 1 / len(places) if kernel is None else kernel[tuple(o + 1 for o in offset)]
        total[(..., *to)] += weight * known[parity][(..., *from_)]
    count = np.full(sizes, float(len(alone)))
    for a, held in enumerate(inside):
        count += held.reshape([-1 if b == a else 1 for b in range(len(odd))])
    share = len(places) / count
    if (share == 1).all():
        return total
    return total * (total.new_tensor(share) if is_torch(total) else share.astype(total.dtype))


def _start(size: tuple[int, ...]) -> tuple[int, ...]:
    """The least grid whose doublings cover the size, about three along the shortest axis, so that cells are square."""
    levels = 0
    while (START - 1) * 2**levels + 1 < min(size):
        levels += 1
    return tuple(max(2, -(-(n - 1) // 2**levels) + 1) for n in size)


def _drawing(generator: Any, given: list) -> Any:
    """Uniform numbers of a shape, as tensors where anything that was given is one."""
    tensors = [a for a in given if a is not None and is_torch(a)]
    if tensors or type(generator).__module__.startswith("torch"):
        torch = import_torch("synth.plasma")
        like = tensors[0] if tensors else torch.empty(0, device=generator.device)
        if not isinstance(generator, torch.Generator):

            def refuse(shape: tuple[int, ...]) -> Any:
                raise ArgumentError.of(
                    "synth.plasma", "a torch.Generator to draw tensors from", repr(generator), "pass one"
                )

            return refuse
        return lambda shape: torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        return source.random(shape)

    if generator is None:

        def missing(shape: tuple[int, ...]) -> Any:
            raise ArgumentError.of("synth.plasma", "a generator, or seed_image and noise", "none", "say generator=0")

        return missing
    source = random(generator, "synth.plasma")
    return drawn


def _stretched(image: Any) -> Any:
    """Every channel from 0 to 1; constants become 0."""
    axes = tuple(range(2, image.ndim))
    if is_torch(image):
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        return (image - low) / (high - low).clamp(min=1e-30)
    low, high = image.min(axis=axes, keepdims=True), image.max(axis=axes, keepdims=True)
    return (image - low) / np.maximum(high - low, 1e-30)
