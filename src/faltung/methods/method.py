"""What a method is: one way to compute one kind of problem, and everything the planner must know about it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from faltung.domains import Index
from faltung.problem import Problem

ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
ROUNDOFF |= {"complex64": 2.0**-24, "complex128": 2.0**-53}


class Machine(Protocol):
    """What a cost needs of the machine profile: seconds for one unit of work of a named kind, threads and cache."""

    @property
    def threads(self) -> int: ...

    @property
    def cache(self) -> int: ...

    @property
    def origin(self) -> str: ...

    def seconds(self, kind: str, dtype: str = "") -> float: ...


class Method(ABC):
    """One algorithm, whole: when it applies, what it costs, how accurate it is, how it prepares and runs.

    Methods see canonical arrays only: x (B, N, C, *n), k (B, O, C, *t) in correlation order, y (B, N, O, *m), all in the dtype
    of the arithmetic. They never change them.

    Class fields:
        name, summary, source: for people.   spreads: one NaN or infinity may reach the whole result.
        structured: applies only to filters of a certain kind, which `prepare` finds out from the values: it then returns None
        for the others, and the plan goes on with the next method.   by_name: chosen only when the policy names it.
        delegates: leaves the arithmetic to its parts, so a policy that names methods means those.   on_torch: works on tensors.
        silent: does no arithmetic in NumPy, which would warn of NaN and overflow.   innermost: reads and returns arrays whose
        channels are innermost in memory, None where it takes either.   arithmetics: the kinds of values that it computes with,
        see `Algebra.arithmetic`.   places: `grid`, `index` (finite sets of indices).   part_methods: the only methods that may
        solve its parts, all where empty.
    """

    name = ""
    summary = ""
    source = ""
    spreads = False
    structured = False
    by_name = False
    silent = False
    delegates = False
    on_torch = False
    innermost: bool | None = False
    arithmetics: tuple[str, ...] = ("machine",)
    places: tuple[str, ...] = ("grid",)
    part_methods: tuple[str, ...] = ()

    def refusal(self, problem: Problem) -> str | None:
        """Why the method does not serve the problem: its place and kind of values first, then what `refuses` says."""
        place = "index" if isinstance(problem.grid, Index) else "grid"
        if place not in self.places:
            return (
                f"works on {'grids' if self.places == ('grid',) else 'finite sets of indices'}, not on {problem.domain}"
            )
        over = problem.over
        if over.arithmetic not in self.arithmetics:
            kinds = {"machine": "the machine's own + and ×", "residues": "residues", "objects": "Python's numbers"}
            kinds["own"] = "functions of its own"
            served = " and ".join(kinds[kind] for kind in self.arithmetics)
            return f"computes with {served}, {over.name} has {kinds[over.arithmetic]}"
        return self.refuses(problem)

    @abstractmethod
    def refuses(self, problem: Problem) -> str | None:
        """None if the method computes this problem within `error`; otherwise one sentence that says why not."""

    @abstractmethod
    def cost(self, problem: Problem, machine: Machine) -> float:
        """Predicted seconds of one call, the filter's preparation included."""

    @abstractmethod
    def error(self, problem: Problem) -> float:
        """Bound on max|y − ŷ| relative to max|x| · ‖k‖₁, before the result is rounded to its own type.

        On finite sets of indices relative to the largest value of the sum: there several u may take one v to the same w.
        """

    @abstractmethod
    def scratch(self, problem: Problem, machine: Machine) -> int:
        """Bytes of working memory at most, beside operands and result."""

    def parts(self, problem: Problem) -> tuple[Problem, ...]:
        """Smaller problems that this method asks the planner for."""
        return ()

    def kernels(self, problem: Problem, machine: Machine) -> tuple[tuple, ...]:
        """Compiled kernels that take long to make, as `native.load` takes them: a plan weighs their compilation."""
        return ()

    def threads(self, problem: Problem, machine: Machine) -> int:
        """Threads worth waking: one where the work takes no longer than handing a part of it over."""
        return machine.threads

    def reads(self, problem: Problem) -> str:
        """The dtype in which it takes operands; half precision only from a method that sums wider."""
        return problem.compute_dtype

    def prepare(self, problem: Problem, k: np.ndarray, context: "Context") -> Any:
        """The work that depends on the filter only. A structured method returns None where the filter is not of its kind."""
        return k

    def quick(self, problem: Problem) -> Any:
        """For calls so small that the way to the kernel takes the time: a function of x and k as they come, or None.

        Asked only where operands and result have the dtype that the method reads: NumPy arrays with no axis to move, or tensors
        for methods that work on these.
        """
        return None

    @abstractmethod
    def run(
        self, problem: Problem, operands: Mapping[str, np.ndarray], prepared: Any, context: "Context"
    ) -> np.ndarray:
        """Compute the unknown from canonical operands (`x` and `y`; the filter comes prepared)."""


@dataclass(frozen=True)
class Context:
    """What a running method may use: the policy's limits, the machine, its parts as plans and how often they may run.

    `passing`: the filter is prepared for one call only, so that memory kept for it may be used again by the next.
    """

    threads: int
    machine: Machine
    tolerance: float
    deterministic: bool = True
    parts: tuple[Any, ...] = ()
    budget: int = 1
    passing: bool = False


def summation_error(problem: Problem, roundoff: float | None = None) -> float:
    """Error of a sum of `depth` products taken one after the other: min(n, 6·√n) + 1 unit roundoffs.

    The linear term is the worst case; the square root is the probabilistic bound at six standard deviations.

    Source: Higham and Mary, A new approach to probabilistic rounding error analysis (2019).
    """
    if problem.over.exact:
        return 0.0
    u = ROUNDOFF[problem.compute_dtype] if roundoff is None else roundoff
    if problem.over.ordered:
        return u
    width = 4.0 if problem.compute_dtype.startswith("complex") else 1.0
    return (min(problem.depth, 6.0 * problem.depth**0.5) + 1.0) * width * u


def padded_bytes(problem: Problem) -> int:
    """Memory that a contiguous, padded copy of the signal takes at most while it is made."""
    s, g = problem.sizes, problem.grid
    lead = s.B * s.N * s.C
    return max(g.pad_bytes(lead, np.dtype(problem.compute_dtype).itemsize), bytes_of(problem, lead * math.prod(g.n)))


def turning(problem: Problem, machine: Machine) -> float:
    """Seconds for moving the channels of signal and result elsewhere; the result's copy is new memory."""
    s, g = problem.sizes, problem.grid
    values = s.C * math.prod(g.n) * (s.C * s.B > 1) + 2.5 * s.O * math.prod(g.m) * (s.O * s.B > 1)
    return s.B * s.N * values * machine.seconds("turn", problem.compute_dtype) / machine.threads


def bytes_of(problem: Problem, elements: float) -> int:
    """Memory of that many values in the dtype of the arithmetic."""
    return int(elements * np.dtype(problem.compute_dtype).itemsize)
