"""Choosing: a pure function of problem, policy, machine and the kernels that are compiled; no values, no clock."""

import math
from dataclasses import replace
from functools import lru_cache

from faltung import methods
from faltung.errors import MemoryBudgetError, RefusedError
from faltung.kernels import native
from faltung.methods import Method
from faltung.methods.method import ROUNDOFF, turning
from faltung.planner import wisdom
from faltung.planner.machine import Machine, this_machine
from faltung.planner.plan import Candidate, Plan
from faltung.planner.policy import DEFAULT, Policy
from faltung.planner.table import bytes_
from faltung.problem import ITEMSIZE, Problem

# A structured method must promise this much before a filter's values are looked at.
WORTH_LOOKING = 0.8


def plan_problem(problem: Problem, policy: Policy = DEFAULT) -> Plan:
    """The plan for a problem under a policy; the same object for the same question.

    Raises:
        RefusedError: no method is left, with the sentence of each.   MemoryBudgetError: none within the memory budget.
    """
    return planned_on(problem, policy, this_machine())


@lru_cache(maxsize=8192)
def planned_on(problem: Problem, policy: Policy, on: Machine) -> Plan:
    """As `plan_problem`, for a machine that need not be this one."""
    for name in (*policy.only, *policy.without):
        methods.named(name)
    on = replace(on, threads=min(policy.threads or on.threads, on.threads), team=problem.host == "torch")
    tolerance = policy.tolerance or 4096 * ROUNDOFF.get(problem.compute_dtype, 0.0)
    budget = policy.memory or on.memory // 2
    if (need := _operands(problem)) > 1 << 60:
        raise MemoryBudgetError.of(
            "plan", f"arrays within {bytes_(budget)}", f"{bytes_(need)} for {problem.text}", "correct the shapes"
        )
    candidates = tuple(_weigh(method, problem, policy, on, tolerance, budget) for method in methods.ALL)
    fit = [c for c in candidates if c.refusal is None]

    def total(c: Candidate) -> float:
        return c.cost + c.compile / policy.calls

    general = sorted((c for c in fit if not c.method.structured), key=total)
    known = wisdom.best(problem, on)
    chosen = next((c for c in general if c.method.name == known), general[0] if general else None)
    limit = total(chosen) * WORTH_LOOKING if chosen else float("inf")
    structured = []
    for c in sorted((c for c in fit if c.method.structured and total(c) < limit), key=total):
        each = sum(p.cost for p in c.parts) or c.cost
        rank = int((limit - c.cost + each) / each) if chosen else 64
        structured.append(replace(c, budget=max(1, min(rank, 64))))
    if chosen is None and not structured:
        raise _nothing_fits(problem, policy, candidates, budget)
    order = {c.method.name: c for c in structured}
    return Plan(
        problem,
        policy,
        on,
        tolerance,
        tuple(order.get(c.method.name, c) for c in candidates),
        chosen,
        tuple(structured),
        plan_problem,
    )


