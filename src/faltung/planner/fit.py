"""Rates from times: the rates of all kinds of work together that explain best how long ways took.

A cost is linear in every rate while the way stays the same. Sought are rates rⱼ = sⱼ·e^{g + θⱼ}, s what is known of other machines
and g the speed of this one, that make

    Σᵢ ρ((log costᵢ − log timeᵢ) / NOISE) + Σⱼ (θⱼ / wⱼ)²

small: ρ grows slowly where a time does not fit at all (Cauchy's), so that single disturbed times count little, and a rate of
which the times say nothing stays what it is elsewhere. By Gauss and Newton's steps, some dozen rates and hundreds of times.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from faltung.planner.choose import crossing
from faltung.planner.machine import Machine
from faltung.planner.plan import Candidate, Plan

NOISE = 0.3
FREE = 0.8  # w of a rate that is known from other machines only: how far it may lie from theirs, in logarithms
KNOWN = 0.15  # w of a rate that has been measured by itself
STEPS = 12


@dataclass(frozen=True)
class Timed:
    """How long a plan's way took, in seconds."""

    plan: Plan
    seconds: float

    def cost(self, rates: Mapping[str, float]) -> float:
        """What the way would cost at these rates."""
        return _cost(self.plan, self.plan.ways[-1], rates)


def fitted(rates: Mapping[str, float], measured: Mapping[str, float], times: Sequence[Timed]) -> dict[str, float]:
    """All rates of this machine.

    Args:
        rates: those of another machine.   measured: what has been measured by itself.   times: of ways, the more the better.
    """
    start = {**rates, **measured}
    names = [name for name in start if name.partition(".")[0] not in ("gpu", "cudnn", "compile")]
    column, found = {name: j for j, name in enumerate(names)}, dict(start)
    free = np.array([name not in measured for name in names], float)  # they follow g, the last unknown
    theta, weights = np.zeros(len(names) + 1), 1 / np.where(free, FREE, KNOWN) ** 2
    for _ in range(STEPS):
        J, r = np.zeros((len(times), len(names) + 1)), np.zeros(len(times))
        for i, timed in enumerate(times):
            cost, slopes = _slopes(timed, found)
            r[i] = math.log(cost / timed.seconds)
            for name, slope in slopes.items():
                J[i, column[name]] = slope / cost
        J[:, -1] = J[:, :-1] @ free
        w = 1 / (NOISE**2 + r**2)
        A = J.T @ (w[:, None] * J) + np.diag([*weights, 1e-3])
        step = -np.linalg.solve(A, J.T @ (w * r) + np.append(weights, 0.0) * theta)
        theta += step * min(1.0, 1.0 / np.abs(step).max())
        found |= {name: start[name] * math.exp(theta[-1] * free[j] + theta[j]) for name, j in column.items()}
        if np.abs(step).max() < 1e-3:
            break
    return found


def regret(times: Sequence[Sequence[Timed]], rates: Mapping[str, float]) -> float:
    """Geometric mean over problems of how much longer the way that these rates choose took than the fastest one."""
    logs = [
        math.log(min(ways, key=lambda t: t.cost(rates)).seconds / min(t.seconds for t in ways))
        for ways in times
        if len(ways) > 1
    ]
    return math.exp(sum(logs) / max(1, len(logs)))


class _Watched(dict[str, float]):
    """Rates that remember which of them were asked for."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        super().__init__(rates)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        if name in self:
            self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> float:
        self.asked.add(name)
        return super().__getitem__(name)


def _slopes(timed: Timed, rates: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """The cost, and by how much it changes with the logarithm of each rate that it hangs on."""
    watched = _Watched(rates)
    cost = timed.cost(watched)
    slopes = {}
    for name in tuple(watched.asked):
        watched[name] = 1.1 * rates[name]
        more = timed.cost(watched) - cost
        watched[name] = rates[name]
        if more:
            slopes[name] = 10 * more
    return cost, slopes


def _cost(plan: Plan, way: Candidate, rates: Mapping[str, float]) -> float:
    on, problem = replace(cast(Machine, plan.machine), rates=cast(dict[str, float], rates)), plan.problem
    parts = sum(_cost(part, part.ways[-1], rates) for part in way.parts)
    return way.method.cost(problem, on) + (parts if way.parts else crossing(way.method, problem, on))
