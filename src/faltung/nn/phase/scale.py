"""Layers that commute with ideal down-scaling to every smaller size: `ScaleFourierConv` and `ScaleNonlinearity`."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, Symmetry, rolled, shown, uniform_bias
from faltung.nn.functional.waves import resample_ideal
from faltung.nn.phase.ideal import waves

_SOURCE = "Rahman and Yeh, Truly scale-equivariant deep nets with Fourier layers (2023)"
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu, "gelu": nn.functional.gelu, "silu": nn.functional.silu, "tanh": torch.tanh, "square": torch.square,
}  # fmt: skip


def scaled(top: int, ndim: int) -> Callable[[Tensor], Tensor]:
    """Ideal down-scaling to the frequencies up to `top` along each of the last axes, those that are shorter left as they are."""

    def down(x: Tensor) -> Tensor:
        return resample_ideal(x, tuple(min(n, 2 * top + 1) for n in x.shape[-ndim:]))

    return down


class ScaleFourierConv(Layer):
    """A convolution whose weights belong to frequencies in cycles per image, not per sample: it commutes with changes of scale.

    Formula: `Y[k] = Σ over inputs of W[k] X[k]` for |k| ≤ ⌊(modes − 1)/2⌋ along every axis and below n/2, 0 above; X the Fourier
    transform of x divided by its number of samples, `W[k] = Σ over taps j of ψ[j] exp(−2πi k·(j − ⌊(t − 1)/2⌋)/modes)`: the
    spectrum of a filter of kernel_size = t taps on a grid of `modes` samples. With t = modes the weights are free. For
    inputs of size `modes`, odd, it is the circular convolution (as torch's layers: a correlation) with ψ.

    Shapes: input (batch, in, *n), any sizes, returns (batch, out, *n); weight ψ (out, in, *t), real.

    Args:
        ndim: number of spatial axes.   in_channels, out_channels: at least 1.
        modes: samples of the grid that taps are counted on, one number or one for each axis. Frequencies below half of it pass.
        kernel_size: taps, at most `modes`, or None for all. Default None.
        bias: whether a constant is added to each output. Default True.

    Raises:
        ArgumentError: settings that name no layer.

    The taps start normal with variance 1/(in · Π kernel_size), so that every W[k] has the published mean square 1/in.

    Error: commutes with `faltung.nn.functional.resample_ideal` to odd sizes up to roundoff, and with shifts of any length.
    Cost: Fourier transforms and in · out products a mode; nothing depends on kernel_size but the number of weights.
    Source: as below. Real taps make results real, where free complex modes would not.

    Example:
        >>> ScaleFourierConv(2, 1, 4, 15, 5)(torch.zeros(1, 1, 9, 12)).shape
        torch.Size([1, 4, 9, 12])
    """

    name = "scale-fourier-conv"
    summary = "a convolution with weights for frequencies in cycles per image"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    cost = "in, for each mode, and Fourier transforms"
    portrait = shown("impulses", (1, 1, 25, 25), ndim=2, in_channels=1, out_channels=1, modes=25, kernel_size=5)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        modes: Any,
        kernel_size: Any = None,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (self.ndim,) = functional.numbers("ndim", ndim, 1, 1)
        self.in_channels, self.out_channels = functional.numbers(
            "in_channels, out_channels", (in_channels, out_channels), 2, 1
        )
        self.modes = functional.numbers("modes", modes, self.ndim, 1)
        self.kernel_size = functional.numbers(
            "kernel_size", modes if kernel_size is None else kernel_size, self.ndim, 1
        )
        if any(t > g for t, g in zip(self.kernel_size, self.modes, strict=True)):
            raise ArgumentError.of(
                "ScaleFourierConv", f"at most {self.modes} taps", f"{self.kernel_size}", "use fewer taps or more modes"
            )
        factory = {"device": device, "dtype": dtype}
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *self.kernel_size, **factory))
        fan = self.in_channels * math.prod(self.kernel_size)
        nn.init.normal_(self.weight, std=fan**-0.5)
        self.bias = uniform_bias(out_channels, fan, factory) if bias else None

    def highest(self, sizes: Any) -> tuple[int, ...]:
        """The highest frequency along each axis that passes for an input of these sizes."""
        return tuple(min((n - 1) // 2, (g - 1) // 2) for n, g in zip(sizes, self.modes, strict=True))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.in_channels, self.ndim)
        if not input.numel():
            return input.new_zeros(self.shapes(input.shape))
        x = input if input.dtype == torch.float64 else input.float()
        tops, axes, sizes = self.highest(x.shape[2:]), tuple(range(2, 2 + self.ndim)), x.shape[2:]
        spectrum = cropped(torch.fft.rfftn(x, dim=axes), tops)
        mixed = torch.einsum("oi...,bi...->bo...", self.response(tops, x.dtype), spectrum)
        y = torch.fft.irfftn(spread(mixed, sizes), s=tuple(sizes), dim=axes).to(input.dtype)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.ndim)

    def response(self, tops: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """W (out, in, *modes) for frequencies up to `tops`: 0 … K, −K … −1 along each axis, along the last one 0 … K."""
        weight = self.weight.to(dtype)
        found = torch.complex(weight, torch.zeros_like(weight))
        for axis, (top, t, g) in enumerate(zip(tops, self.kernel_size, self.modes, strict=True)):
            frequencies = torch.arange(top + 1, device=found.device)
            if axis < self.ndim - 1:
                frequencies = torch.cat((frequencies, torch.arange(-top, 0, device=found.device)))
            # Correlation, as all layers of torch: the tap at +j reads x[p + j].
            taps = torch.arange(t, device=found.device) - (t - 1) // 2
            angle = 2 * math.pi / g * (frequencies[:, None] * taps).to(dtype)
            turns = torch.polar(torch.ones_like(angle), angle)
            found = torch.einsum("kt,...t->...k", turns, found.movedim(2 + axis, -1)).movedim(-1, 2 + axis)
        return found

    def penalty(self) -> Tensor:
        """A number to add to a loss, that keeps filters small and their spectra low.

        Formula: `‖F ψ ⊙ d‖₂ + ‖ψ‖₂`, F the Fourier transform over the taps and `d = 30·exp(−10·Σ over axes of (j/t − ½)²)`, largest
        at the highest frequency.

        Source: Rahman and Yeh, Truly scale-equivariant deep nets with Fourier layers (2023).
        """
        axes, square = tuple(range(2, 2 + self.ndim)), self.weight.new_zeros(self.kernel_size)
        for axis, t in enumerate(self.kernel_size):
            place = torch.arange(t, dtype=square.dtype, device=square.device) / t - 0.5
            square = square + (place * place).reshape(-1, *[1] * (self.ndim - axis - 1))
        spectrum = torch.fft.fftn(self.weight, dim=axes) * (30 * torch.exp(-10 * square))
        return torch.view_as_real(spectrum).square().sum().sqrt() + self.weight.square().sum().sqrt()

    def definition(self, *inputs: Any) -> Tensor:
        """At every place the sum over taps of the signal between its samples."""
        (x,) = inputs
        tops = self.highest(x.shape[2:])
        slow = x
        for axis, top in enumerate(tops, 2):
            slow = waves(slow, axis, x.shape[axis], top, 1.0)
        y = torch.zeros(self.shapes(x.shape), dtype=x.dtype)
        for tap in torch.cartesian_prod(*(torch.arange(t) for t in self.kernel_size)).reshape(-1, self.ndim).tolist():
            moved = slow
            for axis, (j, t, g) in enumerate(zip(tap, self.kernel_size, self.modes, strict=True), 2):
                n, top = x.shape[axis], tops[axis - 2]
                places = torch.arange(n, dtype=torch.float64)
                at = (places[:, None] - places) / max(n, 1) + (j - (t - 1) // 2) / g
                matrix = 1 + 2 * sum((torch.cos(2 * math.pi * k * at) for k in range(1, top + 1)), torch.zeros_like(at))
                moved = torch.einsum("mn,...n->...m", matrix.to(x) / max(n, 1), moved.movedim(axis, -1)).movedim(
                    -1, axis
                )
            y = y + torch.einsum("oi,bi...->bo...", self.weight[(..., *tap)], moved)
        return y if self.bias is None else y + self.bias.reshape(-1, *[1] * self.ndim)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.out_channels, *inputs[0][2:])

    def parameter_count(self) -> int:
        taps = math.prod(self.kernel_size)
        return self.in_channels * self.out_channels * taps + (0 if self.bias is None else self.out_channels)

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({LINEAR, PER_SAMPLE})

    def symmetries(self) -> Iterable[Symmetry]:
        yield rolled(1, self.ndim)
        yield Symmetry("down-scaling to 3 samples", scaled(1, self.ndim), scaled(1, self.ndim))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "in_channels": 2, "out_channels": 3, "modes": 7}, ((2, 2, 9),))
        common = {"in_channels": 2, "out_channels": 2}
        yield Example({"ndim": 2, **common, "modes": (7, 8), "kernel_size": 3}, ((2, 2, 5, 6),))
        yield Example({"ndim": 3, **common, "modes": 4, "kernel_size": (1, 2, 3), "bias": False}, ((1, 2, 3, 4, 3),))
        yield Example({"ndim": 4, **common, "modes": 3, "kernel_size": 2}, ((1, 2, 3, 3, 2, 3),))


class ScaleNonlinearity(Layer):
    """Every ring of frequencies from the activation at that ring's own resolution: an activation that commutes with down-scaling.

    Formula: `Y[k] = F(σ(D_r x))[k]`, r = max(|k|_∞, base): D_r keeps the frequencies up to r along every axis, on 2r + 1 samples
    (an axis shorter than that stays as it is). With step above 1 only every step-th resolution is visited, and it is exact there.

    With a kink in σ the layer does not commute with shifts by fractions of a sample; with σ a polynomial of degree d and
    up ≥ (d + 1)/2 (σ at up times each resolution) it does, too.

    Shapes: input (batch, channels, *n), returns the same. The frequency n/2 of an even n is lost.

    Args:
        ndim: number of spatial axes.   function: `relu`, `gelu`, `silu`, `tanh`, `square`, or any that keeps shapes.
        base: the lowest resolution, at least 0: frequencies below it are all taken from there. Default 3.
        step: between resolutions, at least 1. Default 1.   up: at least 1. Default 1.
        norm: whether x is brought to mean 0 and variance 1 for each sample and channel, at each resolution anew. Default False.

    Raises:
        ArgumentError: settings that name no layer.

    Cost: two Fourier transforms for each of (n/2 − base) / step resolutions. For signals with one axis, `square`, step 1, up at
        least 2 and no norm two of twice the length in all: `Y[k] = Σ X[a] X[k − a]` over a = 0 ... k is one product for all rings,
        for frequencies up to k make the frequency k from two between 0 and k alone.
    Source: as below.

    Example:
        >>> x = torch.randn(1, 1, 15)
        >>> down = lambda v: functional.resample_ideal(v, (9,))
        >>> layer = ScaleNonlinearity(1)
        >>> bool((layer(down(x)) - down(layer(x))).abs().max() < 1e-5)
        True
    """

    name = "scale-nonlinearity"
    summary = "an activation taken for each ring of frequencies at that ring's resolution"
    source = _SOURCE
    dims = (1, 2, 3, 4)
    cost = "two Fourier transforms for each resolution"
    portrait = shown("photo", (1, 1, 31, 31), ndim=2)

    def __init__(
        self, ndim: int, function: Any = "relu", base: int = 3, step: int = 1, up: int = 1, norm: bool = False
    ) -> None:
        super().__init__()
        (self.ndim,), (self.base,) = functional.numbers("ndim", ndim, 1, 1), functional.numbers("base", base, 1, 0)
        self.step, self.up = functional.numbers("step, up", (step, up), 2, 1)
        if isinstance(function, str) and function not in FUNCTIONS:
            raise ArgumentError.of(
                "ScaleNonlinearity",
                f"a function among {', '.join(FUNCTIONS)}",
                repr(function),
                "or pass one of your own",
            )
        self.function, self.norm = function, norm

    def act(self, x: Tensor) -> Tensor:
        """The activation at one resolution."""
        if self.norm:
            axes = tuple(range(2, x.ndim))
            x = x - x.mean(axes, keepdim=True)
            x = x * (x.square().mean(axes, keepdim=True) + 1e-5).rsqrt()
        return FUNCTIONS[self.function](x) if isinstance(self.function, str) else self.function(x)

    def rings(self, sizes: Any) -> list[int]:
        """The resolutions that are visited, from the lowest to the whole."""
        whole = (max(sizes) - 1) // 2
        if whole <= self.base:
            return [whole]
        return [self.base, *range(self.base + self.step, whole, self.step), whole]

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, self.ndim)
        if not input.numel():
            return input
        x = input if input.dtype == torch.float64 else input.float()
        axes, sizes = tuple(range(2, 2 + self.ndim)), tuple(x.shape[2:])
        limits = tuple((n - 1) // 2 for n in sizes)
        spectrum = torch.fft.rfftn(x, dim=axes, norm="forward")
        if self.ndim == self.step == 1 and self.function == "square" and self.up > 1 and not self.norm:
            return self._squared(spectrum[..., : limits[0] + 1], sizes[0]).to(input.dtype)
        done: Tensor | None = None
        tops: tuple[int, ...] = ()
        for r in self.rings(sizes):
            inner, tops = tops, tuple(min(r, limit) for limit in limits)
            count = tuple((2 * top + 1) * self.up for top in tops)
            at = torch.fft.irfftn(spread(cropped(spectrum, tops), count), s=count, dim=axes, norm="forward")
            found = cropped(torch.fft.rfftn(self.act(at), dim=axes, norm="forward"), tops)
            done = found if done is None else within(done, found, inner)
        assert done is not None
        return torch.fft.irfftn(spread(done, sizes), s=sizes, dim=axes, norm="forward").to(input.dtype)

    def _squared(self, low: Tensor, size: int) -> Tensor:
        """All rings of the square by one product of one-sided spectra, those up to the base from the base's resolution."""
        top = low.shape[-1] - 1
        count = 2 * top + 1
        done = torch.fft.ifft(torch.fft.fft(low, count) ** 2)[..., : top + 1]
        base = min(self.base, top)
        at = torch.fft.irfft(low[..., : base + 1], (2 * base + 1) * self.up, norm="forward")
        inner = torch.fft.rfft(at * at, norm="forward")[..., : base + 1]
        return torch.fft.irfft(torch.cat((inner, done[..., base + 1 :]), -1), size, norm="forward")

    def definition(self, *inputs: Any) -> Tensor:
        """Ring by ring as signals: what each resolution has beyond the one before."""
        (x,) = inputs

        def band(v: Tensor, r: int, sizes: Any) -> Tensor:
            for axis, n in enumerate(sizes, 2):
                v = waves(v, axis, n, min(r, (x.shape[axis] - 1) // 2), 1.0)
            return v

        y, before = torch.zeros_like(x), -1
        for r in self.rings(x.shape[2:]):
            small = band(x, r, [(2 * min(r, (n - 1) // 2) + 1) * self.up for n in x.shape[2:]])
            acted = self.act(small)
            y = y + band(acted, r, x.shape[2:])
            if before >= 0:
                y = y - band(acted, before, x.shape[2:])
            before = r
        return y

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return 0

    def symmetries(self) -> Iterable[Symmetry]:
        top = self.base or self.step  # a resolution that is visited
        yield Symmetry(f"down-scaling to {2 * top + 1} samples", scaled(top, self.ndim), scaled(top, self.ndim))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"ndim": 1, "base": 1}, ((2, 2, 11),))
        yield Example({"ndim": 1, "function": "square", "base": 1, "up": 2}, ((1, 2, 10),))
        yield Example({"ndim": 2, "function": "gelu", "base": 1}, ((1, 2, 7, 6),))
        yield Example({"ndim": 2, "function": "square", "up": 2, "base": 2, "norm": True}, ((1, 2, 7, 7),))
        yield Example({"ndim": 3, "function": "tanh", "base": 0, "step": 2}, ((1, 1, 5, 3, 5),))
        yield Example({"ndim": 4, "function": "silu", "base": 1}, ((1, 1, 3, 4, 3, 3),))


# Half spectra: along all axes but the last frequencies 0 … K, −K … −1, along the last one 0 … K.


def cropped(spectrum: Tensor, tops: tuple[int, ...]) -> Tensor:
    """The frequencies up to `tops` of a half spectrum (batch, channels, *)."""
    for axis, top in enumerate(tops, 2):
        if axis < 1 + len(tops) and 2 * top + 1 < spectrum.shape[axis]:
            low = spectrum.narrow(axis, 0, top + 1)
            spectrum = torch.cat((low, spectrum.narrow(axis, spectrum.shape[axis] - top, top)), axis)
        elif axis == 1 + len(tops):
            spectrum = spectrum.narrow(axis, 0, top + 1)
    return spectrum


def spread(spectrum: Tensor, sizes: Any) -> Tensor:
    """The half spectrum of a signal of these sizes with these low frequencies and no others."""
    last = 1 + len(sizes)
    for axis, n in enumerate(sizes, 2):
        wanted = n // 2 + 1 if axis == last else n
        have = spectrum.shape[axis]
        if have == wanted:
            continue
        shape = (*spectrum.shape[:axis], wanted - have, *spectrum.shape[axis + 1 :])
        zeros = spectrum.new_zeros(shape)
        half = have if axis == last else (have + 1) // 2
        parts = spectrum.split((half, have - half), axis)
        spectrum = torch.cat((parts[0], zeros, parts[1]), axis)
    return spectrum


def within(inner: Tensor, outer: Tensor, tops: tuple[int, ...]) -> Tensor:
    """The outer half spectrum with its frequencies up to `tops` replaced by the inner one's."""
    last = 1 + len(tops)
    sizes = tuple((2 * (n - 1) + 1) if axis == last else n for axis, n in enumerate(outer.shape[2:], 2))
    own = torch.ones(inner.shape[2:], dtype=torch.bool, device=outer.device)[None, None]
    mask = spread(own.to(outer.dtype), sizes).real > 0.5
    return torch.where(mask, spread(inner, sizes), outer)