def _weigh(method: Method, problem: Problem, policy: Policy, on: Machine, tolerance: float, budget: int) -> Candidate:
    """One method's standing: its own refusal first, then the policy's."""
    refusal = method.refusal(problem)
    if refusal is None and problem.empty and method is not methods.DEFINITION:
        refusal = "has nothing to compute, an axis is empty"
    wraps = bool(policy.only) and method.delegates and method.name not in policy.only
    if refusal is None or (policy.only and method.name not in policy.only and not wraps):
        if method.name in policy.without:
            refusal = "the policy forbids it"
        elif policy.only and method.name not in policy.only and not wraps:
            refusal = f"the policy allows only {', '.join(policy.only)}"
        elif method.by_name and method.name not in policy.only:
            refusal = "is chosen only by name"
    if refusal is not None:
        return Candidate(method, refusal)
    try:
        # A policy that names methods means the one that does the arithmetic: an adjoint hands the wish on to its part.
        only = policy.only if wraps else method.part_methods
        inner = replace(policy, only=only, tolerance=tolerance or None, memory=budget, verify=False)
        parts = tuple(planned_on(part, inner, on) for part in method.parts(problem))
    except RefusedError as error:
        return Candidate(method, f"a part of it cannot be planned ({error})")
    cost = method.cost(problem, on) + (sum(p.cost for p in parts) if parts else crossing(method, problem, on))
    bound = method.error(problem) + sum(p.error for p in parts)
    scratch = method.scratch(problem, on) + _copies(problem) + sum(p.scratch for p in parts)
    if not problem.over.exact and not problem.over.ordered and bound > tolerance:
        return Candidate(
            method, f"its error bound {bound:.1e} is above the tolerance {tolerance:.1e}", cost, bound, scratch, parts
        )
    if scratch > budget or scratch + _result(problem) > on.memory:
        need, have = f"{bytes_(scratch)} beside operands and result", f"the memory budget is {bytes_(budget)}"
        if scratch <= budget:
            need, have = (
                f"{bytes_(scratch + _result(problem))} for scratch and result",
                f"{have} of {bytes_(on.memory)}",
            )
        return Candidate(method, f"needs {need}, {have}", cost, bound, scratch, parts)
    missing = [key for key in method.kernels(problem, on) if not native.ready(*key)]
    first = sum(on.seconds(f"compile.{key[0].partition('-')[0]}") for key in missing)
    return Candidate(method, None, cost, bound, scratch, parts, compile=first + sum(p.first for p in parts))


def crossing(method: Method, problem: Problem, on: Machine) -> float:
    """Seconds in which the result crosses memory, once more where it is looked through for what is not finite.

    Where the method wants channels elsewhere than they come, signal and result are turned.
    """
    memory = "gpu.byte" if problem.device.startswith("cuda") else "copy"
    seconds = (1 + method.spreads) * _result(problem) * on.seconds(memory)
    if method.innermost is not None and method.innermost != problem.channels_last and problem.unknown == "out":
        seconds += turning(problem, on)
    return seconds


def _result(problem: Problem) -> int:
    return ITEMSIZE[problem.result_dtype] * math.prod(problem.result_shape)


def _operands(problem: Problem) -> int:
    return sum(16 * math.prod(shape) for shape in (problem.x_shape, problem.k_shape, problem.out_shape))


def _copies(problem: Problem) -> int:
    """Bytes of operands and result in canonical order and in the dtype of the arithmetic, where these are not the caller's."""
    total, layout = 0, problem.layout
    for axes, roles, shape, dtype in (
        (layout.x, "BNC", problem.x_shape, problem.x_dtype),
        (layout.k, "BOC", problem.k_shape, problem.k_dtype),
        (layout.y, "BNO", problem.out_shape, problem.out_dtype),
    ):
        # Canonical axes that are the caller's, or of size 1, are a view of any array.
        view = layout.order(axes, roles, len(shape)) is None and all(len(layout.roles[role]) < 2 for role in roles)
        if dtype != problem.compute_dtype or not view:
            total += 2 * ITEMSIZE[problem.compute_dtype] * math.prod(shape)
    return total + 4096


def _nothing_fits(problem: Problem, policy: Policy, candidates: tuple[Candidate, ...], budget: int) -> RefusedError:
    asked = [c for c in candidates if not policy.only or c.method.name in policy.only]
    said = "; ".join(f"{c.method.name}: {c.refusal}" for c in asked)
    if any("memory budget" in (c.refusal or "") for c in asked):
        return MemoryBudgetError.of(
            "plan",
            f"a method within {bytes_(budget)}",
            said,
            "raise Policy(memory=...), work on tiles of the signal, or use a smaller dtype",
        )
    return RefusedError.of(
        "plan", f"a method for {problem.text}", said, "change Policy(only=, without=, tolerance=) or the problem"
    )
