"""The front door: a call becomes a problem, the problem a plan, the plan the result. Plans are remembered by call."""

from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from faltung import arrays, componentwise
from faltung.algebras import with_components
from faltung.errors import ArgumentError
from faltung.planner import Plan, plan_problem
from faltung.planner.policy import DEFAULT, Policy
from faltung.problem import Spec
from faltung.request import check_together, problem_of

_plans: dict[Any, Plan] = {}
# The same by what the caller wrote, where nothing has to be done to the arrays before the plan. One table for each kind of array: a
# compiler that traces a call with tensors compares its key with all others, and cannot compare NumPy's dtypes.
_known: dict[type, dict[Any, Any]] = {}
_texts: dict[Any, tuple[str, str]] = {}


def convolve(
    x: Any,
    k: Any,
    pattern: str | None = None,
    *,
    mode: Any = "full",
    boundary: Any = "constant",
    stride: Any = 1,
    dilation: Any = 1,
    on: Any = None,
    over: Any = None,
    policy: Policy | None = None,
    dtype: str | None = None,
) -> Any:
    """Convolve a signal with a filter by the fastest method that is right.

    Formula: `y[p] = ⊕ over u of x[p·stride − u·dilation] ⊗ k[u]` (real numbers: sums of products), for every position p that
    `mode` keeps, with `boundary` standing for what lies beyond the signal.

    Shapes: by the pattern; plain signals x (*n), k (*t) give y (*m) with
    `m = ⌊(n + lo + hi − (t − 1)·dilation − 1) / stride⌋ + 1`; lo = hi = (t − 1)·dilation for `full`, 0 for `valid`, about half
    of that for `same`.

    Args:
        x, k: NumPy arrays, nested lists, or torch tensors (then differentiable, and the result is a tensor on the same device).
        pattern: axes as in einsum with one starred group that is convolved, see `faltung.pattern`. Default `*s, *s -> *s`.
        mode: `full`, `same` (the size of x), `valid`, or one (lo, hi) pair of pads for each spatial axis; a negative pad crops.
            Plain `valid` takes the longer array as the signal, as SciPy does.
        boundary: `constant` (the algebra's zero), `edge`, `reflect`, `symmetric`, `wrap`, or a number (a constant of that value);
            one for all spatial axes or one for each.
        stride, dilation: whole numbers of at least 1, one for all spatial axes or one for each.
        on: the domain: `grid`, `cyclic`, `series`, or a finite set of indices along one axis (`dyadic`, `or`, `dirichlet`,
            `symmetric(4)`, ... or a group, see `faltung.domains`). Default grid.
        over: the algebra: `real`, `complex`, `integer`, `boolean`, `max-plus`, `log`, `count`, `modular(7)`, `quaternion`, ...,
            or one of your own, see `faltung.algebras`. By dtype if left out.
        policy: limits on error, memory and methods, see `faltung.Policy`.
        dtype: type of the result. Default: that of NumPy's promotion; for integers the narrowest of that, int32 and int64 that
            provably holds the sums. Integer types asked for by name round half to even and saturate.

    Returns:
        The result, in the kind of array that came in.

    Raises:
        ArgumentError (a ValueError), DtypeError (a TypeError): arguments that name no convolution.
        ExactnessError (an OverflowError): an integer sum could leave 64 bits.
        RefusedError, MemoryBudgetError: nothing fits the policy.

    Error: at most `plan(...).error`, relative to max|x| · ‖k‖₁; integers, booleans: none.
    Cost: `plan(...).cost` seconds predicted; planning is remembered, so a repeated call adds microseconds.
    Source: the definition; methods name their papers (`faltung list methods`).

    Example:
        >>> convolve([1, 2, 3], [0, 1, 0.5])
        array([0. , 1. , 2.5, 4. , 1.5])
    """
    try:
        found = _known[type(x)][
            True, x.shape, x.dtype, type(k), k.shape, k.dtype, pattern, mode, boundary, stride, dilation, on, over,
            policy, dtype,
        ]  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        return _call(True, x, k, pattern, mode, boundary, stride, dilation, on, over, policy, dtype)
    return found(x, k)


