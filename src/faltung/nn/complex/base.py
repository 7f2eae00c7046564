"""What layers for complex numbers share: their names, and that real parameters stay real wherever the layer is moved."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from faltung.errors import DtypeError
from faltung.nn.base import Layer, Symmetry


class ComplexLayer(Layer):
    """A layer of `faltung.nn.complex`: it takes complex tensors only."""

    spatial: ClassVar[tuple[int, ...]] = ()
    """The dimensions for which there is a short name in `faltung.nn.complex`: `MaxPool2d` is `MaxPool` with two dimensions."""

    neutral = torch.empty(0, dtype=torch.complex128)

    def __repr__(self) -> str:
        return f"complex.{Layer.__repr__(self)}"

    def expect(self, input: Any, channels: int | None, ndim: int | None, batch: bool = True) -> None:
        """As `Layer.expect`, for complex tensors.

        Raises:
            DtypeError: no complex tensor.   ArgumentError: another number of axes or channels.
        """
        super().expect(input, channels, ndim, batch)
        if not input.is_complex():
            raise DtypeError.of(
                type(self).__name__,
                "a complex tensor",
                f"a tensor of {input.dtype}",
                "convert it with .to(torch.complex64)",
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """torch's way to move and cast a module: a new precision is taken over, but real stays real and complex complex."""

        def kept(tensor: Tensor) -> Tensor:
            if not (tensor.is_floating_point() or tensor.is_complex()):
                return fn(tensor)
            real = tensor.dtype.to_real()
            moved = fn(torch.empty(0, dtype=real, device=tensor.device))
            if moved.dtype == real:
                return fn(tensor)
            wanted = moved.dtype.to_complex() if tensor.is_complex() else moved.dtype.to_real()
            return tensor.to(moved.device, wanted)

        return super()._apply(kept, recurse)


def turned(angle: float = 0.7) -> Symmetry:
    """Equivariance to a phase that all numbers share."""
    factor = complex(torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(angle, dtype=torch.float64)))
    return Symmetry("a phase that all share", lambda z: z * factor, lambda z: z * factor)
