"""Activations of complex numbers."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import DtypeError
from faltung.nn import functional
from faltung.nn.base import Example, Symmetry, shown
from faltung.nn.complex.base import ComplexLayer, turned


class _Pointwise(ComplexLayer):
    """An activation without parameters."""

    cost = "1"

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return 0

    def gain(self) -> float | None:
        return 1.0

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),), complex=True)


class CReLU(_Pointwise):
    """Rectified real part, rectified imaginary part: `relu(Re z) + j·relu(Im z)`.

    Shapes: any, complex.   Raises: DtypeError for real tensors.

    Example:
        >>> CReLU()(torch.tensor([1 - 2j]))
        tensor([1.+0.j])
    """

    name = "complex-crelu"
    summary = "relu of the real and of the imaginary part"
    portrait = shown("plane", (1, 1, 96, 96), complex=True)
    source = "Trabelsi et al., Deep complex networks (2018)"

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        return torch.complex(input.real.relu(), input.imag.relu())

    def definition(self, *inputs: Any) -> Tensor:
        parts = torch.view_as_real(inputs[0])
        return torch.view_as_complex(torch.where(parts > 0, parts, torch.zeros_like(parts)))


class ZReLU(_Pointwise):
    """The number itself where its phase lies in [0, π/2], else zero.

    Shapes: any, complex.   Raises: DtypeError for real tensors.

    Example:
        >>> ZReLU()(torch.tensor([1 + 2j, 1 - 2j]))
        tensor([1.+2.j, 0.+0.j])
    """

    name = "complex-zrelu"
    summary = "numbers of the first quadrant pass"
    portrait = shown("plane", (1, 1, 96, 96), complex=True)
    source = "Guberman, On complex valued convolutional neural networks (2016)"

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        return torch.where((input.real >= 0) & (input.imag >= 0), input, torch.zeros_like(input))

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        phase = z.angle()
        return z * ((phase >= 0) & (phase <= torch.pi / 2))

    def gain(self) -> float | None:
        return None  # numbers that leave the quadrant jump to zero


class Cardioid(_Pointwise):
    """Numbers along the positive real axis pass, against it vanish, between them are attenuated: `½·(1 + cos ∠z)·z`.

    Shapes: any, complex.   Raises: DtypeError for real tensors.

    Example:
        >>> Cardioid()(torch.tensor([2 + 0j, -2 + 0j, 2j]))
        tensor([2.+0.j, 0.+0.j, 0.+1.j])
    """

    name = "complex-cardioid"
    summary = "½ (1 + cos ∠z) z"
    portrait = shown("plane", (1, 1, 96, 96), complex=True)
    source = "Virtue, Yu and Lustig, Better than real: complex-valued neural nets for MRI fingerprinting (2017)"

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, None, None)
        size = input.abs()
        cos = input.real / torch.where(size > 0, size, torch.ones_like(size))
        return input * (0.5 + 0.5 * cos)

    def definition(self, *inputs: Any) -> Tensor:
        return 0.5 * (1 + torch.cos(inputs[0].angle())) * inputs[0]

    def gain(self) -> float | None:
        return None


class ModReLU(ComplexLayer):
    """A rectifier of the modulus with a learnt threshold, the phase is kept: `relu(|z| + b)·z / |z|`, and 0 for z = 0.

    Shapes: input (batch, channels, *n), returns the same; bias (channels), real.

    Args:
        channels: at least 1.   start: first value of every bias, negative for a dead zone of that radius. Default 0.
        dtype: complex. Default complex64; the bias has its real counterpart.

    Raises:
        ArgumentError: another number of channels.   DtypeError: real tensors.

    Example:
        >>> ModReLU(1, start=-1.0)(torch.tensor([[[2j, 0.5 + 0j]]]))
        tensor([[[0.+1.j, 0.+0.j]]], grad_fn=<MulBackward0>)
    """

    name = "complex-modrelu"
    summary = "a rectifier of the modulus with a learnt threshold"
    cost = "1"
    portrait = shown("plane", (1, 1, 96, 96), complex=True, channels=1, start=-0.7)
    source = "Arjovsky, Shah and Bengio, Unitary evolution recurrent neural networks (2016)"

    def __init__(
        self, channels: int, start: float = 0.0, device: Any = None, dtype: torch.dtype = torch.complex64
    ) -> None:
        super().__init__()
        (self.channels,) = functional.numbers("channels", channels, 1, 1)
        if not isinstance(dtype, torch.dtype) or not dtype.is_complex:
            raise DtypeError.of("complex.ModReLU", "a complex dtype", repr(dtype), "use torch.complex64")
        self.bias = nn.Parameter(torch.full((self.channels,), float(start), device=device, dtype=dtype.to_real()))

    def forward(self, input: Tensor) -> Tensor:
        self.expect(input, self.channels, None)
        size = input.abs()
        moved = (size + self.bias.reshape(-1, *[1] * (input.ndim - 2))).relu()
        return input * torch.where(size > 0, moved / torch.where(size > 0, size, torch.ones_like(size)), 0.0)

    def definition(self, *inputs: Any) -> Tensor:
        (z,) = inputs
        moved = z.abs() + self.bias.reshape(-1, *[1] * (z.ndim - 2))
        return torch.polar(torch.where(moved > 0, moved, torch.zeros_like(moved)), z.angle()) * (z != 0)

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return inputs[0]

    def parameter_count(self) -> int:
        return self.channels

    def symmetries(self) -> Iterable[Symmetry]:
        yield turned()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({"channels": 3, "start": -0.3}, ((2, 3, 4),), complex=True)
        yield Example({"channels": 2}, ((1, 2, 2, 3),), complex=True)
