"""Dense layers by the vendor's library through torch: oneDNN on the CPU, cuDNN on a GPU."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from faltung.methods.method import Context, Machine, Method, bytes_of, summation_error
from faltung.problem import Problem


class OneDNN(Method):
    """y by `torch.nn.functional.conv1d/2d/3d`, gradients by `aten.convolution_backward`; the plan picks the memory layout.

    Two-dimensional layers of many channels go through channels-last memory, where oneDNN is fastest, depthwise ones above all.
    Half precision is computed in float32 on the CPU, where native half arithmetic is an order of magnitude slower.
    """

    name = "onednn"
    summary = "dense layers by oneDNN (CPU) or cuDNN (GPU) through torch, layout chosen by the plan"
    source = "oneDNN, cuDNN"
    on_torch = True

    def refuses(self, problem: Problem) -> str | None:
        g = problem.grid
        if problem.algebra != "real":
            return f"computes real floating-point numbers, not {problem.algebra}"
        if g.ndim > 3:
            return f"has one to three spatial axes, the signal has {g.ndim}"
        if problem.host != "torch":
            return "works on torch tensors, NumPy arrays came; pass torch.from_numpy(x) to use it"
        if not g.zero_padded and problem.unknown == "x" and any(lo < 0 or hi < 0 for lo, hi in g.pads):
            return "does not crop a signal whose margin is folded back"
        return None

    def _channels_last(self, problem: Problem) -> bool:
        """Thin layers are one to two orders slower with channels first; dense ones gain less than the two copies take."""
        s, g = problem.sizes, problem.grid
        return g.ndim == 2 and min(s.C, s.O) < 8 <= min(s.B * s.C, s.B * s.O)

    def cost(self, problem: Problem, machine: Machine) -> float:
        s = problem.sizes
        dense, flat = s.C >= 8 and s.O >= 8, self._channels_last(problem)
        kind = "onednn.dense" if dense else "onednn.thin" if flat else "onednn.lone"
        values = s.B * s.N * (s.C * math.prod(problem.grid.padded) + s.O * math.prod(problem.grid.m))
        # Dense kernels work on blocks of 16 channels.
        blocks = -(-s.C // 16) * -(-s.O // 16) * 256 / (s.C * s.O) if dense else 1.0
        work = (
            blocks
            * problem.macs
            * machine.seconds(kind, "float32" if problem.compute_dtype == "float32" else "float64")
        )
        copies = (
            (4.0 if self._channels_last(problem) else 1.0)
            * float(values)
            * np.dtype(problem.compute_dtype).itemsize
            * machine.seconds("copy")
        )
        return machine.seconds("call.onednn") + work / machine.threads + copies

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        values = s.B * s.N * (2 * s.C * math.prod(g.padded) + 2 * s.O * math.prod(g.m)) + 2 * s.B * s.O * s.C * g.taps
        return bytes_of(problem, values) + (1 << 20)

    def run(self, problem: Problem, operands: Mapping[str, Any], prepared: Any, context: Context) -> Any:
        import torch

        s, g = problem.sizes, problem.grid
        explicit = all(lo == hi and lo >= 0 for lo, hi in g.pads) and g.zero_padded
        padding = [lo for lo, _ in g.pads] if explicit else [0] * g.ndim
        memory = torch.channels_last if self._channels_last(problem) else torch.contiguous_format

        def merged(a: Any) -> Any:  # (B, N, C, *) -> (N, B·C, *): shared axes are groups
            return a.permute(1, 0, 2, *range(3, a.ndim)).reshape(a.shape[1], a.shape[0] * a.shape[2], *a.shape[3:])

        def split(a: Any, channels: int) -> Any:
            return a.reshape(a.shape[0], s.B, channels, *a.shape[2:]).permute(1, 0, 2, *range(3, a.ndim + 1))

        x = operands.get("x")
        if x is None:
            x = operands["y"].new_empty((s.B, s.N, s.C, *(g.n if explicit else g.padded)))
        elif not explicit:
            x = _pad(problem, x)
        k = prepared if prepared is not None else x.new_empty((s.B, s.O, s.C, *g.t))
        x, k = (
            merged(x).contiguous(memory_format=memory),
            k.reshape(s.B * s.O, s.C, *g.t).contiguous(memory_format=memory),
        )
        call = (list(g.stride), padding, list(g.dilation))
        # On a GPU: full float32 products, as the error bound says, and an algorithm that repeats if the policy wants that.
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=context.deterministic, allow_tf32=False
        ):
            if problem.unknown == "out":
                conv = (torch.conv1d, torch.conv2d, torch.conv3d)[g.ndim - 1]
                return split(conv(x, k, None, *call, groups=s.B), s.O)
            y = merged(operands["y"]).contiguous(memory_format=memory)
            wants_x = problem.unknown == "x"
            backward = torch.ops.aten.convolution_backward
            gx, gk, _ = backward(y, x, k, None, *call, False, [0] * g.ndim, s.B, [wants_x, not wants_x, False])
        if not wants_x:
            return gk.reshape(s.B, s.O, s.C, *g.t)
        return split(gx, s.C) if explicit else _fold(problem, split(gx, s.C))


def _pad(problem: Problem, x: Any) -> Any:
    """x̃ on any device, by index tables."""
    import torch

    g = problem.grid
    for a, (b, n, (lo, hi), fill) in enumerate(zip(g.boundary, g.n, g.pads, g.fills(0.0), strict=True)):
        table = torch.from_numpy(b.sources(n, lo, hi)).to(x.device)
        x = x.index_select(3 + a, table.clamp(min=0))
        if b.kind == "constant" and bool((table < 0).any()):
            x.movedim(3 + a, 0)[table < 0] = fill
    return x


def _fold(problem: Problem, x: Any) -> Any:
    """The adjoint of `_pad`."""
    import torch

    g = problem.grid
    for a in range(g.ndim - 1, -1, -1):
        table = torch.from_numpy(g.boundary[a].sources(g.n[a], *g.pads[a])).to(x.device)
        inside = torch.nonzero(table >= 0).ravel()
        shape = list(x.shape)
        shape[3 + a] = g.n[a]
        x = x.new_zeros(shape).index_add(3 + a, table[inside], x.index_select(3 + a, inside))
    return x


ONEDNN = OneDNN()
