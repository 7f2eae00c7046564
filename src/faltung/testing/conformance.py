"""Holds a method against the definition: values, bits, inputs, memory, and where NaN goes.

`check(problem, "fft")` is the whole suite for one method and one problem. It never stops at a first impression: a method that
refuses must say so when forced, in the sentence that the plan's table shows; a method that accepts must be right within the
bound it states.
"""

import math
import tracemalloc
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from faltung import arrays, methods
from faltung.domains import Boundary
from faltung.errors import RefusedError
from faltung.methods.method import ROUNDOFF
from faltung.methods.on_gpu import OnGPU
from faltung.planner import Plan, Policy, plan_problem
from faltung.problem import ITEMSIZE, Problem
from faltung.testing.problems import on_host, operands

SLACK = 24 << 10  # bytes of interpreter objects that a call may take beside its arrays
# The filter that a structured method takes.
NEEDS = {"running": "box", "window": "box", "separable": "rank one", "passes": "rank one", "envelope": "parabola"}
NEEDS |= {"monotone": "parabola", "sum-passes": "parabola"}
_HIGH = {"complex": "complex128", "boolean": "bool"} | dict.fromkeys(
    ("real", "max-plus", "min-plus", "max-times", "max-min", "min-max", "log"), "float64"
)
_WINS = {
    "max-plus": np.inf,
    "min-plus": -np.inf,
    "max-times": np.inf,
    "log": np.inf,
}  # the infinity that no window can hide
_JUDGE = Policy(only=("definition",))


def check(
    problem: Problem, method: str, policy: Policy | None = None, seed: int = 0, filters: str | None = None
) -> str:
    """Judge one method on one problem.

    Args:
        problem: small enough for the definition.   method: the name, as the policy spells it.
        policy: limits to plan under; the method is forced on top of it.   seed: of the data.
        filters: what the filter looks like, one of `problems.DATA`; by default what the method is made for.

    Returns:
        `right`; `refuses` where the method does and says so; `unfit` where a structured method does not take such a filter.

    Raises:
        AssertionError: with the problem's line, the method, the seed and what is wrong.
    """
    case = Case(problem, method, policy or Policy(), seed, filters or NEEDS.get(method, "normal"))
    try:
        return case.judge()
    except AssertionError:
        raise
    except Exception as error:  # an error nobody meant: it needs the line that repeats it, too
        error.add_note(case.line)
        raise


