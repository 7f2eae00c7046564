"""Constructors whose filters are sums of exponentials: each mode is a number that is multiplied by a constant at every step."""

import torch
from torch import Tensor

from faltung.nn.functional.vandermonde import Planes, moments, vandermonde
from faltung.nn.sequence.sequence import FilterConstructor


class Modes(FilterConstructor):
    """The base of constructors with diagonal states: filters `k[c, m, l] = Re Σ_n weight[c, m, n] · exp(exponent[c, n] · l)`.

    A subclass writes `modes`, and `definition_modes` once more by its formula. As a recurrence every channel holds N numbers,
    `s_n ← exp(exponent_n) · s_n + x`, and `y = Re Σ weight_n s_n`. They are kept in double precision, whatever the parameters
    have: after many steps a slow mode is a product of as many roundings.
    """

    recurrent = True

    def modes(self, rate: float) -> tuple[Planes, Planes]:
        """Weight (channels, heads, N) and exponent (channels, N) as planes in double precision; None for no imaginary parts."""
        raise TypeError(f"{type(self).__name__} has no modes")

    def definition_modes(self, rate: float) -> tuple[Tensor, Tensor]:
        """Weight (channels, heads, N) and factor exp(exponent) (channels, N) as complex numbers, by the formula."""
        raise TypeError(f"{type(self).__name__} has no definition of its modes")

    def filters(self, length: int, rate: float = 1.0) -> Tensor:
        weight, exponent = self.modes(rate)
        dtype = next(self.parameters()).dtype
        return vandermonde(_cast(weight, dtype), exponent, length)

    def definition_filters(self, length: int, rate: float = 1.0) -> Tensor:
        weight, factor = self.definition_modes(rate)
        state, taps = torch.ones_like(factor), []
        for _ in range(length):
            taps.append(torch.einsum("cmn,cn->cm", weight, state).real)
            state = factor * state
        return torch.stack(taps, -1).to(next(self.parameters()).dtype)

    def fixed(self, rate: float) -> tuple[Tensor, ...]:
        weight, exponent = self.modes(rate)
        return _stack(weight), _stack(_exp(exponent)), _stack(exponent)

    def initial_memory(self, batch: int) -> Tensor:
        weight, _ = self.modes(1.0)
        planes = 1 if weight[1] is None else 2
        return weight[0].new_zeros(batch, self.channels, weight[0].shape[-1], planes)

    def step(self, input: Tensor, memory: Tensor, fixed: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        weight, factor, _ = fixed
        memory = _product(factor, memory)
        memory = torch.cat([memory[..., :1] + input.to(memory.dtype)[..., None, None], memory[..., 1:]], -1)
        y = (weight[..., 0] * memory[:, :, None, :, 0]).sum(-1)
        return (y if weight.shape[-1] == 1 else y - (weight[..., 1] * memory[:, :, None, :, 1]).sum(-1)), memory

    def response(self, memory: Tensor, length: int, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        weight, factor, exponent = fixed
        seen = _product(weight, _product(factor, memory)[:, :, None])  # (batch, channels, heads, N)
        rows = seen.permute(1, 0, 2, 3, 4).flatten(1, 2)
        y = vandermonde(_planes(rows), _planes(exponent), length)
        return y.unflatten(1, (memory.shape[0], self.heads)).transpose(0, 1)

    def advance(self, memory: Tensor, input: Tensor, fixed: tuple[Tensor, ...], rate: float) -> Tensor:
        _, _, exponent = fixed
        heard = moments(input.flip(-1).to(memory.dtype).transpose(0, 1), _planes(exponent))
        aged = _product(_stack(_exp(_planes(exponent * input.shape[-1]))), memory)
        return aged + _stack(heard).transpose(0, 1)


def _cast(planes: Planes, dtype: torch.dtype) -> Planes:
    return planes[0].to(dtype), None if planes[1] is None else planes[1].to(dtype)


def _stack(planes: Planes) -> Tensor:
    """Planes as one tensor, side by side along a last axis."""
    return planes[0][..., None] if planes[1] is None else torch.stack((planes[0], planes[1]), -1)


def _planes(stacked: Tensor) -> Planes:
    return stacked[..., 0], None if stacked.shape[-1] == 1 else stacked[..., 1]


def _exp(exponent: Planes) -> Planes:
    size = exponent[0].exp()
    return (size, None) if exponent[1] is None else (size * exponent[1].cos(), size * exponent[1].sin())


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of two complex numbers, planes along the last axis; of real ones where that has one place."""
    if a.shape[-1] == 1:
        return a * b
    (ar, ai), (br, bi) = a.unbind(-1), b.unbind(-1)
    return torch.stack((ar * br - ai * bi, ar * bi + ai * br), -1)
