"""What the learnt activations share: coefficients for groups of channels, and the samples that fits look at."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.nn import functional
from faltung.nn.base import Example, Layer

NODES = 100
"""Samples of a normal variable that fits look at: NumPy states its Gauss–Hermite rule as tested up to this many."""


class Activation(Layer):
    """A function of single numbers with coefficients (groups, ...), one row for each group of channels."""

    def _settle(self, degree: Any, groups: Any) -> None:
        (self.degree,) = functional.numbers("degree", degree, 1, 1)
        (self.groups,) = functional.numbers("groups", groups, 1, 1)

    def evaluate(self, x: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        """The function of x; `at(p)` brings a column (groups) of coefficients into a shape that meets x."""
        raise ArgumentError.of(type(self).__name__, "evaluate()", "none", "write the function down")

    def forward(self, input: Tensor) -> Tensor:
        x = self._split(input)
        return self.evaluate(x, lambda column: column.reshape(-1, *[1] * (x.ndim - 2))).reshape(input.shape)

    def _split(self, input: Tensor) -> Tensor:
        """The input as (batch, groups, channels of a group, *n), or as it is where there is one group."""
        self.expect(input, None, None)
        if input.is_complex():
            raise DtypeError.of(
                type(self).__name__, "a tensor of real numbers", f"{input.dtype}", "take its parts apart"
            )
        if self.groups == 1:
            return input
        if input.ndim < 2 or input.shape[1] % self.groups:
            raise ArgumentError.of(
                type(self).__name__, f"an input (batch, channels, *n) whose channels {self.groups} groups divide",
                f"shape {tuple(input.shape)}", "choose groups that divide the channels",
            )  # fmt: skip
        return input.unflatten(1, (self.groups, input.shape[1] // self.groups))

    def shapes(self, *inputs: Any) -> tuple[int, ...]:
        return tuple(inputs[0])

    def by_groups(self, x: Tensor, row: Callable[[int, Tensor], Tensor]) -> Tensor:
        """What `row(group, part of x)` gives for every group, for definitions."""
        if self.groups == 1:
            return row(0, x)
        return torch.cat([row(g, part) for g, part in enumerate(x.chunk(self.groups, 1))], 1)

    def fit(self, act: Callable[[Tensor], Tensor], derivative: float = 0.0) -> Self:
        """Bring the function as near to another as it gets for normal numbers, in all groups alike.

        Formula: minimal `E (F(z) − act(z))² + derivative · E (F'(z) − act'(z))²`, z ~ N(0, 1), the means by Gauss–Hermite
        quadrature with 100 nodes.

        Args:
            act: a function of tensors, such as torch.tanh.   derivative: how much slopes count, at least 0. Default 0.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: a weight below zero, a function that is not finite at the nodes or changes shapes.
        """
        who = f"{type(self).__name__}.fit"
        if isinstance(derivative, bool) or not isinstance(derivative, (int, float)) or not 0 <= derivative < np.inf:
            raise ArgumentError.of(who, "derivative of at least 0", repr(derivative), "leave it out for 0")
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        with torch.enable_grad():
            x = torch.from_numpy(nodes).requires_grad_()
            y = act(x)
            fits = isinstance(y, Tensor) and y.shape == x.shape
            slope = (
                torch.autograd.grad(y.sum(), x)[0] if fits and y.requires_grad and derivative else torch.zeros(NODES)
            )
        if not fits or not y.isfinite().all() or not slope.isfinite().all():
            raise ArgumentError.of(
                who, "a function with finite values of the same shape", repr(act), "pass torch.tanh, say"
            )
        weights = weights / weights.sum()
        share = np.sqrt(np.concatenate((weights, derivative * weights)))
        wanted = np.concatenate((y.detach().double().numpy(), slope.double().numpy()))
        self._fit(nodes, share, wanted)
        return self

    def _fit(self, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> None:
        """Take coefficients that minimise ‖share · (values and slopes at the nodes − wanted)‖."""
        raise ArgumentError.of(type(self).__name__, "_fit()", "none", "write the fit")

    @torch.no_grad()
    def _take(self, parameter: nn.Parameter, values: np.ndarray) -> None:
        """The same values for all groups."""
        parameter.copy_(torch.from_numpy(values).to(parameter).expand_as(parameter))

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield Example({}, ((2, 3, 4),))
        yield Example({"degree": 1}, ((3, 2),))
        yield Example({"degree": 5, "groups": 2}, ((2, 4, 2, 3),))


def least_squares(columns: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The shortest coefficients of the columns with the least weighted squares."""
    return np.linalg.lstsq(columns * share[:, None], share * wanted, rcond=1e-12)[0]
