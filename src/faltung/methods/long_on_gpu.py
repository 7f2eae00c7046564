"""Long convolutions of one filter a channel on a GPU: the Fourier transform as products of small matrices."""

from collections.abc import Mapping
from typing import Any

from faltung.kernels import gpu
from faltung.kernels.long import layout
from faltung.methods.method import ROUNDOFF, Context, Machine
from faltung.methods.on_gpu import OnGPU, depthwise, folded, padded
from faltung.problem import Problem

LONGEST = 1 << 22


class LongOnGPU(OnGPU):
    """y = F⁻¹(F x̃ · F k), the transforms as products on matrix units, a row at a time and in one kernel where it fits.

    Gradients are the same with the filter turned around, and with products of spectra summed over the batch; the spectra are
    computed again, nothing is kept.

    Error: 16 unit roundoffs of the products; in float32 these are three of tf32, which together lose 2⁻²⁰ at most.
    Cost: 12·M·ΣNᵢ products a row for M = ∏Nᵢ at least the signal's and the filter's length.
    """

    spreads = True
    source = "Fu, Kumbong, Nguyen and Ré, FlashFFTConv (2024); Dao et al., Monarch (2022); Nussbaumer (1981)"

    def __init__(self, name: str, summary: str, halves: bool) -> None:
        self.name, self.summary, self.halves = name, summary, halves

    def unfit(self, problem: Problem) -> str | None:
        if self.halves and self.half(problem) is None:
            return "multiplies in half precision, which arrays of other types would lose digits by"
        if problem.grid.ndim != 1:
            return f"goes along one axis, the signal has {problem.grid.ndim}"
        if (sentence := depthwise(problem)) is not None:
            return sentence
        longest = max(problem.grid.padded[0], problem.grid.n[0])
        if longest > LONGEST:
            return f"transforms at most {LONGEST} values, the signal has {longest}"
        return None

    def products(self, problem: Problem) -> str:
        """The dtype of the products."""
        return problem.x_dtype if self.halves else "float32"

    def work(self, problem: Problem, machine: Machine) -> tuple[int, float]:
        s, (n, t) = problem.sizes, self._lengths(problem)
        M = layout.length(n, t)
        sizes = gpu.tiles_on("monarch", self.products(problem), M, problem.device)
        outer = layout.outer(M, sizes["length"])
        factors = layout.factored(M // outer, sizes["order"])
        each = sum(f for f in (*factors, outer) if f > 1)
        transforms = s.B * s.N * (1.5 if problem.unknown == "k" else 1.0)
        rate = machine.seconds("gpu.half" if self.halves else "gpu.single")
        # The filter's own transform, and planes of an outer pass written and read twice.
        spectra = 80.0 * s.B * M * machine.seconds("gpu.byte")
        planes = s.B * s.N * M * (2 if self.halves else 4) * 8.0 * (outer > 1) * machine.seconds("gpu.byte")
        return 8 if outer == 1 else 10, 12.0 * transforms * M * each * rate + spectra + planes

    def error(self, problem: Problem) -> float:
        return 16.0 * (ROUNDOFF[problem.x_dtype] if self.halves else 2.0**-20)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, (n, t) = problem.sizes, self._lengths(problem)
        M = layout.length(n, t)
        rows = s.B * s.N * (problem.grid.padded[0] * 8 + M * 16)
        return int(rows + s.B * M * 40 + 64 * M + (1 << 20))

    def run(self, problem: Problem, operands: Mapping[str, Any], prepared: Any, context: Context) -> Any:
        import torch

        from faltung.kernels.long.on_triton import Monarch as Kernel

        g = problem.grid
        circular = _circular(problem)
        explicit = g.zero_padded or circular
        lo = g.pads[0][0] if explicit else 0
        n, t = self._lengths(problem)
        x = y = None
        if "x" in operands:
            x = operands["x"] if explicit else padded(problem, operands["x"], 0.0)
            x = x[:, :, 0]
        if "y" in operands:
            y = operands["y"][:, :, 0]
        k = None if prepared is None else prepared[:, 0, 0]
        given = x if x is not None else y
        assert given is not None
        dtype = getattr(torch, self.products(problem))
        purpose = "summed" if problem.unknown == "k" else "monarch"
        kernel = Kernel(dtype, layout.length(n, t), given.device, purpose)
        m, T = g.m[0], g.t[0]
        if problem.unknown == "out":
            assert k is not None
            assert x is not None
            result = kernel.convolve(x, kernel.spectrum(k.flip(-1)), T - 1 - lo, m, wrapped=circular)
            return result[:, :, None]
        assert y is not None
        if problem.unknown == "x":
            assert k is not None
            size = g.n[0] if explicit else g.padded[0]
            if explicit:
                return kernel.convolve(y, kernel.spectrum(k), lo, size, wrapped=circular)[:, :, None]
            # What the margin hands back is added before halves are rounded.
            wide = kernel.convolve(y, kernel.spectrum(k), lo, size, wrapped=circular, dtype=torch.float32)
            return folded(problem, wide[:, :, None]).to(y.dtype)
        assert x is not None
        return kernel.filters(x, y, m - 1 - lo, T, wrapped=circular)[:, None, None]

    def _lengths(self, problem: Problem) -> tuple[int, int]:
        """Lengths of what is transformed: the two known arrays."""
        g = problem.grid
        n = g.n[0] if g.zero_padded or _circular(problem) else g.padded[0]
        return {"out": (n, g.t[0]), "x": (g.m[0], g.t[0]), "k": (n, g.m[0])}[problem.unknown]


def _circular(problem: Problem) -> bool:
    """Whether the convolution is circular and as long as a transform: then nothing is padded."""
    g = problem.grid
    n, (lo, hi) = g.n[0], g.pads[0]
    return g.boundary[0].kind == "wrap" and lo + hi == g.t[0] - 1 and g.t[0] <= n == layout.length(n)


LONG = LongOnGPU(
    "triton-monarch",
    "long filters on a GPU: a Fourier transform of matrix products in one kernel, in single precision",
    False,
)
LONG_HALF = LongOnGPU(
    "triton-half", "the same with products in half precision, for a policy that allows their error", True
)
