"""Convolution over max-plus, min-plus and the log semiring on a GPU, term by term, and its gradients."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.kernels.windows.contract import Geometry
from faltung.methods.method import ROUNDOFF, Context, Machine
from faltung.methods.on_gpu import OnGPU, folded, padded
from faltung.problem import Problem

_OF = {"max-plus": "max", "min-plus": "min", "log": "log"}


class Windows(OnGPU):
    """y = ⊕ over taps and channels, in registers; a gradient keeps what each result is, and gathers from there.

    A maximum hands its cotangent to the first term that attains it in float64, a logarithm of a sum to every term its share.

    Error: results of maxima and minima: one rounding; sums and gradients: those of a sum in the dtype of the arithmetic, and the
    four roundings of an exponential.
    Cost: one operation a term; a gradient two.
    """

    name = "triton-windows"
    summary = "maxima, minima and logarithms of sums over windows on a GPU, with their gradients"
    source = "the definition; subgradient of a maximum, Danskin (1967)"

    def unfit(self, problem: Problem) -> str | None:
        if problem.algebra not in _OF:
            return f"serves {', '.join(_OF)}, not {problem.algebra}"
        if problem.grid.ndim > 3:
            return f"goes along one to three axes, the signal has {problem.grid.ndim}"
        return None

    def reads(self, problem: Problem) -> str:
        return problem.compute_dtype

    def work(self, problem: Problem, machine: Machine) -> tuple[int, float]:
        kind = "gpu.exponential" if problem.algebra == "log" else "gpu.term"
        if problem.unknown == "out":
            return 1, problem.macs * machine.seconds(kind, problem.compute_dtype)
        return 2, problem.macs * (machine.seconds(kind, "float64") + machine.seconds(kind, problem.compute_dtype))

    def error(self, problem: Problem) -> float:
        unit = ROUNDOFF[problem.compute_dtype]
        if problem.unknown == "out" and problem.over.ordered:
            return unit
        depth = problem.depth
        if problem.algebra == "log" and problem.unknown != "out":
            depth += problem.sizes.C * problem.grid.taps
        return (min(depth, 6.0 * depth**0.5) + 12.0) * unit

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        results, samples = s.B * s.N * s.O * math.prod(g.m), s.B * s.N * s.C * math.prod(g.padded)
        return 24 * samples + 24 * results + 16 * s.B * s.O * s.C * g.taps + (1 << 16)

    def run(self, problem: Problem, operands: Mapping[str, Any], prepared: Any, context: Context) -> Any:
        from faltung.kernels.windows import on_triton as kernel

        g = problem.grid
        native, of = g.zero_padded, _OF[problem.algebra]
        zero = float(problem.over.zero(np.dtype("float64")))
        low = tuple(lo for lo, _ in g.pads) if native else (0,) * g.ndim
        geometry = Geometry(g.n if native else g.padded, g.t, g.m, g.stride, g.dilation, low, zero)
        x = operands["x"] if native else padded(problem, operands["x"], zero)
        if problem.unknown == "out":
            return kernel.results(x, prepared, of, geometry)
        out = kernel.gradient(x, prepared, operands["y"], of, geometry, problem.unknown)
        return out if native or problem.unknown == "k" else folded(problem, out)


WINDOWS = Windows()
