"""Hybrid images: low frequencies of one image or version of it with high ones of another; labels follow the low."""

from typing import Any

import numpy as np

from faltung.arrays import import_torch, is_torch
from faltung.door import correlate
from faltung.errors import ArgumentError
from faltung.filters import gaussian
from faltung.synth.draws import random
from faltung.synth.operations import is_real, like, vary

COINS = ("sample", "batch")


def split_bands(x: Any, kernel: np.ndarray) -> tuple[Any, Any]:
    """What a low-pass filter keeps and what it leaves: `(k ∗ x, x - k ∗ x)`, the image reflected at its border.

    Shapes: x (B, C, H, W), real, array or tensor; kernel (kh, kw), at most as large as the image.
    Raises: ArgumentError for other shapes and whole numbers.
    Error: the two add up to x within one rounding.
    """
    if x.ndim != 4 or kernel.ndim != 2 or max(kernel.shape) // 2 >= min(x.shape[2:]) or not is_real(x):
        raise ArgumentError.of(
            "synth.split_bands",
            "x (B, C, H, W) of real numbers, larger than half a kernel (kh, kw)",
            f"x {tuple(x.shape)} of {x.dtype}, kernel {kernel.shape}",
            "add axes, divide bytes by 255",
        )
    low = correlate(x, like(kernel, x), "b c *s, *s -> b c *s", mode="same", boundary="reflect")
    return low, x - low


def swap_amplitude(phase: Any, amplitude: Any) -> Any:
    """The image whose Fourier transform has the phase of one image and the amplitude of another.

    Formula: `Re F⁻¹(|F a| · e^{i ∠F p})` over channels and space.
    Shapes: both (B, C, H, W), real.
    Raises: ArgumentError where the shapes differ.
    Error: the imaginary part that is dropped is rounding, 1e-6 of the image in float32, also where p has little of a frequency:
        both factors are made symmetric before. Where p has nothing (0), its phase counts as 1.
    """
    if tuple(phase.shape) != tuple(amplitude.shape) or phase.ndim != 4:
        raise ArgumentError.of(
            "synth.swap_amplitude",
            "two batches (B, C, H, W) of one shape",
            f"{tuple(phase.shape)}, {tuple(amplitude.shape)}",
            "crop one",
        )
    whole = recombined(phase, amplitude).real
    return whole if is_torch(phase) else whole.astype(phase.dtype)


def recombined(phase: Any, amplitude: Any) -> Any:
    """`swap_amplitude` with its imaginary part."""
    lib: Any = import_torch("synth.swap_amplitude") if is_torch(phase) else np
    axes = (1, 2, 3)
    size = abs(lib.fft.fftn(amplitude, None, axes))
    return lib.fft.ifftn((size + _mirrored(lib, size, axes)) / 2 * phases(phase, axes), None, axes)


def phases(x: Any, axes: tuple[int, ...], floor: float = 0.0) -> Any:
    """`e^(i ∠F x)`, the Fourier transform over some axes with every amplitude 1.

    A real signal's transform is conjugate at -ω, but rounding breaks that, and then the phase of next to nothing is anything: a
    flat image's would leave an imaginary part that is no rounding. So the transform is first made conjugate to the last bit.

    Shapes: x real, array or tensor; returns the same, complex.
    Args: floor: what is no larger than that many times the norm of x over these axes has no phase, which counts as 1. Default 0.
    """
    lib: Any = import_torch("synth.phases") if is_torch(x) else np
    told = lib.fft.fftn(x, None, axes)
    told = (told + _mirrored(lib, told, axes).conj()) / 2
    length = abs(told)
    least = floor * _norm(lib, length, axes) if floor else 0.0
    return lib.where(length > least, told / lib.where(length > least, length, 1), lib.ones_like(told))


def _mirrored(lib: Any, f: Any, axes: tuple[int, ...]) -> Any:
    """f(-ω)."""
    return lib.roll(lib.flip(f, axes), (1,) * len(axes), axes)


def _norm(lib: Any, length: Any, axes: tuple[int, ...]) -> Any:
    """The norm of the signals whose transforms have these amplitudes, over their largest one first, whose square may be 0."""
    top = lib.amax(length, axes, keepdims=True)
    share = length / lib.where(top > 0, top, 1)
    return top * lib.sqrt((share**2).mean(axes, keepdims=True))


def hybrid_augment(
    x: Any,
    p: float = 0.6,
    sigma: float = 0.5,
    kernel: int = 3,
    amplitude_mix: bool = False,
    generator: Any = 0,
    partner: Any = None,
    coin: str = "sample",
) -> Any:
    """A batch with high frequencies from other images of the batch; labels stay.

    Formula: `G x + (x - G x)[π]` with G a Gaussian blur and π a permutation, with probability p. With `amplitude_mix`, with
        probability p, the low part gets the amplitudes of another permutation's low part.

    Shapes: x (B, C, H, W), real, array or tensor; returns the same.

    Args:
        p: probability of each change, default 0.6.
        sigma, kernel: of the blur, in pixels; kernel is odd. Default 0.5 and 3; 1.0 and 3 for large images.
        generator: a seed or a `numpy.random.Generator`, also for tensors.
        partner: indices (B,) to take in place of drawn permutations; p counts as 1.
        coin: whether each `sample` draws its own chances or the whole `batch` draws one. Default sample: of every batch about the
            share p is changed, where one coin changes all of it or nothing.

    Raises:
        ArgumentError: for numbers out of range or other shapes.

    Source: Yucel, Cinbis and Duygulu, HybridAugment++ (2023), whose coin is one for the batch.

    Example:
        >>> hybrid_augment(np.ones((2, 3, 8, 8)), generator=1).shape
        (2, 3, 8, 8)
    """
    if coin not in COINS:
        raise ArgumentError.of("coin", f"one of {', '.join(COINS)}", repr(coin), "choose one of these")
    blur = _blur("synth.hybrid_augment", p, sigma, kernel)
    source = random(generator, "synth.hybrid_augment")
    # Drawn in any case, so that what a seed gives does not depend on which coin fell.
    orders = [source.permutation(len(x)) for _ in range(2)]
    chosen = np.broadcast_to(source.random((2, len(x) if coin == "sample" else 1)) < p, (2, len(x)))
    if partner is not None:
        orders, chosen = [np.asarray(partner)] * 2, np.ones((2, len(x)), bool)
    low, high = split_bands(x, blur)
    if amplitude_mix:
        low = _with_amplitudes(low, low[orders[1]], chosen[1])
    return low + high[np.where(chosen[0], orders[0], np.arange(len(x)))]


