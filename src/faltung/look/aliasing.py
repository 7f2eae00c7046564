"""How much of what a layer passes lies above the frequencies that its stride can keep."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.look.spectrum import symbol_of
from faltung.look.tables import table
from faltung.readers import Network, Node, read, replay

_POOLS = ("max_pool", "avg_pool")
_BOUNDARIES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def kernel_alias_fraction(kernel: Any, stride: Any, dilation: Any = 1) -> float:
    """The share of energy beyond the new band when white noise passes a kernel and every stride-th sample is kept.

    Formula: 1 − ∫ over |ω_d| < π / S_d of ‖F(ω)‖² / ∫ ‖F(ω)‖². With the kernel's autocorrelation r the integrals are sums,
    Σ_τ r(τ) ∏_d sin(π τ_d / S_d) / (π τ_d), so nothing is sampled.

    Shapes: kernel (out, in / groups, *k).   Args: stride, dilation: one number, or one for each axis.
    Returns: 0 to 1; NaN for a kernel of zeros.   Error: round-off.

    Example:
        >>> kernel_alias_fraction(np.ones((1, 1, 1, 1)), 2)
        0.75
    """
    kernel = np.asarray(kernel, np.float64)
    taps = kernel.shape[2:]
    strides, steps = (np.broadcast_to(np.asarray(v, np.int64), len(taps)) for v in (stride, dilation))
    axes = tuple(range(2, kernel.ndim))
    size = [2 * k - 1 for k in taps]
    energy = (np.abs(np.fft.fftn(kernel, size, axes)) ** 2).sum((0, 1))
    correlation = np.fft.ifftn(energy).real
    total = correlation.flat[0]
    if not total > 0:
        return float("nan")
    for axis, (k, s, d) in enumerate(zip(taps, strides, steps, strict=True)):
        shifts = np.concatenate([np.arange(k), np.arange(1 - k, 0)]) * d
        weights = np.sinc(shifts / s) / s  # sinc(x) = sin(πx) / (πx)
        correlation = np.moveaxis(np.moveaxis(correlation, axis, -1) * weights, -1, axis)
    return float(np.clip(1 - correlation.sum() / total, 0, 1))


def signal_alias_fraction(signal: Any, stride: Any) -> float:
    """The share of a signal's energy beyond the band that is left when every stride-th sample is kept.

    Shapes: signal (batch, channels, *n). Energy exactly at the new limit counts half.   Returns: 0 to 1; NaN for silence.

    Example:
        >>> signal_alias_fraction(np.cos(np.pi * 0.75 * np.arange(16))[None, None], 2)
        1.0
    """
    signal = np.asarray(signal, np.float64)
    axes = tuple(range(2, signal.ndim))
    strides = np.broadcast_to(np.asarray(stride, np.int64), len(axes))
    energy = (np.abs(np.fft.fftn(signal, axes=axes)) ** 2).sum((0, 1))
    total = energy.sum()
    if not total > 0:
        return float("nan")
    for axis, (n, s) in enumerate(zip(signal.shape[2:], strides, strict=True)):
        place = np.abs(np.fft.fftfreq(n)) * 2 * s  # 1 at the new limit
        keep = np.where(np.isclose(place, 1) & (s > 1), 0.5, place < 1) if s > 1 else np.ones(n)
        energy = np.moveaxis(np.moveaxis(energy, axis, -1) * keep, -1, axis)
    return float(np.clip(1 - energy.sum() / total, 0, 1))


@dataclass(frozen=True)
class Sampling:
    """One layer that drops or inserts samples.

    Fields:
        kernel: alias fraction of its kernel for white noise; None for a maximum, which has none.   signal: of what it made of
            the example before samples were dropped; None without an example's values.
        skips: whether its stride leaves inputs that it never reads.   checkers: whether a transposed convolution reaches its
            results a different number of times (taps that the stride does not divide).
    """

    name: str
    op: str
    stride: tuple[int, ...]
    kernel: float | None
    signal: float | None
    skips: bool
    checkers: bool


@dataclass(frozen=True)
class SamplingTable:
    """All layers of a network that change the sampling."""

    layers: tuple[Sampling, ...]

    def table(self) -> str:
        """For people."""
        header = ["layer", "op", "stride", "alias (kernel)", "alias (signal)", "skips inputs", "checkerboard"]
        return table(header, [[x.name, x.op, x.stride, x.kernel, x.signal, x.skips, x.checkers] for x in self.layers])


def aliasing(source: Any, example: Any = None) -> SamplingTable:
    """Alias fractions of all layers with a stride, by their kernels and by what they make of the example.

    Args:
        source: with an example, what `faltung.readers.replay` runs gives both fractions; anything else with a graph the first.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AvgPool2d(2))
        >>> round(aliasing(net, torch.randn(1, 1, 16, 16)).layers[0].kernel, 7)
        0.3303689
    """
    found = None if example is None else replay(source, example)
    network = read(source, example) if found is None else found.network
    if not network.connected:
        raise ArgumentError.of("aliasing", "a network with a graph", network.source, "pass an example")
    entered = [] if found is None else list(dict.fromkeys(n.inputs[0] for n in _sampling(network)))
    values = {} if found is None else found.values(example, entered)
    return SamplingTable(tuple(_row(node, values.get(node.inputs[0])) for node in _sampling(network)))


def _sampling(network: Network) -> list[Node]:
    kinds = ("conv", *_POOLS)
    return [n for n in network.nodes if n.op in kinds and (n.transposed or max(n.stride, default=1) > 1)]


def _row(node: Node, entered: Tensor | None) -> Sampling:
    reach = [(k - 1) * d + 1 for k, d in zip(node.taps, node.dilation, strict=True)]
    # A dilated kernel reads every input as long as its taps fall on all residues of the stride.
    read_all = all(
        len({t * d % s for t in range(k)}) == s for k, d, s in zip(node.taps, node.dilation, node.stride, strict=True)
    )
    uneven = node.transposed and any(s > 1 and r % s for r, s in zip(reach, node.stride, strict=True))
    kernel = None
    if node.op == "avg_pool":
        kernel = kernel_alias_fraction(np.ones((1, 1, *node.taps)), node.stride)
    elif node.op == "conv" and not node.transposed and node.kernel is not None:
        kernel = kernel_alias_fraction(node.kernel, node.stride, node.dilation)
    signal = None if entered is None or node.transposed else _measured(node, entered)
    return Sampling(node.name, node.op, node.stride, kernel, signal, not node.transposed and not read_all, uneven)


def _measured(node: Node, entered: Tensor) -> float | None:
    """Run the layer with a stride of one and look at what the stride would fold."""
    ndim, x = len(node.taps), entered.double()
    if x.ndim != ndim + 2:
        return None
    flat = [p for pair in reversed(node.padding) for p in pair]
    if node.op == "conv":
        if node.kernel is None:
            return None
        x = nn.functional.pad(x, flat, _BOUNDARIES[node.boundary])
        call = getattr(nn.functional, f"conv{ndim}d")
        y = call(x, torch.from_numpy(symbol_of(node).weight), None, dilation=node.dilation, groups=node.groups)
    elif node.op == "max_pool":
        x = nn.functional.pad(x, flat, value=-torch.inf)
        y = getattr(nn.functional, f"max_pool{ndim}d")(x, node.taps, 1, 0, node.dilation)
    else:
        y = getattr(nn.functional, f"avg_pool{ndim}d")(nn.functional.pad(x, flat), node.taps, 1)
    return signal_alias_fraction(y.numpy(), node.stride)
