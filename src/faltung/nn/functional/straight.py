"""Layers that torch's own convolution computes fastest, called with nothing in between, in training with torch's derivatives.

A small layer takes torch ten microseconds and as many for each derivative. Where the planner would call the vendor's library
anyway, in the tensor's own memory layout, what stands around that call is all that can be saved.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from faltung.methods.onednn import ONEDNN, conv_of
from faltung.planner import Plan, Policy, plan_problem
from faltung.planner.policy import DEFAULT
from faltung.problem import Problem
from faltung.torch_memory import stated_last


def straight(
    problem: str, limits: str, input: tuple[Sequence[int], tuple[int, ...]], weight: tuple[Sequence[int], tuple[int, ...]],
    trained: bool,
) -> Callable[..., Tensor] | None:  # fmt: skip
    """torch's function of input, weight and bias where it is what the planner chooses; None elsewhere.

    Args:
        problem, limits: texts of problem and policy.   input, weight: shapes and steps in memory.
        trained: whether both gradients will be asked for. Then it is all three or none, by what they take together.

    Error: that of the method `onednn`.
    """
    stated = Problem.parse(problem)
    if stated.unknown != "out" or "bfloat16" in (stated.x_dtype, stated.out_dtype) or stated.empty:
        return None
    x, k = (torch.empty_strided(shape, steps, device="meta") for shape, steps in (input, weight))
    last = not x.is_contiguous()
    if last and (x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last)):
        return None
    if not k.is_contiguous() and not (last and k.is_contiguous(memory_format=torch.channels_last)):
        return None
    policy = Policy.parse(limits) if limits else DEFAULT
    first, *others = (_plan(stated, unknown, last, policy) for unknown in (("out", "x", "k") if trained else ("out",)))
    if policy.verify or _seconds(first) == math.inf or ONEDNN.reads(first.problem) != stated.x_dtype:
        return None
    if ONEDNN.quick(first.problem) is None:
        return None
    handing = first.machine.seconds("call.onednn")
    # Any other way of a layer leads through views and the gate, which take about as long as one more call of torch.
    ours = sum(plan.cost + handing for plan in (first, *others))
    # Apart from this way, operands of gradients are merged and turned.
    theirs = [_seconds(plan) - (ONEDNN.calls(plan.problem) - 1) * handing for plan in (first, *others)]
    if sum(theirs) > ours:
        return None
    conv, settings = conv_of(first.problem)

    def call(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv(input, weight, bias, *settings)

    return call


def _plan(stated: Problem, unknown: str, last: bool, policy: Policy) -> Plan:
    problem = stated.gradient(unknown) if unknown != "out" else stated
    return plan_problem(stated_last(problem.text).problem if last else problem, policy)


def _seconds(plan: Plan) -> float:
    """What the plan expects of the vendor's library; without end where it may not be called."""
    for candidate in plan.candidates:
        if candidate.method is ONEDNN and candidate.refusal is None:
            return candidate.cost
    return math.inf