def hybrid_single(
    x: Any,
    p: float = 0.5,
    sigma: float = 0.5,
    kernel: int = 3,
    amplitude_mix: bool = False,
    severity: float = 3.0,
    generator: Any = 0,
    views: tuple[Any, Any] | None = None,
) -> Any:
    """Each image from two versions of itself: low frequencies of one, high ones of the other; labels stay.

    Formula: a and b are x after one operation each (`synth.operations.vary`). With probability 1 - p the result is a; else it is
        `G a + (b - G b)` or `G b + (a - G a)`, either alike. With `amplitude_mix`, with probability p, the low parts exchange their
        amplitudes first (`swap_amplitude`). Every image draws its own chances.

    Shapes: x (B, C, H, W), real, in [0, 1]; array or tensor, returns the same. Values beyond [0, 1] are left as they are.

    Args:
        p: probability of a second version, and of the exchange, default 0.5.   sigma, kernel: as for `hybrid_augment`.
        severity: of the operations, see `vary`. Default 3.
        generator: a seed or a `numpy.random.Generator`, also for tensors.
        views: a and b to take in place of drawn versions; p counts as 1.

    Raises:
        ArgumentError: for numbers out of range, other shapes, views of another shape.

    Source: as `hybrid_augment`.

    Example:
        >>> hybrid_single(np.ones((2, 3, 8, 8)), generator=1).shape
        (2, 3, 8, 8)
    """
    blur = _blur("synth.hybrid_single", p, sigma, kernel)
    source = random(generator, "synth.hybrid_single")
    if views is not None and any(tuple(v.shape) != tuple(x.shape) for v in views):
        raise ArgumentError.of(
            "synth.hybrid_single", f"views {tuple(x.shape)}", f"{[tuple(v.shape) for v in views]}", "give both like x"
        )
    a, b = views if views is not None else (vary(x, severity, source), vary(x, severity, source))
    coins = source.random((3, len(x)))
    mixed, exchanged = coins[:2] < (p if views is None else 1)
    turned = coins[2] < 0.5
    (low_a, high_a), (low_b, high_b) = split_bands(a, blur), split_bands(b, blur)
    if amplitude_mix:
        exchanged = exchanged & mixed
        low_a, low_b = _with_amplitudes(low_a, low_b, exchanged), _with_amplitudes(low_b, low_a, exchanged)
    low = _chosen(mixed & turned, low_b, low_a)
    return low + _chosen(mixed & ~turned, high_b, high_a)


def hybrid_both(x: Any, amplitude_mix: bool = False, severity: float = 3.0, generator: Any = 0, **settings: Any) -> Any:
    """`hybrid_augment` of what `hybrid_single` makes: every image a hybrid of its own versions, then of another's high frequencies.

    Args:
        settings: sigma and kernel of both, p and coin of the second step.   amplitude_mix, severity, generator: as there.

    Shapes, Raises, Source: as there.

    Example:
        >>> hybrid_both(np.ones((2, 3, 8, 8)), generator=1).shape
        (2, 3, 8, 8)
    """
    source = random(generator, "synth.hybrid_both")
    blur = {name: settings[name] for name in ("sigma", "kernel") if name in settings}
    first = hybrid_single(x, amplitude_mix=amplitude_mix, severity=severity, generator=source, **blur)
    return hybrid_augment(first, amplitude_mix=amplitude_mix, generator=source, **settings)


def _blur(who: str, p: float, sigma: float, kernel: int) -> np.ndarray:
    if not 0 <= p <= 1 or not sigma > 0 or kernel < 1 or kernel % 2 != 1:
        raise ArgumentError.of(
            who,
            "p in [0, 1], sigma > 0, an odd kernel",
            f"p {p}, sigma {sigma}, kernel {kernel}",
            "kernel=3",
        )
    return gaussian(sigma, truncate=(kernel // 2) / sigma, ndim=2)


def _with_amplitudes(low: Any, other: Any, chosen: np.ndarray) -> Any:
    """The samples that are chosen with the amplitudes of the other batch, all others as they are."""
    at = np.flatnonzero(chosen)
    if not len(at):
        return low
    out = low.clone() if is_torch(low) else low.copy()
    out[at] = swap_amplitude(low[at], other[at])
    return out


def _chosen(mask: np.ndarray, one: Any, other: Any) -> Any:
    """Samples of one batch where the mask says so, else of the other."""
    if is_torch(one):
        torch = import_torch("synth.hybrid_single")
        return torch.where(torch.as_tensor(mask, device=one.device)[:, None, None, None], one, other)
    return np.where(mask[:, None, None, None], one, other)