def correlate(
    x: Any,
    k: Any,
    pattern: str | None = None,
    *,
    mode: Any = "full",
    boundary: Any = "constant",
    stride: Any = 1,
    dilation: Any = 1,
    on: Any = None,
    over: Any = None,
    policy: Policy | None = None,
    dtype: str | None = None,
) -> Any:
    """Correlate a signal with a filter: `convolve` without the flip.

    Formula: `y[p] = ⊕ over u of x[p·stride + u·dilation] ⊗ conj(k[u])`, positions, arguments, results and errors as in `convolve`.
    The conjugate concerns complex filters only and follows SciPy; layers of `faltung.nn` follow torch and do not conjugate.

    Example:
        >>> correlate([1, 2, 3], [0, 1, 0.5], mode="same")
        array([2. , 3.5, 3. ])
    """
    try:
        found = _known[type(x)][
            False, x.shape, x.dtype, type(k), k.shape, k.dtype, pattern, mode, boundary, stride, dilation, on, over,
            policy, dtype,
        ]  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        return _call(False, x, k, pattern, mode, boundary, stride, dilation, on, over, policy, dtype)
    return found(x, k)


def plan(
    x: Any,
    k: Any,
    pattern: str | None = None,
    *,
    flip: bool = True,
    mode: Any = "full",
    boundary: Any = "constant",
    stride: Any = 1,
    dilation: Any = 1,
    on: Any = None,
    over: Any = None,
    policy: Policy | None = None,
    dtype: str | None = None,
) -> Plan:
    """The plan that `convolve` (or, with flip=False, `correlate`) would follow; x and k may be `Spec`s instead of arrays.

    A plan is callable, prints as a table of all methods, and prepares a filter for many signals: `plan(x, k).prepare(k)(x)`.

    Example:
        >>> plan(Spec((2048, 2048), "float32"), Spec((3, 3), "float32"), mode="same").method
        'direct'
    """
    if over is not None and (values := with_components(over)) is not None:
        how = {"mode": mode, "boundary": boundary, "stride": stride, "dilation": dilation, "on": on, "policy": policy}
        how["dtype"] = dtype
        return componentwise.explain(partial(plan, flip=flip), values, x, k, pattern, how)
    x, k = (a if isinstance(a, Spec) else arrays.as_array(a, "plan") for a in (x, k))
    return plan_problem(
        problem_of(flip, x, k, pattern, mode, boundary, stride, dilation, on, over, dtype), _policy(policy)
    )


def explain(x: Any, k: Any, pattern: str | None = None, **options: Any) -> Plan:
    """Why a convolution is computed the way it is: `print(explain(x, k))` lists every method with its verdict.

    Takes the arguments of `plan`. Each row names a method, whether it was chosen, is slower or refuses, and either the reason
    or predicted time, error bound and scratch.
    """
    return plan(x, k, pattern, **options)


def texts(
    x: tuple[tuple[int, ...], str, str],
    k: tuple[tuple[int, ...], str, str],
    options: tuple,
    policy: Policy | None,
) -> tuple[str, str]:
    """Problem and policy as text, from plain facts (shape, dtype, device) of two tensors and `problem_of`'s other arguments.

    A tenth option names the unknown where it is not the result.

    torch.compile takes the answer as a constant of the traced graph.
    """
    key = x, k, options, policy
    with suppress(KeyError, TypeError):
        return _texts[key]
    if x[2] != k[2]:
        check_together({"torch"}, {x[2], k[2]})
    names = ("flip", "pattern", "mode", "boundary", "stride", "dilation", "on", "over", "dtype", "unknown")
    arguments: dict[str, Any] = dict(zip(names, options, strict=False))
    unknown = arguments.pop("unknown", "out")
    problem = problem_of(x=Spec(*x[:2]), k=Spec(*k[:2]), host="torch", device=x[2], **arguments).gradient(unknown)
    answer = problem.text, _policy(policy).text
    with suppress(TypeError):  # a list among the options: planned without the shortcut
        _remember(_texts, key, answer)
    return answer


