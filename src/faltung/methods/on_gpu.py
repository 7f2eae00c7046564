"""What methods for graphics processors share: where they run, what they cost there, and margins that are not zeros."""

import math
from typing import Any

from faltung.kernels import gpu
from faltung.methods.method import Machine, Method
from faltung.problem import ITEMSIZE, Problem

INTERPRETED = 1e6  # times slower: Triton's interpreter stands for a device in tests only
_HALVES = ("float16", "bfloat16")


class OnGPU(Method):
    """A method of Triton kernels: tensors on a CUDA device, or in memory where Triton was told to interpret its kernels.

    Costs are predicted by the rates `gpu.*` of the machine profile: of the device that `faltung tune` found, else shipped ones of a
    data-centre part. They are those of kernels that run alone.
    """

    on_torch = True
    innermost = None

    def refuses(self, problem: Problem) -> str | None:
        if problem.host != "torch":
            return "works on torch tensors, NumPy arrays came; pass torch.from_numpy(x) to use it"
        return gpu.refuses(problem.device) or self.unfit(problem)

    def unfit(self, problem: Problem) -> str | None:
        """Why the kernels do not serve the problem, wherever its tensors are."""
        raise AssertionError("every method says what it serves")

    def half(self, problem: Problem) -> str | None:
        """The half type that all arrays have, or None."""
        kinds = {problem.x_dtype, problem.k_dtype, problem.out_dtype}
        return problem.x_dtype if len(kinds) == 1 and problem.x_dtype in _HALVES else None

    def reads(self, problem: Problem) -> str:
        return self.half(problem) or problem.compute_dtype

    def cost(self, problem: Problem, machine: Machine) -> float:
        slower = INTERPRETED if problem.device == "cpu" else 1.0
        launches, work = self.work(problem, machine)
        seconds = launches * machine.seconds("gpu.launch") + traffic(problem) * machine.seconds("gpu.byte")
        return slower * (seconds + work)

    def work(self, problem: Problem, machine: Machine) -> tuple[int, float]:
        """How many kernels start, and seconds of arithmetic and of memory beside operands and result."""
        raise AssertionError("every method says what it costs")


def depthwise(problem: Problem) -> str | None:
    """Why a problem is not one filter a channel with stride and dilation 1 in single precision or less; None where it is."""
    g, s = problem.grid, problem.sizes
    if problem.algebra != "real":
        return f"computes real floating-point numbers, not {problem.algebra}"
    if s.C != 1 or s.O != 1:
        return f"serves one filter a channel, this one sums {s.C} channels into {s.O}"
    if any(step != 1 for step in (*g.stride, *g.dilation)):
        return f"has stride and dilation 1, not {g.stride} and {g.dilation}"
    if problem.compute_dtype != "float32":
        return f"computes in float32 or less, not {problem.compute_dtype}"
    return None


def traffic(problem: Problem) -> float:
    """Bytes of operands and result: what must cross the device's memory."""
    return float(
        sum(
            ITEMSIZE[dtype] * math.prod(shape)
            for shape, dtype in (
                (problem.x_shape, problem.x_dtype), (problem.k_shape, problem.k_dtype), (problem.out_shape, problem.out_dtype)
            )
        )
    )  # fmt: skip


def cudnn_seconds(problem: Problem, machine: Machine) -> float:
    """Seconds of a layer by cuDNN: products at the rate of its kind and precision, and its traffic."""
    s = problem.sizes
    kind = "dense" if s.C >= 8 and s.O >= 8 else "thin"
    if kind == "thin" and problem.unknown == "k":
        kind = "thin-filter"
    # float64 goes at half of the rate at least, where the device has it at all
    width = 2.0 if problem.compute_dtype == "float64" else 1.0
    work = width * problem.macs * machine.seconds(f"cudnn.{kind}")
    return 2 * machine.seconds("gpu.launch") + 2 * traffic(problem) * machine.seconds("gpu.byte") + work


def padded(problem: Problem, x: Any, zero: float) -> Any:
    """x̃ on any device, by index tables."""
    import torch

    g = problem.grid
    for a, (b, n, (lo, hi), fill) in enumerate(zip(g.boundary, g.n, g.pads, g.fills(zero), strict=True)):
        table = torch.from_numpy(b.sources(n, lo, hi)).to(x.device)
        x = x.index_select(3 + a, table.clamp(min=0))
        if b.kind == "constant" and bool((table < 0).any()):
            x.movedim(3 + a, 0)[table < 0] = fill
    return x


def folded(problem: Problem, x: Any) -> Any:
    """The adjoint of `padded`."""
    import torch

    g = problem.grid
    for a in range(g.ndim - 1, -1, -1):
        table = torch.from_numpy(g.boundary[a].sources(g.n[a], *g.pads[a])).to(x.device)
        inside = torch.nonzero(table >= 0).ravel()
        shape = list(x.shape)
        shape[3 + a] = g.n[a]
        x = x.new_zeros(shape).index_add(3 + a, table[inside], x.index_select(3 + a, inside))
    return x