class Case:
    """One method on one problem with one set of data."""

    def __init__(self, problem: Problem, method: str, policy: Policy, seed: int, filters: str) -> None:
        self.problem, self.method, self.policy, self.seed, self.filters = problem, method, policy, seed, filters
        self.forced = replace(policy, only=(method,))

    @property
    def line(self) -> str:
        """What repeats the case."""
        return f"problem: {self.problem.text}\n  policy: {self.forced.text}, seed {self.seed}, {self.filters} filter"

    def judge(self) -> str:
        plan = self.plan()
        if plan is None:
            return "refuses"
        given = operands(self.problem, self.seed, self.filters)
        before = {name: _bytes(a) for name, a in given.items()}
        try:
            first = plan(**given)
        except RefusedError as error:
            if (
                not methods.named(self.method).structured
                or self.filters == NEEDS[self.method]
                or "a filter for" not in str(error)
            ):
                self.fail(f"accepts the problem and then refuses: {error}")
            return "unfit"
        self._values(first, given, plan)
        self._repeats(plan, given, first)
        self._other_layouts(plan, given, first)
        self._memory(plan, given)
        for name, a in given.items():
            if _bytes(a) != before[name]:
                self.fail(f"changed its input {name}")
        self._stays_local(plan, given)
        return "right"

    def fail(self, what: str) -> NoReturn:
        raise AssertionError(f"{self.method} {what}\n  {self.line}")

    # -- refusing ---------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """The forced plan, or None where the method refuses and the refusal reaches the user word by word."""
        said = methods.named(self.method).refusal(self.problem)
        table = _table(self.problem, self.policy)
        try:
            plan = plan_problem(self.problem, self.forced)
        except RefusedError as error:
            sentence = said or table.get(self.method)
            if sentence is None:
                self.fail(f"accepts the problem but refuses when forced: {error}")
            if sentence not in str(error):
                self.fail(f"refuses without its sentence {sentence!r}: {error}")
            return None
        if plan.method == self.method:
            if said is not None:
                self.fail(f"refuses ({said}) but runs when forced")
            return plan
        way = plan.ways[-1]
        if not (way.method.delegates and way.parts and all(part.method == self.method for part in way.parts)):
            self.fail(f"was asked for by name, {plan.method} stood in for it")
        return plan

    # -- values and bits --------------------------------------------------------------------------------------------------

    def _values(self, result: Any, given: dict[str, Any], plan: Plan) -> None:
        wrong = differs(self.problem, result, given, plan.error)
        if wrong:
            self.fail(wrong)

    def _repeats(self, plan: Plan, given: dict[str, Any], first: Any) -> None:
        if _bytes(plan(**given)) != _bytes(first):
            self.fail("gives other bits on the second run")
        for threads in (1, 2):
            other = plan_problem(self.problem, replace(self.forced, threads=threads))
            # A part may be solved by another method where threads cost something: other bits, the same bound.
            alike = [way.method for way in _all_ways(other)] == [way.method for way in _all_ways(plan)]
            if alike and _bytes(other(**given)) != _bytes(first):
                self.fail(f"gives other bits with {threads} threads")

    def _other_layouts(self, plan: Plan, given: dict[str, Any], first: Any) -> None:
        """Read-only and non-contiguous arrays are arrays like others."""
        spread = {name: _spread(a) for name, a in given.items()}
        result = plan(**spread)
        if self.problem.over.exact and _bytes(result) != _bytes(first):
            self.fail("gives other values for non-contiguous, read-only arrays")
        wrong = differs(self.problem, result, given, plan.error)
        if wrong:
            self.fail(f"{wrong} for non-contiguous, read-only arrays")

    # -- memory -----------------------------------------------------------------------------------------------------------

    def _memory(self, plan: Plan, given: dict[str, Any]) -> None:
        if isinstance(methods.named(self.method), OnGPU):
            return  # a device's memory is not traced, and what Triton's interpreter allocates is no kernel's
        promise = plan.scratch + int(np.prod(self.problem.result_shape)) * ITEMSIZE[self.problem.result_dtype] + SLACK
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            plan(**given)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        if peak > promise:
            self.fail(
                f"took {peak} bytes at its peak, promised {promise} (scratch {plan.scratch}, the result and {SLACK})"
            )

    # -- NaN and infinity -------------------------------------------------------------------------------------------------

    def _stays_local(self, plan: Plan, given: dict[str, Any]) -> None:
        """One NaN, then one infinity, in one operand: only what its window touches may notice."""
        problem = self.problem
        if problem.algebra not in ("real", "complex", *_WINS) or problem.result_dtype not in ROUNDOFF:
            return
        random = np.random.default_rng(self.seed)
        zero = problem.over.zero(np.dtype("float64"))
        infinite = _WINS.get(problem.algebra, np.inf)
        plants = {
            "out": (("x", np.nan), ("x", infinite)),
            "x": (("y", np.nan), ("y", np.inf)),
            "k": (("x", np.nan), ("y", np.inf)),
        }
        for name, bad in plants[problem.unknown]:
            if (problem.x_dtype if name == "x" else problem.out_dtype) not in ROUNDOFF:
                continue
            if not problem.over.ring and problem.unknown != "out" and name != "y":
                continue  # which tap wins is decided by x itself
            shape = tuple(given[name].shape)
            at = tuple(int(random.integers(n)) for n in shape)
            planted = {**given, name: _planted(given[name], at, bad)}
            touched = _touched(problem, name, at)
            try:
                result = _plain(plan(**planted))
            except RefusedError as error:
                ways = _all_ways(plan)
                spreading = any(way.method.spreads for way in ways) and "not finite" in str(error)
                unfit = (
                    problem.unknown == "k"
                    and any(way.method.structured for way in ways)
                    and "a filter for" in str(error)
                )
                if not spreading and not unfit:
                    self.fail(f"refuses {bad} in {name} although it is a local method: {error}")
                continue
            finite = np.isfinite(result)
            if not problem.over.ring:
                finite |= result == zero  # where no signal is in reach
            if not finite[~touched].all():
                self.fail(
                    f"lets {bad} at {at} of {name} reach {int((~finite & ~touched).sum())} results that do not touch it"
                )
            if problem.unknown == "out" and finite[touched].any():
                self.fail(f"hides {bad} at {at} of {name} from {int((finite & touched).sum())} results that touch it")


