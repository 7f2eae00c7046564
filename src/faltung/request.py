"""What a call asks for: its arguments, checked one by one, become a problem."""

import math
import operator
from dataclasses import replace
from typing import Any

import numpy as np

from faltung import algebras, arrays, domains
from faltung.algebras import integer
from faltung.domains import boundary as boundaries
from faltung.domains import pads_of_mode
from faltung.errors import ArgumentError, DtypeError
from faltung.pattern import PLAIN, Pattern
from faltung.problem import ITEMSIZE, Problem, Spec, checked


def problem_of(
    flip: bool,
    x: Any,
    k: Any,
    pattern: str | None = None,
    mode: Any = "full",
    boundary: Any = "constant",
    stride: Any = 1,
    dilation: Any = 1,
    on: Any = None,
    over: Any = None,
    dtype: Any = None,
    host: str = "numpy",
    device: str = "cpu",
) -> Problem:
    """The problem behind a call; every argument is checked here. `host` and `device` speak for `Spec`s."""
    layout = Pattern.parse(PLAIN if pattern is None else pattern)
    x_shape, k_shape = tuple(x.shape), tuple(k.shape)
    x_dtype, k_dtype = (a.dtype if isinstance(a, Spec) else arrays.dtype_name(a) for a in (x, k))
    hosts = {host if isinstance(a, Spec) else arrays.host_of(a) for a in (x, k)}
    devices = {device if isinstance(a, Spec) else arrays.device_of(a) for a in (x, k)}
    check_together(hosts, devices)
    layout.check(x_shape, k_shape)
    taps = layout.spatial(layout.k, k_shape)
    ndim = len(taps)
    domain = domains.named("grid" if on is None else on)
    finite = isinstance(domain, domains.FiniteDomain)
    steps, spread = _per_axis("stride", stride, ndim), _per_axis("dilation", dilation, ndim)
    reach = tuple((t - 1) * d + 1 for t, d in zip(taps, spread, strict=True))
    algebra = algebras.named(over) if over is not None else algebras.natural(x_dtype, k_dtype)
    if not isinstance(domain, domains.Domain) or domain.reads is not None:
        _plain_geometry(domain.text, mode, boundary, (steps, spread) if finite else ())
    if isinstance(domain, domains.Domain) and domain.reads is not None:
        (mode, boundary), domain = domain.reads(reach, flip), domains.GRID
    if algebra is None or algebra.compute(x_dtype, k_dtype) is None:
        known = "any algebra" if algebra is None else algebra.name
        among = "" if algebra is None else f" ({', '.join(algebra.dtypes)})"
        raise DtypeError.of(
            "convolve",
            f"dtypes that {known} computes with together{among}",
            f"x {x_dtype} and k {k_dtype}",
            "cast one of them, or name an algebra with over=",
        )
    if algebra.arithmetic == "objects" and "torch" in hosts:
        raise DtypeError.of(
            f"over={algebra.name!r}", "NumPy arrays, which hold Python's numbers", "torch tensors", "pass x.numpy()"
        )
    draft = Problem(
        flip=flip,
        pattern=layout.text,
        x_shape=x_shape,
        k_shape=k_shape,
        x_dtype=x_dtype,
        k_dtype=k_dtype,
        out_dtype=x_dtype,
        pads=() if finite else _pads(mode, reach),
        stride=() if finite else steps,
        dilation=() if finite else spread,
        boundary=() if finite else boundaries.read(boundary, ndim),
        algebra=algebra.name,
        domain=domain.text,
        host=hosts.pop(),
        device=devices.pop(),
    )
    _check_fills(draft)
    return _typed(checked(draft), dtype)


def _plain_geometry(on: str, mode: Any, boundary: Any, steps: tuple) -> None:
    """Raise unless a call leaves to the domain what the domain decides."""
    given = {"mode": (mode, ("full", "same")), "boundary": (boundary, ("constant",))}
    for what, (value, usual) in given.items():
        if not isinstance(value, str) or value not in usual:
            raise ArgumentError.of(
                f"on={on!r}", f"no {what}: the domain says what it is", repr(value), f"leave {what} out"
            )
    for what, values in zip(("stride", "dilation"), steps, strict=False):
        if any(v != 1 for v in values):
            raise ArgumentError.of(f"on={on!r}", f"no {what}", str(values), f"leave {what} out")


