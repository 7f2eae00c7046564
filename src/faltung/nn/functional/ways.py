"""Which of several ways to compute the same thing is the fastest: the planner expects so many seconds of each one's calls."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from faltung.errors import RefusedError
from faltung.nn.functional.convolution import texts
from faltung.planner import Policy, plan_problem
from faltung.planner.policy import DEFAULT
from faltung.problem import Problem


class Call(NamedTuple):
    """One call of `conv`, or of `conv_transpose`, as the planner sees it: shapes and settings, no values.

    Args:
        input, weight: shapes with the batch.   options: stride, padding, dilation, groups, padding_mode, and for the transpose
            output_padding and output_size behind them.   dtype: by its name.
    """

    input: tuple[int, ...]
    weight: tuple[int, ...]
    options: tuple[Any, ...]
    dtype: str
    device: str = "cpu"
    transposed: bool = False


def fastest(ways: tuple[tuple[Call, ...], ...], policy: Policy | None = None) -> int:
    """The index of the way whose calls take the least time together by the planner's rates; the first where there is no telling.

    No clock is read: the same shapes give the same answer. Off the CPU, where the planner has no rates, it is always the first.
    """
    return _fastest(ways, policy)


# torch.compile takes the answer as a constant of the graph: what torch.compiler.assume_constant_result sets.
fastest._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=4096)
def _fastest(ways: tuple[tuple[Call, ...], ...], policy: Policy | None) -> int:
    calls = [call for way in ways for call in way]
    if any(call.device != "cpu" or 0 in call.input for call in calls):
        return 0
    seconds = [sum(_seconds(call, policy) for call in way) for way in ways]
    return seconds.index(min(seconds))


def _seconds(call: Call, policy: Policy | None) -> float:
    """What the planner expects of one call; without end where the policy allows nothing that could do it."""
    known = ((call.input, call.dtype, call.device), (call.weight, call.dtype, call.device), None)
    problem, limits = texts(call.transposed, known, call.options, False, policy)
    try:
        return plan_problem(Problem.parse(problem), Policy.parse(limits) if limits else DEFAULT).cost
    except RefusedError:
        return math.inf
