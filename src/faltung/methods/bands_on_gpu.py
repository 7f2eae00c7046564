"""Large filters of one channel each on a GPU, directly: rows of the signal times bands of the filter, on matrix units."""

import math
from collections.abc import Mapping
from typing import Any

from faltung.kernels import gpu
from faltung.methods.method import Context, Machine, summation_error
from faltung.methods.on_gpu import OnGPU, depthwise, folded, padded
from faltung.problem import Problem


class Bands(OnGPU):
    """y = Σ over rows of taps of (tile of x̃) · (band matrix of the row), and the two transposes, along one axis or two.

    Filters that differ from sample to sample are filters of more channels: nothing else changes.

    Error: that of a sum of products in float32, its additions those of matrix units, which lose two bits more.
    Cost: (w + t − 1)/t products for one, w the columns of a tile.
    """

    spreads = True  # within a tile: zeros of a band meet values that no tap reaches
    name = "triton-bands"
    summary = "large filters of one channel each on a GPU, as products with band matrices"
    source = "the definition; bands as in Chellapilla, Puri and Simard (2006)"

    def unfit(self, problem: Problem) -> str | None:
        if problem.grid.ndim > 2:
            return f"goes along one axis or two, the signal has {problem.grid.ndim}"
        return depthwise(problem)

    def work(self, problem: Problem, machine: Machine) -> tuple[int, float]:
        g, s = problem.grid, problem.sizes
        half = self.half(problem)
        sizes = gpu.tiles_on("bands", half or "float32", 0, problem.device)
        width, rows = sizes["columns"], sizes["rows"]
        chunk = 64 if half else 32
        band = -(-(width + g.t[-1] - 1) // chunk) * chunk
        tiles = -(-g.m[-1] // width) * (-(-g.m[0] // rows) * rows if g.ndim == 2 else 1.0)
        if g.ndim == 1:
            tiles = -(-tiles // rows) * rows
        products = s.B * s.N * tiles * width * band * (g.t[0] if g.ndim == 2 else 1)
        seconds = products * machine.seconds("gpu.half" if half else "gpu.single")
        if problem.unknown == "k":
            seconds += 16.0 * s.B * math.prod(g.t[:-1]) * band * width * machine.seconds("gpu.byte")
        return 4 if problem.unknown == "k" else 2, seconds

    def error(self, problem: Problem) -> float:
        # Halves multiply exactly; of three products of tf32 the one of two low parts is left out.
        return summation_error(problem, 2.0**-22) + (0.0 if self.half(problem) else 2.0**-20)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        g, s = problem.grid, problem.sizes
        margins = 0 if g.zero_padded else 8 * s.B * s.N * math.prod(g.padded)
        products = (1 << 28) + 8 * s.B * s.O * g.taps if problem.unknown == "k" else 0
        return margins + products + 8 * s.B * s.N * (math.prod(g.n) + math.prod(g.m)) + (1 << 16)

    def run(self, problem: Problem, operands: Mapping[str, Any], prepared: Any, context: Context) -> Any:
        from faltung.kernels.bands import on_triton as kernel

        g = problem.grid
        native = g.zero_padded
        low = tuple(lo for lo, _ in g.pads) if native else (0,) * g.ndim
        n = g.n if native else g.padded
        given = {}
        for name, a in operands.items():
            whole = padded(problem, a, 0.0) if name == "x" and not native else a
            given[name] = _dense(whole[:, :, 0], g.ndim)
        if problem.unknown == "k":
            return kernel.filters(given["x"], given["y"], low, g.t, given["x"].dtype)[:, None, None]
        k = prepared[:, 0, 0].contiguous()
        if problem.unknown == "out":
            return kernel.correlate(given["x"], k, low, g.m, k.dtype)[:, :, None]
        # The transpose reads the filter backwards, and its margins are what the filter reaches beyond those of the signal.
        back = tuple(t - 1 - lo for t, lo in zip(g.t, low, strict=True))
        x = kernel.correlate(given["y"], k, back, n, k.dtype, turned=True)[:, :, None]
        return x if native else folded(problem, x)


def _dense(a: Any, ndim: int) -> Any:
    """The tensor with neighbours along its last axes next to each other; the first two may lie anywhere."""
    step = 1
    for axis in range(-1, -ndim - 1, -1):
        if a.stride(axis) != step and a.shape[axis] > 1:
            return a.contiguous()
        step *= a.shape[axis]
    return a


BANDS = Bands()
