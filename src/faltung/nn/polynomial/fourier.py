"""FourierActivation: a learnt sum of cosines."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.nn.base import shown
from faltung.nn.polynomial.activation import Activation, least_squares

FIRST = 1 / math.sqrt(sum(1 / math.factorial(k) ** 2 for k in range(30)))
"""1 / √I₀(2) = 0.66232641487..."""


class FourierActivation(Activation):
    """A learnt sum of cosines of each number, of learnt frequencies and phases.

    Formula: `F(x) = a_0 + Σ over k = 1 .. n of a_k cos(f_k x − φ_k) / k!`. At first f_k = k, φ_k = π/4, a_k = 1/√I₀(2) and
    a_0 = a_k √(1 − 1/n!²); over a period the mean of F'² is then ½ a_k² Σ over k < n of 1/k!².

    Shapes: input (batch, channels, *n), or any shape where groups = 1, returns the same; amplitude a (groups, n + 1), frequency f
    and phase φ (groups, n).

    Args:
        degree: n, at least 1. Default 4.   groups: of channels, each with coefficients of its own. Default 1.
        device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, channels that groups do not divide.   DtypeError: complex inputs.

    Error: bounded by Σ |a_k| / k! for every input; fits hold for inputs of mean 0 and variance 1, beyond them they go round.
    Cost: n cosines a number. `fit` keeps f_k = k, for which it is one linear system.

    Example:
        >>> bool((FourierActivation().fit(torch.sin)(torch.tensor([0.5])) - math.sin(0.5)).abs() < 1e-6)
        True
    """

    name = "fourier-activation"
    summary = "a learnt sum of cosines of each number"
    source = "Khalfaoui-Hassani and Kesselheim, Polynomial, trigonometric, and tropical activations (2025)"
    cost = "2 · degree, and degree cosines"
    portrait = shown("graph", (121,))

    def __init__(self, degree: int = 4, groups: int = 1, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self._settle(degree, groups)
        factory = {"device": device, "dtype": dtype}
        self.amplitude = nn.Parameter(torch.empty(self.groups, self.degree + 1, **factory))
        self.frequency = nn.Parameter(torch.empty(self.groups, self.degree, **factory))
        self.phase = nn.Parameter(torch.empty(self.groups, self.degree, **factory))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Harmonics of equal amplitude before the division by k!, a quarter of π late."""
        nn.init.constant_(self.amplitude, FIRST)
        nn.init.constant_(self.phase, math.pi / 4)
        with torch.no_grad():
            self.amplitude[:, 0] *= math.sqrt(1 - 1 / math.factorial(self.degree) ** 2)
            self.frequency.copy_(torch.arange(1, self.degree + 1).expand_as(self.frequency))

    def evaluate(self, x: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        value = at(self.amplitude[:, 0]).expand_as(x)
        for k in range(self.degree):
            wave = torch.cos(at(self.frequency[:, k]) * x - at(self.phase[:, k]))
            value = value + at(self.amplitude[:, k + 1]) / math.factorial(k + 1) * wave
        return value

    def definition(self, *inputs: Any) -> Tensor:
        """The sum in exponential form, all terms at once."""

        def row(group: int, x: Tensor) -> Tensor:
            turns = 1j * (self.frequency[group] * x.unsqueeze(-1) - self.phase[group])
            sizes = self.amplitude[group, 1:] / torch.lgamma(torch.arange(2.0, self.degree + 2).double()).exp().to(
                x.dtype
            )
            return self.amplitude[group, 0] + (sizes * torch.exp(turns).real).sum(-1)

        return self.by_groups(inputs[0], row)

    def parameter_count(self) -> int:
        return self.groups * (3 * self.degree + 1)

    def _fit(self, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> None:
        k = np.arange(1, self.degree + 1)
        c, s, one = np.cos(k * nodes[:, None]), np.sin(k * nodes[:, None]), np.ones((len(nodes), 1))
        values, slopes = np.hstack((one, c, s)), np.hstack((0 * one, -k * s, k * c))
        found = least_squares(np.concatenate((values, slopes)), share, wanted)
        of_cos, of_sin = found[1 : self.degree + 1], found[self.degree + 1 :]
        factorials = np.array([float(math.factorial(n)) for n in k])
        self._take(self.frequency, k.astype(float))
        self._take(self.phase, np.arctan2(of_sin, of_cos))
        self._take(self.amplitude, np.concatenate((found[:1], factorials * np.hypot(of_cos, of_sin))))
