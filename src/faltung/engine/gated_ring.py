"""Gated long convolutions and all their derivatives in one pass each, where the planner chooses negacyclic transforms.

Gates are multiplied while signals are read and results written, and for the derivatives each operand is transformed once: nothing
is kept between forward and backward but the arguments.
"""

from functools import lru_cache

import numpy as np

from faltung.kernels.negacyclic.frame import Frame
from faltung.methods.negacyclic import NEGACYCLIC, dense_rows, frame_of
from faltung.planner import plan_problem
from faltung.planner.finite import finite
from faltung.planner.policy import DEFAULT, Policy
from faltung.problem import Spec
from faltung.request import problem_of

PATTERN = "b c *t, c *t -> b c *t"


@lru_cache(maxsize=1024)
def frame_for(
    x: tuple[int, ...], k: tuple[int, ...], dtype: str, pads: tuple, policy: Policy | None
) -> tuple[Frame, int] | None:
    """The frame that a plan for signals (b, c, n) and filters (c, taps) would use, and its threads; None for other methods."""
    if dtype not in ("float32", "float64") or 0 in (*x, *k):
        return None
    plan = plan_problem(problem_of(True, Spec(x, dtype), Spec(k, dtype), PATTERN, pads), policy or DEFAULT)
    if plan.ways[-1].method is not NEGACYCLIC or plan.policy.verify:
        return None
    frame = frame_of(plan.problem, plan.machine)
    if not frame.single or frame.places[2] != frame.n:
        return None
    return frame, NEGACYCLIC.threads(plan.problem, plan.machine)


def forward(
    on: tuple[Frame, int], x: np.ndarray, k: np.ndarray, a: np.ndarray | None, b: np.ndarray | None
) -> np.ndarray | None:
    """`((x·a) ∗ k)·b` of (b, c, n), or None where a NaN or infinity would reach what it has no part in."""
    frame, threads = on
    x = dense_rows(x)
    if a is not None and _steps(a) != _steps(x):
        x, a = np.ascontiguousarray(x), np.ascontiguousarray(a)
    y = np.empty(x.shape, x.dtype)
    b = b if b is None else np.ascontiguousarray(b)  # as y lies
    spectra = frame.spectra(k[:, None, None], threads)
    frame.convolve(_canonical(x), spectra, _canonical(y), threads, _perhaps(a), _perhaps(b))
    return y if finite(y, threads) else None


def backward(
    on: tuple[Frame, int], x: np.ndarray, k: np.ndarray, a: np.ndarray | None, b: np.ndarray | None, g: np.ndarray,
    wanted: tuple[bool, ...],
) -> list[np.ndarray | None] | None:  # fmt: skip
    """The cotangents of x, k, a and b that are wanted, from that of the result; None where something is not finite."""
    frame, threads = on
    # One set of steps serves each operand and its cotangent, and the cotangents are made dense.
    x, g = np.ascontiguousarray(x), np.ascontiguousarray(g)
    a, b = (t if t is None else np.ascontiguousarray(t) for t in (a, b))
    of_x = np.empty(x.shape, x.dtype) if wanted[0] or wanted[2] else None
    of_k = np.empty(k.shape, x.dtype) if wanted[1] else None
    of_a, of_b = (np.empty(x.shape, x.dtype) if want else None for want in wanted[2:])
    spectra = frame.spectra(k[:, None, None], threads)
    places = _perhaps(of_x), of_k, _perhaps(of_a), _perhaps(of_b)
    frame.gradients(_canonical(x), spectra, _canonical(g), _perhaps(a), _perhaps(b), *places, threads)
    found = [of if want else None for of, want in zip((of_x, of_k, of_a, of_b), wanted, strict=True)]
    return found if all(of is None or finite(of, threads) for of in found) else None


def _steps(t: np.ndarray) -> tuple[int, ...]:
    """The steps in memory along axes that have more than one place."""
    return tuple(step for step, n in zip(t.strides, t.shape, strict=True) if n > 1)


def _canonical(t: np.ndarray) -> np.ndarray:
    """(b, c, n) as (c, b, 1, n)."""
    return t.swapaxes(0, 1)[:, :, None]


def _perhaps(t: np.ndarray | None) -> np.ndarray | None:
    return None if t is None else _canonical(t)
