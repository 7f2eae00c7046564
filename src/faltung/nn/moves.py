"""What a layer says of its symmetries: `Symmetry`, and circular shifts as `rolled` makes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def same(y: Any) -> Any:
    """What an element does to an invariant."""
    return y


@dataclass(frozen=True)
class Symmetry:
    """What is done to the input does this to the result: `seen(layer(on_input(x))) == on_output(layer(x))`, in evaluation mode.

    Of several inputs the first is moved, a list leaf by leaf, and results leaf by leaf. Where they belong `together`, `on_input`
    takes all inputs as arguments and returns as many, and `on_output` takes the result whole. `seen` is what of the moved input's
    result is compared, default all of it. `fits` says for which inputs this is promised, default all.
    """

    name: str
    on_input: Callable[..., Any]
    on_output: Callable[[Any], Any] = field(default=same)
    together: bool = False
    seen: Callable[[Any], Any] = field(default=same)
    fits: Callable[..., bool] = field(default=lambda *inputs: True)

    def moved(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """All inputs, moved."""
        if self.together:
            return tuple(self.on_input(*inputs))
        return (pytree.tree_map(self.on_input, inputs[0]), *inputs[1:])

    def wanted(self, result: Any) -> Any:
        """What the result should become."""
        return self.on_output(result) if self.together else pytree.tree_map(self.on_output, result)


@dataclass(frozen=True)
class Roll(Symmetry):
    """A circular shift by so many samples along each of the last `ndim` axes; the result shifts by a `stride`-th, or stays."""

    shift: tuple[int, ...] = ()
    stride: int = 1
    stays: bool = False

    def drawn(self, random: np.random.Generator) -> "Roll":
        """The same for a random multiple along each axis."""
        return _roll(tuple(int(t) * s for t, s in zip(random.integers(-32, 33, len(self.shift)), self.shift, strict=True)),
                     self.stride, self.stays, self.fits)  # fmt: skip


def rolled(
    shift: int, ndim: int, stride: int = 1, stays: bool = False, fits: Callable[..., bool] = lambda *inputs: True
) -> Roll:
    """Circular shifts by `shift` samples along the last `ndim` axes, for a layer of that stride: equivariance, or invariance.

    Suites take it for shifts by any multiples along each axis.
    """
    return _roll((shift,) * ndim, stride, stays, fits)


def _roll(shift: tuple[int, ...], stride: int, stays: bool, fits: Callable[..., bool]) -> Roll:
    axes, after = tuple(range(-len(shift), 0)), tuple(t // stride for t in shift)
    alike = str(shift[0]) if len(set(shift)) == 1 else str(shift)
    return Roll(
        f"shift by {alike}", lambda x: x.roll(shift, axes), same if stays else lambda y: y.roll(after, axes), fits=fits,
        shift=shift, stride=stride, stays=stays,
    )  # fmt: skip


def orthogonal(n: int, seed: int) -> Tensor:
    """A rotation of n axes, or a mirror, drawn from a seed."""
    return torch.from_numpy(np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0])


def turned_channels(x: Tensor, turn: Tensor) -> Tensor:
    """A linear map of the channels, the same at every place: x (batch, channels, *n), turn (channels, channels)."""
    return torch.einsum("ij,bj...->bi...", turn.to(x), x)


def finer_shift(scale: tuple[int, ...]) -> Symmetry:
    """A circular shift by one sample along the last axes, of a result that is `scale` times as fine by as many of its own."""
    axes = tuple(range(-len(scale), 0))
    return Symmetry("shift by 1", lambda x: x.roll((1,) * len(axes), axes), lambda y: y.roll(scale, axes))
