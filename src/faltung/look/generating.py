"""What generators leave in a spectrum: copies of it after upsampling, profiles of images, residuals of repeated pixels."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import nn

from faltung.errors import ArgumentError
from faltung.look.tables import table
from faltung.readers import Network, read_only, traced, undisturbed


def radial_profile(x: Any, *, window: bool = False, normalise: bool = True) -> np.ndarray:
    """The mean power of each distance from frequency 0, in whole bins.

    Shapes: x (..., *n) with two spatial axes, further axes averaged; three channels in front are made grey. Returns
        (⌊min n / 2⌋ + 1), the first of them frequency 0.

    Args: window: damp the edges first, whose steps would look like high frequencies.   normalise: divide by the first bin.

    Source: Chandrasegaran, Tran and Cheung, A closer look at Fourier spectrum discrepancies (2021).

    Example:
        >>> radial_profile(np.eye(8)[:1, :].repeat(8, 0), normalise=False).shape
        (5,)
    """
    power, radius, count = _power(x, window)
    bins = np.rint(radius).astype(int)
    sums = np.bincount(bins.ravel(), power.ravel())
    means = sums / np.bincount(bins.ravel())
    profile = means[: count // 2 + 1]
    return profile / profile[0] if normalise and profile[0] > 0 else profile


def _power(x: Any, window: bool) -> tuple[np.ndarray, np.ndarray, int]:
    x = np.asarray(read_only(x), np.float64)
    if x.ndim >= 3 and x.shape[-3] == 3:
        x = np.tensordot(x, [0.2989, 0.5870, 0.1140], axes=([-3], [0]))
    if x.ndim < 2:
        raise ArgumentError.of("radial_profile", "images (..., height, width)", f"shape {x.shape}", "pass two axes")
    height, width = x.shape[-2:]
    if window:
        x = x * np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.fft2(x)) ** 2
    power = power.reshape(-1, height, width).mean(0)
    u, v = np.fft.fftfreq(height) * min(height, width), np.fft.fftfreq(width) * min(height, width)
    return power, np.hypot(u[:, None], v[None, :]), min(height, width)


def power_law_tail(profile: Any, start: float = 0.75) -> tuple[float, float]:
    """(log b₁, b₂) of the line log P(r) = log b₁ + b₂ log r through the bins beyond that share of the largest radius."""
    profile = np.asarray(profile, np.float64)
    radii = np.arange(len(profile))
    kept = (radii > start * (len(profile) - 1)) & (profile > 0)
    if kept.sum() < 2:
        raise ArgumentError.of(
            "power_law_tail", "two bins with power in the tail", str(int(kept.sum())), "take a larger image"
        )
    slope, level = np.polyfit(np.log(radii[kept]), np.log(profile[kept]), 1)
    return float(level), float(slope)


@dataclass(frozen=True)
class Upsampling:
    """One step of a generator to a larger signal.

    Fields:
        factor: along each axis.   replica: power where the copies of frequency 0 lie, over the median power beyond half the
        band.
        uneven: whether a transposed convolution reaches its results a different number of times.
    """

    name: str
    op: str
    factor: tuple[float, ...]
    replica: float
    uneven: bool


@dataclass(frozen=True)
class UpsamplingTable:
    """All steps of a generator to larger signals, and its result."""

    layers: tuple[Upsampling, ...]
    replica: float

    def table(self) -> str:
        """For people."""
        rows = [[x.name, x.op, x.factor, x.replica, x.uneven] for x in self.layers]
        return table(
            ["layer", "op", "factor", "replica / median", "checkerboard"],
            [*rows, ["result", "", None, self.replica, False]],
        )


def replica_peak(signal: Any, factor: tuple[int, ...]) -> float:
    """Power at the copies of frequency 0, ω = 2π m / factor, over the median power of all frequencies with max |ω| > π / 2.

    Shapes: signal (batch, channels, *n).   Returns: above 10 a generator leaves a visible grid.
    """
    x = np.asarray(read_only(signal), np.float64)
    axes = tuple(range(2, x.ndim))
    power = (np.abs(np.fft.fftn(x, axes=axes)) ** 2).mean((0, 1))
    places = [np.fft.fftfreq(n) for n in x.shape[2:]]
    high = np.max(np.stack(np.meshgrid(*[np.abs(p) for p in places], indexing="ij")), 0) > 0.25
    # Windows around the copies, a bin wide, because their neighbours hold what is near frequency 0.
    copies = np.zeros(power.shape, bool)
    for index in np.ndindex(*factor):
        if any(index):
            place = tuple(round(i * n / f) % n for i, n, f in zip(index, power.shape, factor, strict=True))
            copies[place] = True
    if not copies.any():
        return 0.0
    median = np.median(power[high & ~copies])
    floor = np.finfo(float).eps * power.max()
    return float(power[copies].max() / max(median, floor)) if power.max() > 0 else 0.0


def upsampling_artifacts(generator: nn.Module, z: Any) -> UpsamplingTable:
    """Every step of a generator to a larger signal with the copies of the spectrum that it leaves.

    Args: z: the generator's arguments, a batch of several samples.

    Example:
        >>> net = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3))
        >>> [row.factor for row in upsampling_artifacts(net, torch.randn(4, 1, 8, 8)).layers]
        [(2.0, 2.0)]
    """
    with undisturbed(generator):
        found = traced(generator, z)
    network: Network = found.network
    kinds = [
        n
        for n in network.nodes
        if n.op in ("upsample", "pixel_shuffle") or (n.op == "conv" and n.transposed and max(n.stride) > 1)
    ]
    values = found.values(z, [*(n.name for n in kinds), *network.outputs])
    rows = []
    for node in kinds:
        entered = network[node.inputs[0]].shape
        if node.shape is None or entered is None:
            continue
        spatial = len(node.shape) - 2
        factor = tuple(
            float(m or 0) / float(n or 1) for m, n in zip(node.shape[-spatial:], entered[-spatial:], strict=True)
        )
        whole = tuple(node.stride) if node.op == "conv" else tuple(max(round(f), 1) for f in factor)
        reach = [(k - 1) * d + 1 for k, d in zip(node.taps, node.dilation, strict=True)] if node.op == "conv" else []
        uneven = any(s > 1 and r % s for r, s in zip(reach, node.stride, strict=False))
        rows.append(Upsampling(node.name, node.op, factor, replica_peak(values[node.name], whole), uneven))
    end = values[network.outputs[0]]
    last = tuple(max(round(f), 1) for f in rows[-1].factor) if rows else (1,) * (end.ndim - 2)
    return UpsamplingTable(tuple(rows), replica_peak(end, last) if end.ndim == len(last) + 2 else 0.0)


def bins_of(shape: tuple[int, int]) -> np.ndarray:
    """How many frequencies fall into each bin of the radial profile, all bins: Σ bins · counts is the whole power."""
    _, radius, _ = _power(np.zeros(shape), False)
    return np.bincount(np.rint(radius).astype(int).ravel(), minlength=1)[: prod(shape)]
