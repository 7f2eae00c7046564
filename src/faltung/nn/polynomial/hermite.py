"""HermiteActivation: a learnt polynomial in the basis that is orthogonal for normal numbers."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.nn.base import shown
from faltung.nn.polynomial.activation import Activation, least_squares


class HermiteActivation(Activation):
    """A learnt polynomial of each number, in Hermite's basis.

    Formula: `F(x) = Σ over k = 0 .. n of c_k He_k(x) / k!`, He the probabilists' polynomials, evaluated by Clenshaw's recurrence.
    At first c_0 = √(1 − 1/n!) / √e and c_k = 1/√e, so that for z ~ N(0, 1) `E F(z)² = E F'(z)² = (1/e) Σ over k < n of 1/k!`.

    Shapes: input (batch, channels, *n), or any shape where groups = 1, returns the same; coefficient c (groups, n + 1).

    Args:
        degree: n, at least 1. Default 3.   groups: of channels, each with coefficients of its own. Default 1.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, channels that groups do not divide.   DtypeError: complex inputs.

    Error: made for inputs of mean 0 and variance 1; beyond a few standard deviations a polynomial explodes, normalise before it.
    Cost: n multiply-adds and n additions a number; nothing with an axis of its own for the basis is stored.

    Example:
        >>> HermiteActivation(degree=2).fit(lambda x: x**2)(torch.tensor([3.0])).item()
        9.0
    """

    name = "hermite-activation"
    summary = "a learnt polynomial of each number, in Hermite's basis"
    source = "Khalfaoui-Hassani and Kesselheim, Polynomial, trigonometric, and tropical activations (2025)"
    cost = "2 · degree"
    portrait = shown("graph", (121,))

    def __init__(self, degree: int = 3, groups: int = 1, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self._settle(degree, groups)
        self.coefficient = nn.Parameter(torch.empty(self.groups, self.degree + 1, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The values under which variance is kept forwards and backwards."""
        nn.init.constant_(self.coefficient, math.exp(-0.5))
        with torch.no_grad():
            self.coefficient[:, 0] *= math.sqrt(1 - 1 / math.factorial(self.degree))

    def evaluate(self, x: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        # With φ_k = He_k / k!: φ_(k+1) = (x φ_k − φ_(k−1)) / (k + 1), and Clenshaw's sums from behind.
        above: Any = 0.0
        value = at(self.coefficient[:, self.degree]).expand_as(x)
        for k in range(self.degree - 1, -1, -1):
            value, above = at(self.coefficient[:, k]) + x * value / (k + 1) - above / (k + 2), value
        return value

    def definition(self, *inputs: Any) -> Tensor:
        """The explicit sum, each polynomial by its powers."""

        def row(group: int, x: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for k in range(self.degree + 1):
                powers = np.polynomial.hermite_e.herme2poly([0.0] * k + [1.0]) / math.factorial(k)
                total = total + self.coefficient[group, k] * sum(p * x**j for j, p in enumerate(powers))
            return total

        return self.by_groups(inputs[0], row)

    def parameter_count(self) -> int:
        return self.groups * (self.degree + 1)

    def _fit(self, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> None:
        basis = np.polynomial.hermite_e.hermevander(nodes, self.degree)
        basis /= np.array([float(math.factorial(k)) for k in range(self.degree + 1)])
        slopes = np.pad(basis[:, :-1], ((0, 0), (1, 0)))  # the derivative of He_k / k! is He_(k−1) / (k−1)!
        self._take(self.coefficient, least_squares(np.concatenate((basis, slopes)), share, wanted))