def check_together(hosts: set[str], devices: set[str]) -> None:
    """Raise unless both arrays are of one kind and on one device."""
    if len(hosts) > 1:
        raise DtypeError.of(
            "convolve",
            "x and k of one kind",
            "a torch tensor and a NumPy array",
            "convert one with torch.from_numpy or .numpy()",
        )
    if len(devices) > 1:
        raise ArgumentError.of(
            "convolve", "x and k on one device", " and ".join(sorted(devices)), "move one with .to(device)"
        )


def _typed(problem: Problem, dtype: Any) -> Problem:
    """The problem with the result's dtype: asked for by name, or by promotion, wide enough for integers."""
    if dtype is not None:
        try:
            name = str(dtype).removeprefix("torch.") if not isinstance(dtype, type) else np.dtype(dtype).name
            name = name if name in ITEMSIZE else np.dtype(name).name
        except TypeError:
            name = str(dtype)
        kind = "complex" if name.startswith("complex") else "real"
        if (
            name not in ITEMSIZE
            or (name == "bool") != (problem.algebra == "boolean")
            or (name == "object") != (problem.compute_dtype == "object")
            or (kind == "real" and problem.algebra == "complex")
        ):
            raise DtypeError.of(
                "dtype", f"a result type for {problem.algebra} values", repr(dtype), "leave it out for the natural one"
            )
        return replace(problem, out_dtype=name)
    if problem.algebra == "integer":
        fill = min(
            (int(b.value.real) for b in problem.boundary if b.value is not None),
            key=lambda v: (v >= 0, -abs(v)),
            default=0,
        )
        return replace(problem, out_dtype=integer.result_dtype(problem.x_dtype, problem.k_dtype, problem.depth, fill))
    floats = [t for t in (problem.x_dtype, problem.k_dtype) if t in ("float16", "bfloat16")]
    halves_only = floats and all(t in (floats[0], "bool", "int8", "uint8") for t in (problem.x_dtype, problem.k_dtype))
    return replace(
        problem,
        out_dtype=floats[0] if halves_only and problem.algebra != "complex" else problem.compute_dtype,
    )


def _check_fills(problem: Problem) -> None:
    for b in problem.boundary:
        if b.value is None or problem.algebra == "complex":
            continue
        fits = not isinstance(b.value, complex)
        value = b.value.real
        if fits and problem.algebra == "integer":
            info = np.iinfo(problem.compute_dtype)
            fits = math.isfinite(value) and value == int(value) and info.min <= int(value) <= info.max
        elif fits and problem.over.arithmetic != "machine":
            fits = math.isfinite(value) and value == int(value) and value < (problem.over.modulus or math.inf)
        fits = fits and not value < problem.over.least
        fits = fits and (problem.algebra != "boolean" or b.value in (0, 1))
        if not fits:
            raise ArgumentError.of(
                "boundary", f"a constant among the {problem.algebra} values", repr(b.value), "pass a value of that kind"
            )


def _pads(mode: Any, reach: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    if isinstance(mode, str):
        return pads_of_mode(mode, reach)
    try:
        pads = tuple((operator.index(lo), operator.index(hi)) for lo, hi in mode)
    except (TypeError, ValueError):
        pads = None
    if pads is None or len(pads) != len(reach):
        raise ArgumentError.of(
            "mode",
            f"'full', 'same', 'valid' or {len(reach)} (lo, hi) pairs of whole numbers",
            repr(mode),
            "one pair for each spatial axis",
        )
    return pads


def _per_axis(name: str, given: Any, ndim: int) -> tuple[int, ...]:
    values = (given,) * ndim if isinstance(given, (int, np.integer)) else given
    whole = isinstance(values, (tuple, list)) and all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values
    )
    if not whole or len(values) != ndim or isinstance(given, bool):
        raise ArgumentError.of(
            name, f"a whole number, or {ndim}, one for each spatial axis", repr(given), "give one number for all axes"
        )
    return tuple(int(v) for v in values)
