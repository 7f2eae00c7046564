"""A plan: the chosen method with its reasons, callable, printable, and able to prepare a filter once."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from faltung import arrays
from faltung.algebras import integer
from faltung.errors import ArgumentError, DtypeError, RefusedError, VerificationError
from faltung.kernels.convert import on_numba as convert
from faltung.kernels.turn.on_numba import contiguous
from faltung.methods import Context, Machine, Method
from faltung.methods.definition import DEFINITION
from faltung.methods.method import ROUNDOFF
from faltung.pattern import PLAIN, permuted
from faltung.planner.finite import finite
from faltung.planner.policy import Policy
from faltung.planner.table import table
from faltung.planner.verify import Verdict, check
from faltung.problem import Problem

OPERANDS = {"out": ("x", "k"), "x": ("k", "y"), "k": ("x", "y")}
WIDE = 8  # channels from which on those that lie innermost are moved for methods that go along rows of the signal
_BACKWARDS = (slice(None, None, -1),)


@dataclass(frozen=True)
class Candidate:
    """One method's standing in a plan: its refusal, or its predicted seconds, error bound and scratch.

    `compile` are seconds that the first call spends on compiling kernels.

    `budget` is how often a structured method's parts may run before the next method is faster (the rank that pays).
    """

    method: Method
    refusal: str | None = None
    cost: float = 0.0
    error: float = 0.0
    scratch: int = 0
    parts: "tuple[Plan, ...]" = ()
    budget: int = 1
    compile: float = 0.0


@dataclass(eq=False)
class Plan:
    """How one problem is solved: `plan(x, k)` computes, `str(plan)` says why, `plan.prepare(k)` does the filter's share once.

    `chosen` serves every filter. `structured` are cheaper methods for filters of a certain kind (low rank, all taps equal); they
    are tried, cheapest first, when a filter is prepared, because only then its values are known.
    """

    problem: Problem
    policy: Policy
    machine: Machine
    tolerance: float
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    structured: tuple[Candidate, ...]
    replan: "Callable[[Problem, Policy], Plan]" = field(repr=False)

    @cached_property
    def ways(self) -> tuple[Candidate, ...]:
        """All that may run, in the order in which they are tried."""
        return (*self.structured, *((self.chosen,) if self.chosen else ()))

    @property
    def method(self) -> str:
        """Name of the method that serves every filter (of the structured one where nothing else is allowed)."""
        return self.ways[-1].method.name

    @property
    def cost(self) -> float:
        """Predicted seconds of one call."""
        return self.ways[-1].cost

    @property
    def first(self) -> float:
        """Seconds that the first call spends on compiling kernels that are not on disk yet."""
        return max(way.compile for way in self.ways)

    @property
    def error(self) -> float:
        """Bound on max|y − ŷ| relative to max|x| · ‖k‖₁, before the result is rounded to its own type."""
        return max(way.error for way in self.ways)

    @property
    def scratch(self) -> int:
        """Bytes of working memory at most, beside operands and result."""
        return max(way.scratch for way in self.ways)

    @property
    def refusals(self) -> dict[str, str]:
        """What every refusing method said."""
        return {c.method.name: c.refusal for c in self.candidates if c.refusal is not None}

    def __str__(self) -> str:
        return table(self)

    # -- computing ----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any = None, k: Any = None, y: Any = None) -> Any:
        """Compute the unknown from the arrays that are known: out from (x, k), x from (k, y), k from (x, y).

        Algebras that are no rings need all three for a gradient.

        Raises:
            ArgumentError: an array is missing or does not have the problem's shape.
            ExactnessError: an integer sum could leave its accumulator.
            RefusedError: only methods that spread NaN or infinity are allowed, and the data hold some.
        """
        given = {"x": x, "k": k, "y": y}
        return self.compute(**{name: self._expect(name, given[name]) for name in self.operands})

    def prepare(self, k: Any) -> "Prepared":
        """Do all work that depends on the filter only; the result is called with signals: `plan.prepare(k)(x)`.

        Raises:
            ArgumentError: the unknown is not `out`, or k does not fit.
            RefusedError: the policy allows structured methods only and the filter is of no such kind.
        """
        if self.problem.unknown != "out":
            raise ArgumentError.of(
                "prepare",
                "a plan whose unknown is the result",
                f"unknown {self.problem.unknown}",
                "call the plan itself",
            )
        k = self._expect("k", k)
        return self._prepare(
            arrays.to_numpy(k, self.problem.compute_dtype).copy() if not arrays.is_torch(k) else k.detach().clone(),
            False,
        )

    def compute(self, x: Any = None, k: Any = None, y: Any = None) -> Any:
        """As a call, for arrays that are known to fit the problem."""
        if self.quick is not None:
            return self.quick(x, k)
        k = k if "k" in self.operands else None
        if self._silent:
            return self._prepare(k).compute(x, y)
        # NaN, infinity and overflow are the data's own affair: IEEE 754 says what comes of them.
        with np.errstate(invalid="ignore", over="ignore"):
            return self._prepare(k).compute(x, y)

    @cached_property
    def quick(self) -> "Callable | None":
        """The method's short way for small calls, where it has one for this problem."""
        p = self.problem
        method = self.ways[0].method
        plain = p.unknown == "out" and p.algebra != "integer" and p.over.admit is None and not self.policy.verify
        plain = plain and not p.empty and len(self.ways) == 1
        plain = plain and {p.x_dtype, p.k_dtype, p.out_dtype} == {method.reads(p)}
        if not plain or method.on_torch != (p.host == "torch") or not (method.on_torch or p.pattern == PLAIN):
            return None
        return method.quick(p)

    @cached_property
    def _silent(self) -> bool:
        plain = self.problem.result_dtype == self.problem.compute_dtype
        return plain and all(way.method.silent for way in self.ways)

    @cached_property
    def operands(self) -> tuple[str, ...]:
        """Names of the arrays that a call needs."""
        curved = self.problem.unknown != "out" and not self.problem.over.ring
        return ("x", "k", "y") if curved else OPERANDS[self.problem.unknown]

    def _expect(self, name: str, array: Any) -> Any:
        """The array, if it is what the problem says."""
        problem = self.problem
        if array is None:
            raise ArgumentError.of(
                f"plan for {problem.unknown}", f"the arrays {', '.join(self.operands)}", f"no {name}", "pass it by name"
            )
        array = arrays.as_array(array, "plan")
        shape = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}[name]
        if tuple(array.shape) != shape:
            raise ArgumentError.of(
                "plan", f"{name} of shape {shape}", f"shape {tuple(array.shape)}", "make a plan for this shape"
            )
        if (host := arrays.host_of(array)) != problem.host:
            raise ArgumentError.of(
                "plan", f"{problem.host} arrays", f"{name} from {host}", "make a plan from these arrays"
            )
        dtype = {"x": problem.x_dtype, "k": problem.k_dtype, "y": problem.out_dtype}[name]
        if (came := arrays.dtype_name(array)) != dtype:
            raise DtypeError.of("plan", f"{name} of dtype {dtype}", came, "cast it, or make a plan for this dtype")
        return array

    def _prepare(self, k: Any, passing: bool = True) -> "Prepared":
        """Give the filter to the first method that takes it; a `passing` one serves a single call."""
        if self.problem.empty:
            return Prepared(self, self.ways[-1], None, k)
        entered: dict[tuple, Any] = {}  # the filter, alike for all methods that read one dtype
        for way in self.ways:
            kind = way.method.on_torch, way.method.reads(self.problem)
            if k is not None and kind not in entered:
                entered[kind] = self.enter("k", k, way.method)
            filter_ = entered.get(kind)
            context = self.context(way, passing)
            prepared = (
                filter_
                if filter_ is None or way.method.on_torch
                else way.method.prepare(self.problem, filter_, context)
            )
            if prepared is not None or not way.method.structured:
                return Prepared(self, way, prepared, k)
        sentence = "; ".join(f"{way.method.name} serves {way.method.summary}" for way in self.structured)
        raise RefusedError.of(
            "plan",
            f"a filter for {', '.join(self.policy.only)}",
            f"one it does not fit ({sentence})",
            "allow other methods",
        )

    def context(self, way: Candidate, passing: bool = False) -> Context:
        """What the method may use while it works."""
        return self._contexts[id(way), passing]

    @cached_property
    def _contexts(self) -> dict[tuple[int, bool], Context]:
        problem, machine, deterministic = self.problem, self.machine, self.policy.deterministic
        return {
            (id(way), passing): Context(
                way.method.threads(problem, machine),
                machine,
                self.tolerance,
                deterministic,
                way.parts,
                way.budget,
                passing,
            )
            for way in self.ways
            for passing in (False, True)
        }

    # -- between the caller's arrays and canonical ones ---------------------------------------------------------------

    def enter(self, name: str, array: Any, method: Method) -> Any:
        """The canonical array in the dtype that the method reads; the filter in correlation order."""
        problem = self.problem
        if problem.over.admit is not None and name != "y":
            array = self._admitted(array)
        values = (arrays.to_torch if method.on_torch else arrays.to_numpy)(array, method.reads(problem))
        order, shape, _, _ = self._moves[name]
        values = values if order is None else permuted(values, order)
        if name != "k" and method.innermost is False and problem.channels_last and shape[2] * shape[0] >= WIDE:
            values = contiguous(values, self.machine.threads)
        canonical = values.reshape(shape)
        return self._flipped(canonical) if name == "k" and problem.flip else canonical

    def _admitted(self, array: Any) -> np.ndarray:
        """The operand's values in the algebra's set; halves as the floats that they are computed in."""
        came, admit = arrays.dtype_name(array), self.problem.over.admit
        assert admit is not None
        return admit(arrays.to_numpy(array, self.problem.compute_dtype if came in ROUNDOFF else came))

    @cached_property
    def _moves(self) -> dict[str, tuple]:
        """For each array: canonical order of its axes and its canonical shape; shape in that order and the way back."""
        layout, s, grid, moves = self.problem.layout, self.problem.sizes, self.problem.grid, {}
        for name, axes, roles, given, shape in (
            ("x", layout.x, "BNC", self.problem.x_shape, (s.B, s.N, s.C, *grid.n)),
            ("k", layout.k, "BOC", self.problem.k_shape, (s.B, s.O, s.C, *grid.t)),
            ("y", layout.y, "BNO", self.problem.out_shape, (s.B, s.N, s.O, *grid.m)),
        ):
            order = layout.order(axes, roles, len(given))
            ordered = given if order is None else tuple(given[p] for p in order)
            back = None if order is None else tuple(order.index(p) for p in range(len(order)))
            moves[name] = order, shape, ordered, back
        return moves

    def _flipped(self, k: Any) -> Any:
        ndim = self.problem.grid.ndim
        if self.problem.domain != "grid":  # indices that meet by a law are not turned around
            return k
        return k.flip(tuple(range(-ndim, 0))) if arrays.is_torch(k) else k[(..., *_BACKWARDS * ndim)]

    def leave(self, result: Any) -> Any:
        """The caller's kind of array, axes and dtype."""
        problem = self.problem
        name = "y" if problem.unknown == "out" else problem.unknown
        if name == "k" and problem.flip:
            result = self._flipped(result)
        _, _, ordered, back = self._moves[name]
        array = result.reshape(ordered)
        array = array if back is None else permuted(array, back)
        if not arrays.is_torch(array):
            array = contiguous(array, self.machine.threads)
            if problem.result_dtype in convert.SMALL and str(array.dtype) in ("float32", "float64"):
                array = convert.rounded(array, problem.result_dtype, self.machine.threads)
            return self._placed(arrays.from_numpy(array, problem.result_dtype, problem.host))
        if array.is_cpu and str(array.dtype) != "torch.bfloat16" and not array.is_contiguous():
            array = arrays.import_torch("plan").from_numpy(contiguous(array.numpy(), self.machine.threads))
        return arrays.from_torch(array.contiguous(), problem.result_dtype, problem.host)

    def _placed(self, array: Any) -> Any:
        """What was computed in the processor's memory, on the device that the operands came from."""
        return array if self.problem.device == "cpu" else array.to(self.problem.device)

    def check(self, x: Any, k: Any, y: Any, repeats: int = 1, seed: int | None = None) -> Verdict:
        """Whether y is x ∗ k, found out in linear time at random points; see `faltung.planner.verify`.

        Raises:
            RefusedError: a problem whose results cannot be checked so.
        """
        x, k, y = (self._expect(name, a) for name, a in (("x", x), ("k", k), ("y", y)))
        judge = DEFINITION
        x, k, y = (self.enter(name, a, judge) for name, a in (("x", x), ("k", k), ("y", y)))
        point = secrets.randbits(63) if seed is None else seed
        return check(self.problem, x, k, y, self.error, repeats, point)

    def verified(self, x: Any, k: Any, y: Any) -> None:
        """Raise VerificationError unless the check accepts y; a result that is not finite has nothing to compare."""
        values = arrays.to_numpy(y, self.problem.compute_dtype)
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            return
        verdict = self.check(x, k, y)
        if not verdict:
            raise VerificationError.of(
                f"verify {self.method}", f"both sides within {verdict.allowed:.3g}", f"a difference of {verdict.difference:.3g}",
                "report this problem; Policy(only='definition') computes it slowly and surely",
            )  # fmt: skip

    def local(self) -> "Plan":
        """The plan without methods that spread NaN and infinity; RefusedError where the policy names only such."""
        spreading = tuple(way.method.name for way in self.candidates if way.method.spreads or way.method.structured)
        if self.policy.only and set(self.policy.only) <= set(spreading):
            raise RefusedError.of(
                ", ".join(self.policy.only), "finite values, because it spreads NaN and infinity", "a result that is not finite",
                "clean the data, or allow a local method such as 'direct'",
            )  # fmt: skip
        only = tuple(name for name in self.policy.only if name not in spreading)
        return self.replan(self.problem, replace(self.policy, only=only, without=(*self.policy.without, *spreading)))


