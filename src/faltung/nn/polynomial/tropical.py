"""TropicalActivation: a polynomial of max-plus, or the difference of two."""

import math
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faltung.nn.base import Example, shown
from faltung.nn.polynomial.activation import Activation, least_squares

STEPS = 100
"""Rounds of the fit at most; each halves its step until the error falls, and no step left ends it."""


class TropicalActivation(Activation):
    """A learnt polynomial over max-plus of each number: a convex function of straight pieces; rational: a difference of two.

    Formula: `F(x) = (√2 / n) max over k = 0 .. n of (k x + a_k)`; at first a_k = 1, and F = √2 (ReLU(x) + 1/n). Rational:
    `F(x) = max over k of (p_k x + a_k) − max over k of (q_k x + b_k)`, all four drawn from N(0, 1). Coefficients multiply by
    max-plus convolution: `max_k (k x + a_k) + max_k (k x + b_k) = max_k (k x + (a ∗ b)_k)`.

    Shapes: input (batch, channels, *n), or any shape where groups = 1, returns the same; intercept a (groups, n + 1); where
    rational also slope p, lower_slope q, lower_intercept b, of the same shape.

    Args:
        degree: n, at least 1; there are at most n + 1 pieces, rational 2n + 1. Default 6.   rational: see above. Default False.
        groups: of channels, each with coefficients of its own. Default 1.   device, dtype: of the parameters. Default: torch's.

    Raises:
        ArgumentError: settings that name no layer, channels that groups do not divide.   DtypeError: complex inputs.

    Error: grows like a straight line, whatever the degree. At ties the derivative is a mean of those of the pieces.
    Cost: n multiply-adds and maxima a number, rational twice that. `fit` is a linear system for the pieces as they lie, repeated
    until no step makes it better: a local optimum. Not rational, its slopes lie between 0 and √2 and it is convex.

    Example:
        >>> TropicalActivation(degree=2)(torch.tensor([-1.0, 3.0])) / math.sqrt(2)
        tensor([0.5000, 3.5000], grad_fn=<DivBackward0>)
    """

    name = "tropical-activation"
    summary = "a learnt maximum of straight lines of each number, or the difference of two"
    source = "Khalfaoui-Hassani and Kesselheim, Polynomial, trigonometric, and tropical activations (2025)"
    cost = "degree, rational 2 · degree, and as many comparisons"
    portrait = shown("graph", (121,), rational=True)

    def __init__(
        self, degree: int = 6, rational: bool = False, groups: int = 1, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self._settle(degree, groups)
        self.rational = bool(rational)
        for name in ("intercept", "slope", "lower_intercept", "lower_slope")[: 4 if rational else 1]:
            made = nn.Parameter(torch.empty(self.groups, self.degree + 1, device=device, dtype=dtype))
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Ones, or normal numbers where rational."""
        for parameter in self.parameters():
            nn.init.normal_(parameter) if self.rational else nn.init.ones_(parameter)

    def evaluate(self, x: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        lines = range(self.degree + 1)
        if not self.rational:
            first = at(self.intercept[:, 0]).expand_as(x)  # not 0 · x, which is NaN for infinite x
            rest = (k * x + at(self.intercept[:, k]) for k in lines[1:])
            return math.sqrt(2) / self.degree * _largest(chain((first,), rest))
        upper = _largest(at(self.slope[:, k]) * x + at(self.intercept[:, k]) for k in lines)
        return upper - _largest(at(self.lower_slope[:, k]) * x + at(self.lower_intercept[:, k]) for k in lines)

    def definition(self, *inputs: Any) -> Tensor:
        """All lines at once, and the largest."""

        def row(group: int, x: Tensor) -> Tensor:
            x = x.unsqueeze(-1)
            if not self.rational:
                lines = x * torch.arange(self.degree + 1) + self.intercept[group]
                return lines.amax(-1) * math.sqrt(2) / self.degree
            lower = x * self.lower_slope[group] + self.lower_intercept[group]
            return (x * self.slope[group] + self.intercept[group]).amax(-1) - lower.amax(-1)

        return self.by_groups(inputs[0], row)

    def parameter_count(self) -> int:
        return self.groups * (self.degree + 1) * (4 if self.rational else 1)

    def _fit(self, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray) -> None:
        if self.rational:
            slopes, start, free = np.ones(2), self._from_knots(nodes, wanted), True
        else:
            slopes, free = np.arange(self.degree + 1) * math.sqrt(2) / self.degree, False
            start = (wanted[: len(nodes), None] - nodes[:, None] * slopes).min(
                0
            )  # Legendre: lines that touch from below
        found = _descended(start, nodes, share, wanted, slopes, free)
        if not free:
            self._take(self.intercept, found * self.degree / math.sqrt(2))
            return
        p, a, q, b = found.reshape(4, -1)
        for parameter, values in (
            (self.slope, p), (self.intercept, a), (self.lower_slope, q), (self.lower_intercept, b)
        ):  # fmt: skip
            self._take(parameter, values)

    def _from_knots(self, nodes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Lines (p, a, q, b) whose difference meets the function at as many knots in ±3 as the degree allows."""
        for inner in range(2 * self.degree, 0, -1):
            knots = np.linspace(-3, 3, inner + 2)
            values = np.interp(knots, nodes, wanted[: len(nodes)])
            slopes = np.diff(values) / np.diff(knots)
            turns = np.diff(slopes)
            if max((turns > 0).sum(), (turns < 0).sum()) <= self.degree:
                break
        upper, lower = [(slopes[0], values[0] - slopes[0] * knots[0])], [(0.0, 0.0)]
        for knot, turn in zip(knots[1:-1], turns, strict=True):
            lines = upper if turn > 0 else lower
            if turn:
                lines.append((lines[-1][0] + abs(turn), lines[-1][1] - abs(turn) * knot))
        for lines in (upper, lower):  # lines to spare lie below, where they change nothing
            lines += [(lines[0][0], lines[0][1] - 1 - n) for n in range(self.degree + 1 - len(lines))]
        return np.concatenate((np.array(upper).T, np.array(lower).T)).ravel()

    @classmethod
    def examples(cls) -> Iterable[Example]:
        yield from super().examples()
        yield Example({"degree": 2, "rational": True}, ((2, 3, 4),))
        yield Example({"degree": 1, "rational": True, "groups": 3}, ((2, 3, 2, 2),))


def _largest(lines: Iterable[Tensor]) -> Tensor:
    """The maximum of lines that come one by one."""
    return reduce(torch.maximum, lines)


def _columns(found: np.ndarray, nodes: np.ndarray, slopes: np.ndarray, free: bool) -> tuple[np.ndarray, np.ndarray]:
    """(matrix, constant): values and slopes at the nodes, linear in the coefficients while the same lines are on top."""
    rows = np.arange(len(nodes))
    if not free:
        top = (nodes[:, None] * slopes + found).argmax(1)
        matrix = np.zeros((2 * len(nodes), len(found)))
        matrix[rows, top] = 1
        return matrix, np.concatenate((nodes * slopes[top], slopes[top]))
    p, a, q, b = found.reshape(4, -1)
    matrix = np.zeros((2 * len(nodes), 4, len(p)))
    for first, sign, top in (
        (0, 1.0, (nodes[:, None] * p + a).argmax(1)), (2, -1.0, (nodes[:, None] * q + b).argmax(1))
    ):  # fmt: skip
        matrix[rows, first, top] = sign * nodes
        matrix[rows, first + 1, top] = sign
        matrix[len(nodes) + rows, first, top] = sign
    return matrix.reshape(2 * len(nodes), -1), np.zeros(2 * len(nodes))


def _descended(
    start: np.ndarray, nodes: np.ndarray, share: np.ndarray, wanted: np.ndarray, slopes: np.ndarray, free: bool
) -> np.ndarray:
    """Coefficients after steps to the least squares of the present pieces, each as long as the error falls."""

    def error(found: np.ndarray) -> float:
        matrix, constant = _columns(found, nodes, slopes, free)
        return float(np.square(share * (matrix @ found + constant - wanted)).sum())

    found, best = start, error(start)
    for _ in range(STEPS):
        matrix, constant = _columns(found, nodes, slopes, free)
        step = least_squares(matrix, share, wanted - constant - matrix @ found)
        for halvings in range(20):
            tried = found + step / 2**halvings
            came = error(tried)
            if came < best * (1 - 1e-9):
                found, best = tried, came
                break
        else:
            return found
    return found
