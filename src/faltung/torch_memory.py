"""Tensors in memory: which layout a problem is stated for, and its computation from tensors as they lie.

A tensor in `torch.channels_last` is an ordinary one whose axes are named in another order, so the same problem is stated with the
channels behind the positions, and no method needs to know where the arrays came from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from faltung.methods.onednn import ONEDNN
from faltung.planner import Policy, plan_problem
from faltung.planner.policy import DEFAULT
from faltung.problem import Problem


@dataclass(frozen=True)
class Last:
    """A problem stated for memory with channels innermost, the orders that bring signal and result there, and the way back."""

    problem: Problem
    x: tuple[int, ...]
    y: tuple[int, ...]
    back: tuple[int, ...]


def innermost(problem: str, x: Tensor | None, y: Tensor | None) -> Last | None:
    """The problem for channels innermost where the tensors lie so (torch.channels_last); None where they do not."""
    signal = y if x is None else x
    if signal is None or signal.is_contiguous():
        return None
    last = stated_last(problem)
    return last if signal.permute(last.y if x is None else last.x).is_contiguous() else None


@lru_cache(maxsize=4096)
def stated_last(text: str) -> Last:
    """The same problem for tensors with channels innermost (torch.channels_last), batch axes in front."""
    problem = Problem.parse(text)
    layout = problem.layout

    def moved(axes: tuple[str, ...], ndim: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
        batch = tuple(a for a in axes if a in layout.roles["N"])
        names = (*batch, layout.star, *(a for a in axes if a not in batch and a != layout.star))
        return names, layout.places(axes, names, ndim)

    (x, to_x), (y, to_y) = moved(layout.x, len(problem.x_shape)), moved(layout.y, len(problem.out_shape))
    stated = replace(
        problem,
        pattern=f"{' '.join(x)}, {' '.join(layout.k)} -> {' '.join(y)}",
        x_shape=tuple(problem.x_shape[a] for a in to_x),
    )
    to = {"out": to_y, "x": to_x, "k": ()}[problem.unknown]
    return Last(stated, to_x, to_y, tuple(to.index(a) for a in range(len(to))))


@lru_cache(maxsize=256)
def _policy(text: str) -> Policy:
    return Policy.parse(text) if text else DEFAULT


def compute(x: Tensor | None, k: Tensor | None, y: Tensor | None, problem: str, policy: str) -> Tensor:
    """The unknown; ArgumentError or DtypeError where a tensor is missing or is not what the problem says."""
    last = innermost(problem, x, y)
    if last is None:
        return plan_problem(Problem.parse(problem), _policy(policy))(x, k, y)
    return _turned(plan_problem(last.problem, _policy(policy)), last, x, k, y)


def compute_fitting(x: Tensor | None, k: Tensor | None, y: Tensor | None, problem: str, policy: str) -> Tensor:
    """The unknown from tensors that are what the problem says."""
    signal = y if x is None else x
    return _way(problem, policy, x is not None, () if signal is None else signal.stride())(x, k, y)


@lru_cache(maxsize=8192)
def _way(problem: str, policy: str, known: bool, steps: tuple[int, ...]) -> Callable[..., Tensor]:
    """From operands to the result, for signals (results, where the signal is not known) with these steps in memory."""
    stated = Problem.parse(problem)
    signal = torch.empty_strided(stated.x_shape if known else stated.out_shape, steps, device="meta")
    last = innermost(problem, signal if known else None, signal)
    plan = plan_problem(stated if last is None else last.problem, _policy(policy))
    if plan.quick is not None and plan.ways[0].method is ONEDNN and (last is not None or signal.is_contiguous()):
        straight = ONEDNN.on_tensors(stated)  # every view on the way takes a tenth of what a small layer does
        if straight is not None:
            return straight
    return plan.compute if last is None else partial(_turned, plan.compute, last)


def _turned(compute: Callable[..., Tensor], last: Last, x: Tensor | None, k: Tensor | None, y: Tensor | None) -> Tensor:
    """By a plan for memory with channels innermost."""
    x = x if x is None else x.permute(last.x)
    y = y if y is None else y.permute(last.y)
    result = compute(x, k, y)
    return result.permute(last.back) if last.back else result


def shaped(x: Tensor | None, k: Tensor | None, y: Tensor | None, problem: str, policy: str) -> Tensor:
    """The result without values, in the same memory layout: for fake tensors while tracing, and for meta tensors."""
    last = innermost(problem, x, y)
    stated = Problem.parse(problem) if last is None else last.problem
    known = next(a for a in (x, k, y) if a is not None)
    result = known.new_empty(stated.result_shape, dtype=getattr(torch, stated.result_dtype))
    return result.permute(last.back) if last is not None and last.back else result