# What torch.compiler.assume_constant_result sets; calling it would import the compiler.
texts._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _call(
    flip: bool,
    x: Any,
    k: Any,
    pattern: Any,
    mode: Any,
    boundary: Any,
    stride: Any,
    dilation: Any,
    on: Any,
    over: Any,
    policy: Any,
    dtype: Any,
) -> Any:
    if over is not None and (values := with_components(over)) is not None:
        how = {"mode": mode, "boundary": boundary, "stride": stride, "dilation": dilation, "on": on, "policy": policy}
        how["dtype"] = dtype
        return componentwise.solve(
            convolve if flip else correlate, partial(plan, flip=flip), values, x, k, pattern, how
        )
    given = x, k
    x, k = arrays.as_array(x, "convolve"), arrays.as_array(k, "convolve")
    tensors = arrays.is_torch(x), arrays.is_torch(k)
    if any(tensors) and not all(tensors):
        check_together({"numpy", "torch"}, {"cpu"})
    if not flip and (k.is_complex() if tensors[1] else k.dtype.kind == "c"):
        k = k.conj()
    if mode == "valid" and pattern is None and _longer(k, x):
        # SciPy's rule for plain signals: convolution does not care which array is the signal, so the longer one is.
        x, k = (k, x) if flip else (_reversed(k), _reversed(x))
    if tensors[0]:
        from faltung import torch_gate

        options = (flip, pattern, mode, boundary, stride, dilation, on, over, dtype)
        problem, policy_text = texts(torch_gate.facts(x), torch_gate.facts(k), options, policy)
        if x is given[0] and k is given[1] and type(x) is type(k) and torch_gate.plain(x, k):
            way = (flip, x.shape, x.dtype, type(k), k.shape, k.dtype, pattern, mode, boundary, stride, dilation, on, over,
                   policy, dtype)  # fmt: skip

            def again(x: Any, k: Any) -> Any:
                if x.is_cpu and k.is_cpu and not (x.is_sparse or k.is_sparse):
                    return torch_gate.solve_fitting(problem, policy_text, x, k)
                return _call(*way[:1], x, k, *way[6:])

            with suppress(TypeError):  # a list among the arguments: planned without the shortcut
                _remember(_known.setdefault(type(x), {}), way, again)
        return torch_gate.solve(problem, policy_text, x=x, k=k)
    rest = pattern, mode, boundary, stride, dilation, on, over, policy, dtype
    key: Any = (flip, x.shape, x.dtype, k.shape, k.dtype, *rest)
    try:
        found = _plans.get(key)
    except TypeError:  # a list among the arguments: plan without the shortcut
        key, found = None, None
    if found is None:
        found = plan_problem(
            problem_of(flip, x, k, pattern, mode, boundary, stride, dilation, on, over, dtype), _policy(policy)
        )
        if key is not None:
            _remember(_plans, key, found)
    if key is not None and x is given[0] and k is given[1] and type(x) is type(k) is np.ndarray:
        way = (flip, x.shape, x.dtype, np.ndarray, k.shape, k.dtype, *rest)
        _remember(_known.setdefault(np.ndarray, {}), way, found.quick or found.compute)
    return found.compute(x, k)


def _remember(memory: dict, key: Any, value: Any) -> None:
    if len(memory) >= 4096:
        memory.clear()
    memory[key] = value


def _policy(policy: Policy | None) -> Policy:
    if policy is None:
        return DEFAULT
    if not isinstance(policy, Policy):
        raise ArgumentError.of("policy", "a faltung.Policy", repr(policy), "write Policy(only='fft') or the like")
    return policy


def _longer(k: Any, x: Any) -> bool:
    return (
        k.ndim == x.ndim
        and all(t >= n for t, n in zip(k.shape, x.shape, strict=True))
        and tuple(k.shape) != tuple(x.shape)
    )


def _reversed(a: Any) -> Any:
    return a.flip(tuple(range(a.ndim))) if arrays.is_torch(a) else a[(slice(None, None, -1),) * a.ndim]
