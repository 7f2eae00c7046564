"""How decoders treat frequencies: the transfer of linear chains, and what each layer gains at each distance from 0."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from faltung.errors import ArgumentError
from faltung.filters.symbol import Symbol
from faltung.look.generating import replica_peak
from faltung.look.spectrum import symbol_of
from faltung.look.tables import table
from faltung.readers import Node, read, read_only, traced, undisturbed


@dataclass(frozen=True, eq=False)
class Transfer:
    """What a chain of convolutions does to each frequency; NumPy takes it for its gains.

    Fields:
        gains: T, (*size, out, in), complex.   linear_only: whether functions of elements stand in the chain, which T leaves out.
        zero_padding_error: ‖y − T x‖ / ‖T x‖ of one white signal x, y what the same chain makes of it with its own margins instead
            of circular ones: 0 where these are circular, NaN where its result has another size.
    """

    gains: np.ndarray
    linear_only: bool
    zero_padding_error: float

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.gains, dtype=dtype, copy=copy)


def transfer(source: Any, size: int | tuple[int, ...], example: Any = None) -> Transfer:
    """What a chain of stride-1 convolutions without functions between them does to each frequency: DFT(y) = T · DFT(x).

    Exact for circular boundaries; biases add to ω = 0 alone. Functions of elements are taken as the identity, so for a network with
    rectifiers this is its linear part only; the result says so, and by how much other margins than circular ones miss it.

    Shapes: gains (*size, out, in), complex.   Raises: ArgumentError: a stride, a branch or an operation that mixes frequencies.

    Source: Tang, Shen, Zhou, Chen and Zhang, Defects of convolutional decoder networks in frequency representation (2023).

    Example:
        >>> layer = nn.Conv1d(1, 1, 1, bias=False)
        >>> bool(np.allclose(transfer(layer, 4, torch.zeros(1, 1, 4)), layer.weight.item()))
        True
    """
    network = read(source, example)
    made: np.ndarray | None = None
    sizes: tuple[int, ...] = ()
    chain: list[Node] = []
    bent = False
    pads: list[Node] = []  # since the last convolution
    for node in network.nodes:
        if node.op in ("input", "same", "activation", "pad"):
            bent = bent or node.op == "activation"
            chain += [node] if node.op == "pad" else []
            pads += [node] if node.op == "pad" else []
            continue
        plain = (
            node.op == "conv"
            and node.kernel is not None
            and not node.transposed
            and set(node.stride) == {1}
            and len(node.inputs) == 1
        )
        if not plain:
            raise ArgumentError.of(
                "transfer", "a chain of convolutions of stride 1", f"{node.name} ({node.op})", "look at a part of it"
            )
        symbol = symbol_of(node)
        sizes = (size,) * symbol.ndim if isinstance(size, int) else tuple(size)
        step = _layer_gain(symbol, sizes, _before(node, pads))
        pads = []
        made = step if made is None else step @ made
        chain.append(node)
    if made is None:
        raise ArgumentError.of("transfer", "at least one convolution", "none", "pass the layers")
    return Transfer(made, bent, _missed(chain, made, sizes))


def _missed(chain: list[Node], gains: np.ndarray, sizes: tuple[int, ...]) -> float:
    """The relative error of the gains for one white signal that goes through the chain with its own margins."""
    x = np.random.default_rng(0).standard_normal((gains.shape[-1], *sizes))
    y = x
    for node in chain:
        edges = [(0, 0)] * (y.ndim - len(node.padding)) + list(node.padding)
        if any(min(pair) < 0 for pair in edges) or node.settings.get("value") or node.boundary == "unknown":
            return float("nan")
        y = np.pad(y, edges, mode=node.boundary)  # type: ignore[call-overload]
        if node.op == "conv" and node.kernel is not None:
            if any(n < (k - 1) * d + 1 for n, k, d in zip(y.shape[1:], node.taps, node.dilation, strict=True)):
                return float("nan")
            weight = torch.from_numpy(node.kernel.astype(np.float64))
            call = getattr(nn.functional, f"conv{node.ndim}d")
            y = call(torch.from_numpy(y)[None], weight, dilation=node.dilation, groups=node.groups)[0].numpy()
    if y.shape[1:] != sizes:
        return float("nan")
    axes = tuple(range(1, y.ndim))
    wanted = np.einsum("...oi,i...->o...", gains, np.fft.fftn(x, axes=axes))
    return float(np.linalg.norm(np.fft.fftn(y, axes=axes) - wanted)) / max(float(np.linalg.norm(wanted)), 1e-300)


def _layer_gain(symbol: Symbol, sizes: tuple[int, ...], before: tuple[int, ...]) -> np.ndarray:
    """F(−ω), blocks of groups on the diagonal, with the phase of so many samples in front along each axis."""
    blocks = np.asarray(symbol.sample(sizes))
    groups, rows, columns = len(blocks), *blocks.shape[-2:]
    made = np.zeros((*sizes, groups * rows, groups * columns), complex)
    for g in range(groups):
        made[..., g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] = blocks[g].conj()
    for axis, (n, lead) in enumerate(zip(sizes, before, strict=True)):
        wave = np.exp(-2j * np.pi * np.fft.fftfreq(n) * lead)
        made = made * wave.reshape([-1 if a == axis else 1 for a in range(made.ndim)])
    return made


def _before(node: Node, pads: list[Node]) -> tuple[int, ...]:
    """The samples in front of each axis, of the layer's margin and of pads before it; without any those that keep the middle."""
    own = [lead for lead, _ in node.padding]
    for pad in pads:
        last = pad.padding[max(len(pad.padding) - node.ndim, 0) :]
        for axis, (lead, _) in enumerate(last, start=node.ndim - len(last)):
            own[axis] += lead
    if any(any(pair) for part in (node, *pads) for pair in part.padding):
        return tuple(own)
    return tuple((k - 1) * d // 2 for k, d in zip(node.taps, node.dilation, strict=True))


def expected_gain(taps: int, mean: float, deviation: float, frequencies: Any) -> np.ndarray:
    """E |T(ω)|² of a kernel of two axes with independent taps: σ² k² + μ² |D(u)|² |D(v)|², D the Dirichlet kernel.

    Shapes: frequencies (..., 2) in radians; returns (...).

    Example:
        >>> expected_gain(3, 1.0, 0.0, np.zeros(2)).item()
        81.0
    """
    omega = np.asarray(frequencies, np.float64)
    kernels = np.abs(np.exp(1j * omega[..., None] * np.arange(taps)).sum(-1)) ** 2
    return deviation**2 * taps**2 + mean**2 * kernels.prod(-1)


@dataclass(frozen=True, eq=False)
class LayerGain:
    """What one layer of a decoder does to power.

    Fields:
        factor: how much larger its result is, along each axis.   gains: (radii) power of the result over that of its input, at each
            distance from frequency 0 in whole bins of the result, copies of the input's spectrum counted as input.
        tilt: the last gain over the first, below 1 where high frequencies lose.   replica: as in `upsampling_artifacts`.
    """

    name: str
    op: str
    factor: tuple[int, ...]
    gains: np.ndarray
    tilt: float
    replica: float


@dataclass(frozen=True)
class DecoderSpectrum:
    """The gains of all layers of a decoder."""

    layers: tuple[LayerGain, ...]

    def table(self) -> str:
        """For people."""
        rows = [[x.name, x.op, x.factor, float(x.gains[0]), float(x.gains[-1]), x.tilt, x.replica] for x in self.layers]
        return table(["layer", "op", "factor", "gain at 0", "gain at the end", "tilt", "replica / median"], rows)


def decoder_spectrum(model: nn.Module, z: Any) -> DecoderSpectrum:
    """How much each convolution and each enlargement of a decoder gains at each distance from frequency 0, as measured.

    Formula: gain(r) = Σ P_y(ω) / Σ P_x(ω mod 2π) over frequencies ω of the result with round(|ω| n / 2π) = r, n its least size; P
    is the mean power over samples and channels, and an input m times as small has its spectrum repeated m times. Each layer is
    measured on what reaches it (what stands before its margin), so functions between layers count where they stand.

    Of circular layers with one input and independent taps the mean over kernels is `expected_gain`.

    Args: z: the model's arguments, a batch of several samples.
    Returns: a row for each convolution and upsampling whose result is a whole number of times as large as its input.
    Raises: ArgumentError: no such layer.
    Cost: one call and a transform of what enters and leaves each layer.
    Source: Tang, Shen, Zhou, Chen and Zhang (2023).

    Example:
        >>> net = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3, padding=1))
        >>> [row.factor for row in decoder_spectrum(net, torch.randn(4, 1, 8, 8)).layers]
        [(2, 2), (1, 1)]
    """
    with undisturbed(model):
        found = traced(model, z)
    network = found.network
    kinds = [n for n in network.nodes if n.op in ("conv", "upsample", "pixel_shuffle") and len(n.inputs) == 1]
    sources = {n.name: n.inputs[0] for n in kinds}
    for name in sources:
        while network[sources[name]].op == "pad":
            sources[name] = network[sources[name]].inputs[0]
    values = found.values(z, sorted({*sources, *sources.values()}))
    rows = []
    for node in kinds:
        x, y = (np.asarray(read_only(values[name]), np.float64) for name in (sources[node.name], node.name))
        if x.ndim != y.ndim or any(m % n for m, n in zip(y.shape[2:], x.shape[2:], strict=True)):
            continue
        factor = tuple(m // n for m, n in zip(y.shape[2:], x.shape[2:], strict=True))
        gains = _radial_gain(x, y, factor)
        tilt = float(gains[-1] / gains[0]) if gains[0] > 0 else float("inf")
        rows.append(LayerGain(node.name, node.op, factor, gains, tilt, replica_peak(y, factor)))
    if not rows:
        raise ArgumentError.of(
            "decoder_spectrum", "a layer whose result is a whole number of times as large as its input", "none",
            "look at a part of the model",
        )  # fmt: skip
    return DecoderSpectrum(tuple(rows))


def _radial_gain(x: np.ndarray, y: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    axes = tuple(range(2, y.ndim))
    before, after = ((np.abs(np.fft.fftn(v, axes=axes)) ** 2).mean((0, 1)) for v in (x, y))
    before = np.tile(before, factor)
    least = min(after.shape)
    places = np.meshgrid(*[np.fft.fftfreq(n) * least for n in after.shape], indexing="ij")
    bins = np.rint(np.sqrt(sum(p**2 for p in places))).astype(int).ravel()
    sums = [np.bincount(bins, v.ravel())[: least // 2 + 1] for v in (after, before)]
    return np.divide(sums[0], sums[1], out=np.zeros_like(sums[0]), where=sums[1] > 0)
