"""LearnedButterfly: the matrices of a fast Fourier transform as parameters, and a long convolution between two of these."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.nn import functional
from faltung.nn.base import LINEAR, PER_SAMPLE, Example, Layer, shown
from faltung.nn.sequence.sequence import checked_chance

SIZES = (16, 8, 4, 2)
SOURCE = "Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023)"
ACTIVATIONS = {"relu": torch.nn.functional.relu, "gelu": torch.nn.functional.gelu, "tanh": torch.tanh}


class LearnedButterfly(Layer):
    """A fast Fourier transform whose small matrices are learnt: at first it is the transform, after training what serves.

    Formula: for n = n_1 · m, samples j = m·j_1 + j_2 and frequencies k = k_1 + n_1·k_2,
    `y[k] = T_m(exp(−2πi k_1 j_2 / n) · Σ_{j_1} M_{n_1}[k_1, j_1] x[j])[k_2]`, T_m the same for the other factors; M_s, the
    matrix of size s, is a Fourier matrix at first and serves all factors of that size. An activation acts on real and
    imaginary parts between factors.

    Shapes: input (batch, heads, T) with T ≤ n, zeros follow; returns (batch, heads, n), complex. matrix s: (heads, s, s, 2).

    Args:
        n: a power of two, at least 2; others are rounded up.
        factors: sizes among 16, 8, 4 and 2 with the product n, the first acts first. Default: 16 as often as it divides, then
            one for the rest.
        heads: channels, each with matrices of its own. Default 1.
        noise: standard deviation of what is added to the Fourier matrices. Default 0.
        activation: relu, gelu, tanh or None. Default None.
        dropout: while training, the chance of each number of a matrix to be the Fourier matrix's for this once; how far the others
            are from it grows by 1/(1 − dropout), so that the mean stays. Drawn for each factor. Default 0.
        device, dtype: of the parameters, real.

    Raises:
        ArgumentError: settings that name no layer, inputs that are longer.

    Cost: Σ factors complex products a sample; parameters 2·s² for each size s among the factors and head, 680 for all four sizes.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> x = torch.randn(1, 1, 64)
        >>> bool((LearnedButterfly(64)(x) - torch.fft.fft(x)).abs().max() < 1e-4)
        True
    """

    name = "learned-butterfly"
    summary = "a fast Fourier transform whose small matrices are learnt"
    source = SOURCE
    cost = "4 · Σ factors"

    def __init__(
        self,
        n: int,
        factors: Any = None,
        heads: int = 1,
        noise: float = 0.0,
        activation: str | None = None,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        (least,) = functional.numbers("n", n, 1, 2)
        (self.heads,) = functional.numbers("heads", heads, 1, 1)
        self.n = 1 << (least - 1).bit_length()
        self.factors = (
            split(self.n) if factors is None else functional.numbers("factors", tuple(factors), len(factors), 1)
        )
        if math.prod(self.factors) != self.n or not set(self.factors) <= set(SIZES):
            raise ArgumentError.of(
                "factors", f"sizes among {SIZES} with the product {self.n}", repr(factors), f"take {split(self.n)}"
            )
        if activation is not None and activation not in ACTIVATIONS:
            raise ArgumentError.of(
                "activation", f"None or one of {', '.join(ACTIVATIONS)}", repr(activation), "choose one"
            )
        if not noise >= 0:
            raise ArgumentError.of("noise", "a number of at least 0", repr(noise), "leave it out for none")
        self.activation, self.noise, self.dropout = activation, float(noise), checked_chance(dropout)
        made = (torch.empty(self.heads, s, s, 2, device=device, dtype=dtype) for s in sorted(set(self.factors)))
        self.matrices = nn.ParameterList(made)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Fourier matrices, and noise."""
        for size, matrix in zip(sorted(set(self.factors)), self.matrices, strict=True):
            matrix.copy_(fourier(size, matrix.device))
            if self.noise:
                matrix.add_(torch.randn_like(matrix), alpha=self.noise)

    def matrix(self, size: int) -> Tensor:
        """M of that size for every head, complex."""
        matrix = functional.wide(self.matrices[sorted(set(self.factors)).index(size)])
        if self.training and self.dropout:
            plain = fourier(size, matrix.device).to(matrix.dtype)
            matrix = plain + nn.functional.dropout(matrix - plain, self.dropout)
        return torch.view_as_complex(matrix)

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.heads, 1)
        if input.shape[-1] > self.n:
            raise ArgumentError.of(
                "LearnedButterfly", f"at most {self.n} samples", f"shape {tuple(input.shape)}", "make a butterfly for a larger n"
            )  # fmt: skip
        x = functional.wide(nn.functional.pad(input, (0, self.n - input.shape[-1])))
        return self._transform(torch.complex(x, torch.zeros_like(x)), self.factors)

    def _transform(self, x: Tensor, factors: tuple[int, ...]) -> Tensor:
        """The transform of the last axis of x (batch, heads, ..., n)."""
        size, n = factors[0], x.shape[-1]
        x = x.unflatten(-1, (size, n // size))
        y = torch.einsum("hkj,bh...jm->bh...km", self.matrix(size), x)
        if len(factors) == 1:
            return y.flatten(-2)
        like = {"dtype": y.real.dtype, "device": y.device}
        angle = torch.arange(size, **like)[:, None] * torch.arange(n // size, **like) * (-2 * math.pi / n)
        y = self._bent(y * torch.complex(angle.cos(), angle.sin()))
        return self._transform(y, factors[1:]).transpose(-1, -2).flatten(-2)

    def _bent(self, y: Tensor) -> Tensor:
        if self.activation is None:
            return y
        act = ACTIVATIONS[self.activation]
        return torch.complex(act(y.real), act(y.imag))

    def definition(self, *inputs: Any) -> Tensor:
        """Frequency by frequency."""
        x = [sample.to(torch.complex128) for sample in inputs[0].unbind(-1)]
        x += [0 * x[0] if x else inputs[0].sum(-1).to(torch.complex128)] * (self.n - len(x))
        return torch.stack(self._by_samples(x, self.factors), -1).to(inputs[0].dtype.to_complex())

    def _by_samples(self, x: list[Tensor], factors: tuple[int, ...]) -> list[Tensor]:
        if not factors:
            return x
        size, n = factors[0], len(x)
        m = n // size
        matrix = self.matrix(size)
        found: list[Any] = [None] * n
        for k in range(size):
            row = [sum(matrix[:, k, j] * x[m * j + i] for j in range(size)) for i in range(m)]
            turned = [
                value * complex(math.cos(a), math.sin(a))
                for i, value in enumerate(row)
                for a in [-2 * math.pi * k * i / n]
            ]
            rest = [self._bent(value) for value in turned] if len(factors) > 1 else turned
            found[k::size] = self._by_samples(rest, factors[1:])
        return found

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return (inputs[0][0], self.heads, self.n)

    def parameter_count(self) -> int:
        return self.heads * sum(2 * s * s for s in set(self.factors))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"n": 8, "factors": (2, 4), "heads": 2, "noise": 0.1}, ((2, 2, 7),))
        yield Example({"n": 16, "factors": (8, 2), "activation": "tanh", "dropout": 0.5}, ((1, 1, 13),))


class ButterflyConv1d(Layer):
    """A long convolution between learnt transforms: at first a plain causal one, after training a mixing of the signal's own.

    Formula: `y = Re F⁻¹(B_k(k) ⊙ B_x(x))[0 .. T)` for each channel, with two `LearnedButterfly`s for at least 2 · length
    samples, F⁻¹ the plain inverse Fourier transform and k a learnt filter of `length` taps. With Fourier matrices it is the
    causal convolution with k; with others it is linear in x, but neither shift-invariant nor causal.

    Shapes: input (batch, channels, T) with T ≤ length, returns the same; weight (channels, length).

    Args:
        channels, length: at least 1.   factors, noise, activation, dropout: see `LearnedButterfly`.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: settings that name no layer, inputs that are longer.

    Cost: 4 · Σ factors products a sample of 2 · length, three times.

    Source: Fu et al., Simple hardware-efficient long convolutions for sequence modeling (2023).

    Example:
        >>> ButterflyConv1d(4, 100)(torch.zeros(1, 4, 100)).shape
        torch.Size([1, 4, 100])
    """

    name = "butterfly-conv"
    summary = "a long convolution between learnt transforms that are Fourier transforms at first"
    source = SOURCE
    cost = "8 · Σ factors, three times"
    portrait = shown("rows", (1, 4, 64), channels=4, length=64, noise=0.1)

    def __init__(
        self,
        channels: int,
        length: int,
        factors: Any = None,
        noise: float = 0.0,
        activation: str | None = None,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.channels, self.length = functional.numbers("channels, length", (channels, length), 2, 1)
        settings = (factors, channels, noise, activation, dropout, device, dtype)
        self.of_input, self.of_filter = (LearnedButterfly(2 * self.length, *settings) for _ in range(2))
        self.weight = nn.Parameter(torch.empty(self.channels, self.length, device=device, dtype=dtype))
        nn.init.normal_(self.weight, std=math.sqrt(1 / self.length))

    def forward(self, input: Tensor) -> Tensor:
        self._fits(input)
        bins = self.of_input(input) * self.of_filter(self.weight[None])
        # Only a real signal's transform is its own mirror image, so the whole of it is transformed back.
        y = torch.fft.ifft(bins).real if bins.numel() else bins.real
        return y[..., : input.shape[-1]].to(input.dtype)

    def definition(self, *inputs: Any) -> Tensor:
        (x,) = inputs
        bins = self.of_input.definition(x) * self.of_filter.definition(self.weight[None])
        line = torch.arange(self.of_input.n, dtype=x.dtype)
        back = torch.exp(2j * math.pi * line[:, None] * line / self.of_input.n) / self.of_input.n
        return (bins @ back).real[..., : x.shape[-1]]

    def _fits(self, input: Tensor) -> None:
        self.expect(input, self.channels, 1)
        if input.shape[-1] > self.length:
            raise ArgumentError.of(
                "ButterflyConv1d", f"at most {self.length} samples", f"shape {tuple(input.shape)}", "make a layer for more"
            )  # fmt: skip

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def parameter_count(self) -> int:
        return self.channels * self.length + self.of_input.parameter_count() + self.of_filter.parameter_count()

    @property
    def claims(self) -> frozenset[str]:
        return frozenset({PER_SAMPLE} | ({LINEAR} if self.of_input.activation is None else set()))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 2, "length": 4, "factors": (4, 2), "noise": 0.1}, ((2, 2, 4),))
        yield Example({"channels": 1, "length": 7, "activation": "gelu"}, ((2, 1, 5),))


def fourier(size: int, device: Any) -> Tensor:
    """The Fourier matrix (size, size, 2) as real and imaginary parts, in double precision."""
    line = torch.arange(size, dtype=torch.float64, device=device)
    angle = (line[:, None] * line) * (-2 * math.pi / size)
    return torch.stack([angle.cos(), angle.sin()], -1)


def split(n: int) -> tuple[int, ...]:
    """A power of two as a product of sixteens and one smaller factor."""
    found = []
    while n > 1:
        found.append(min(n, SIZES[0]))
        n //= found[-1]
    return tuple(found)