class Prepared:
    """A plan whose filter is ready: call it with signals."""

    def __init__(self, plan: Plan, way: Candidate, prepared: Any, k: Any) -> None:
        self.plan, self.way, self._prepared, self._k = plan, way, prepared, k

    @property
    def method(self) -> str:
        """Name of the method that took the filter."""
        return self.way.method.name

    def __call__(self, x: Any) -> Any:
        """The convolution of x with the prepared filter; ArgumentError or DtypeError where x is not what the plan says."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.compute(self.plan._expect("x", x))

    def compute(self, x: Any, y: Any = None) -> Any:
        """As a call, for arrays that are known to fit; gradients take y, an array of the result's shape."""
        plan, problem, method = self.plan, self.plan.problem, self.way.method
        if problem.empty:
            zero = problem.over.zero(np.dtype(problem.compute_dtype))
            return plan._placed(
                arrays.from_numpy(
                    np.full(problem.result_shape, zero, problem.compute_dtype), problem.result_dtype, problem.host
                )
            )
        operands = {name: plan.enter(name, a, method) for name, a in (("x", x), ("y", y)) if a is not None}
        if problem.algebra == "integer":
            _prove(plan, operands, self._k)
        result = method.run(problem, operands, self._prepared, plan.context(self.way))
        if method.spreads and not problem.over.exact and not finite(result, plan.machine.threads):
            return plan.local().compute(x, self._k, y)
        left = plan.leave(result)
        if plan.policy.verify and problem.unknown == "out":
            plan.verified(x, self._k, left)
        return left


def _prove(plan: Plan, operands: dict[str, np.ndarray], k: Any) -> None:
    """Refuse integer problems whose sums could wrap, from the types where they suffice, from the values otherwise."""
    problem = plan.problem
    fill = max((abs(int(value.real)) for value in problem.grid.fills(0)), default=0)
    if integer.proven(problem.x_dtype, problem.k_dtype, problem.depth, problem.compute_dtype, fill):
        return
    known = {**operands, **({} if k is None else {"k": plan.enter("k", k, plan.ways[-1].method)})}
    first, second = (known[name] for name in OPERANDS[problem.unknown])
    if problem.unknown == "out":
        times = getattr(problem.grid, "overlap", 1)
        integer.proof(first, second, fill, tuple(range(2, second.ndim)), problem.compute_dtype, times)
    else:
        largest = max(integer.largest(second), fill if problem.unknown == "k" else 0)
        integer.proof(first, np.array([[largest]], dtype=object), fill, (1,), problem.compute_dtype, problem.depth)