# -- the judge --------------------------------------------------------------------------------------------------------------


def differs(problem: Problem, result: Any, given: dict[str, Any], error: float) -> str | None:
    """What is wrong with a result by the definition; None where it is right within `error` and the rounding of its dtype."""
    kind = f"{arrays.host_of(result)} {arrays.dtype_name(result)} of shape {tuple(result.shape)}"
    expected = f"{problem.host} {problem.result_dtype} of shape {problem.result_shape}"
    if kind != expected:
        return f"returns {kind}, expected {expected}"
    wanted, scale = judged(problem, given)
    came = _plain(result)
    worst = _excess(came, wanted, error * scale, problem.result_dtype)
    if worst is None:
        return None
    at = tuple(map(int, np.unravel_index(worst, wanted.shape)))
    return f"gives {came[at]} at {at}, the definition {wanted[at]}, allowed {error:.2e} of {scale:.3g} and rounding"


def judged(problem: Problem, given: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The definition's answer in its widest dtype, and max|x| · ‖k‖₁, the size that error bounds are relative to.

    For a gradient the two known arrays stand in for x and k, and boundaries that fold onto the signal count as often as they do.
    """
    key = tuple(sorted((name, _bytes(a)) for name, a in given.items()))
    return _judged(problem, _Kept(key, given))


class _Kept:
    """Operands as a cache key: equal where their bytes are."""

    def __init__(self, key: tuple, given: dict[str, Any]) -> None:
        self.key, self.given = key, given

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self.key == other.key


@lru_cache(maxsize=8)
def _judged(problem: Problem, kept: _Kept) -> tuple[np.ndarray, float]:
    high = _HIGH.get(problem.algebra, problem.compute_dtype)
    lifted = {name: arrays.to_numpy(a, problem.compute_dtype).astype(high) for name, a in kept.given.items()}
    wide = replace(problem, x_dtype=high, k_dtype=high, out_dtype=high, host="numpy")
    wanted = plan_problem(wide, _JUDGE)(**lifted)
    if np.iscomplexobj(wanted) and not problem.result_dtype.startswith("complex"):
        wanted = wanted.real  # the gradient of a real operand among complex ones is real
    if problem.over.exact:
        return wanted, 0.0
    if not problem.over.ring:
        # Ordered algebras round a single sum: its size is that of the largest |x| ⊗ |k|, the winners those of the signed values.
        positive = tuple(b if b.value is None else Boundary("constant", abs(b.value)) for b in problem.boundary)
        sizes = replace(wide, boundary=positive if problem.unknown == "out" else problem.boundary)
        if problem.unknown == "out":
            sizes = replace(sizes, algebra="max-plus" if problem.over.shifts else "max-times")
        signed = () if problem.unknown == "out" else ("x", "k")
        magnitudes = {name: a if name in signed else np.abs(a) for name, a in lifted.items()}
    else:
        # The signal (for its own gradient: the result's cotangent) at its largest everywhere, beyond the edge, too.
        signal = "y" if problem.unknown == "x" else "x"
        fills = [abs(b.value) for b in problem.boundary if b.value is not None]
        top = max([float(np.abs(lifted[signal]).max(initial=0.0)), *fills])
        positive = tuple(Boundary("constant", top) if b.kind == "constant" else b for b in problem.boundary)
        sizes = replace(
            wide, algebra="real", boundary=positive, x_dtype="float64", k_dtype="float64", out_dtype="float64"
        )
        magnitudes = {name: np.full(a.shape, top) if name == signal else np.abs(a) for name, a in lifted.items()}
    scale = plan_problem(sizes, _JUDGE)(**magnitudes)
    smooth = 1.0 + math.log(problem.depth) if problem.over.share else 0.0  # how far above its terms a sum may lie
    return wanted, smooth + float(scale[np.isfinite(scale)].max(initial=0.0))


def _excess(came: np.ndarray, wanted: np.ndarray, bound: float, dtype: str) -> int | None:
    """The flat position of the worst value outside bound and rounding; None where all are inside."""
    if dtype == "object":
        wrong = came != wanted
        return int(np.argmax(wrong)) if wrong.any() else None
    if dtype == "bool" or (dtype[:3] in ("int", "uin") and wanted.dtype.kind in "iub"):
        if dtype != "bool":
            info = np.iinfo(dtype)
            wanted = np.minimum(np.maximum(wanted.astype(object), int(info.min)), int(info.max))
        wrong = came.astype(object) != wanted.astype(object)
        return int(np.argmax(wrong)) if wrong.any() else None
    if dtype[:3] in ("int", "uin"):
        info = np.iinfo(dtype)
        near = np.clip(wanted.astype(np.float64), float(info.min), float(info.max))
        over = np.abs(came.astype(np.float64) - near) - (0.5 + bound + np.abs(near) * 2.0**-53)
    else:
        unit, smallest, largest = _limits(dtype)
        wanted = wanted.astype(np.complex128 if np.iscomplexobj(wanted) else np.float64)
        same = (came == wanted) | (np.isnan(came) & np.isnan(wanted))
        # A value at the top of the type's range may round to infinity.
        same |= np.isinf(came) & (np.abs(wanted) * (1 + 2 * unit) + bound >= largest)
        with np.errstate(invalid="ignore"):
            over = np.abs(came - wanted) - (bound + unit * np.abs(wanted) + smallest)
        over = np.where(same, -1.0, np.where(np.isnan(over), np.inf, over))
    return int(np.argmax(over)) if over.size and over.max() > 0 else None


def _limits(dtype: str) -> tuple[float, float, float]:
    """Unit roundoff, smallest positive value and largest value of a floating-point dtype."""
    if dtype == "bfloat16":
        return ROUNDOFF["bfloat16"], 2.0**-133, 3.38e38
    info = np.finfo(dtype)
    return ROUNDOFF[dtype], float(info.smallest_subnormal), float(info.max)


def _table(problem: Problem, policy: Policy) -> dict[str, str]:
    """The refusals that the unforced plan shows."""
    try:
        return plan_problem(problem, policy).refusals
    except RefusedError:
        return {}


def _all_ways(plan: Plan) -> list[Any]:
    return list(plan.ways) + [inner for way in plan.ways for part in way.parts for inner in _all_ways(part)]


# -- arrays -----------------------------------------------------------------------------------------------------------------


def _plain(array: Any) -> np.ndarray:
    return (
        arrays.to_numpy(array, "float32")
        if arrays.dtype_name(array) == "bfloat16"
        else arrays.to_numpy(array, arrays.dtype_name(array))
    )


def _bytes(array: Any) -> bytes:
    values = np.ascontiguousarray(_plain(array))
    return repr(values.tolist()).encode() if values.dtype == object else values.tobytes()


def _spread(array: Any) -> Any:
    """The same values in memory that is not contiguous and, for NumPy, must not be written."""
    if arrays.is_torch(array):
        return array.repeat_interleave(2, dim=-1)[..., ::2]
    wide = np.repeat(array, 2, axis=-1)[..., ::-1]
    view = wide[..., ::-1][..., ::2]
    view.flags.writeable = False
    return view


def _planted(array: Any, at: tuple[int, ...], bad: float) -> Any:
    values = _plain(array).copy()
    values[at] = bad
    return on_host(values, arrays.dtype_name(array), arrays.host_of(array))


def _touched(problem: Problem, name: str, at: tuple[int, ...]) -> np.ndarray:
    """Which values of the unknown have a term with that value: a count by the definition, with ones for everything else."""
    # What lies beyond the edge is not the planted value, but it is data that another operand's value meets.
    constant = 0.0 if name == "x" else 1.0
    count = replace(
        problem, algebra="real", x_dtype="float64", k_dtype="float64", out_dtype="float64", host="numpy",
        boundary=tuple(Boundary("constant", constant) if b.kind == "constant" else b for b in problem.boundary),
    )  # fmt: skip
    shapes = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}
    ones = {other: np.ones(shape) for other, shape in shapes.items()}
    ones[name] = np.zeros(shapes[name])
    ones[name][at] = 1.0
    return plan_problem(count, _JUDGE)(**ones) > 0.5
