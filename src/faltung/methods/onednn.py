"""Dense layers by the vendor's library through torch: oneDNN on the CPU, cuDNN on a GPU."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from faltung.kernels.turn.on_numba import contiguous
from faltung.methods.method import Context, Machine, Method, bytes_of, summation_error, turning
from faltung.methods.on_gpu import cudnn_seconds, folded, padded
from faltung.problem import Problem


class OneDNN(Method):
    """y by `torch.nn.functional.conv1d/2d/3d`, gradients by `aten.convolution_backward`; the plan picks the memory layout.

    Layers of many channels in groups along two axes go through channels-last memory, where oneDNN is fastest, depthwise ones
    above all; tensors that lie so, and dense layers of either layout, are neither copied before nor after. float16 is computed in
    float32 on the CPU, where native half arithmetic is an order of magnitude slower; bfloat16 goes as it is to processors that
    multiply it and sum in float32. Their instruction takes pairs, so that a NaN may reach a neighbour: such results are computed
    again in float32.
    """

    name = "onednn"
    summary = "dense layers by oneDNN (CPU) or cuDNN (GPU) through torch, layout chosen by the plan"
    source = "oneDNN, cuDNN"
    on_torch = True
    innermost = None

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
        """Thin layers that oneDNN does not block are one to two orders slower with channels first; dense ones by a seventh.

        Groups of whole vectors of a single sample (a filter for each sample comes so) are not: the copies would take a third.
        """
        s = problem.sizes
        if problem.grid.ndim != 2 or problem.channels_last:
            return problem.grid.ndim == 2
        blocked = self._blocked(problem) or (s.N == 1 and s.C % 16 == 0 and s.O % 16 == 0)
        return s.B > 1 and not blocked and min(s.B * s.C, s.B * s.O) >= 8

    def _blocked(self, problem: Problem) -> bool:
        """Whether a depthwise layer goes through oneDNN's kernels for blocks of channels, whatever its layout.

        By measurement: rows of at most 14 taps, of 3 for the filter's gradient; gradients of dilated layers are plain loops.
        """
        s, g = problem.sizes, problem.grid
        if not (s.B > 1 and s.C == s.O == 1 and g.ndim <= 2 and self.reads(problem) == "float32"):
            return False
        if problem.unknown == "out":
            return g.t[-1] <= 14
        return g.t[-1] <= (14 if problem.unknown == "x" else 3) and all(d == 1 for d in g.dilation)

    def reads(self, problem: Problem) -> str:
        dtypes = {problem.x_dtype, problem.k_dtype, problem.out_dtype}
        native = (
            dtypes == {"bfloat16"} and problem.device == "cpu" and problem.unknown == "out" and _multiplies_bfloat16()
        )
        return "bfloat16" if native else problem.compute_dtype

    def cost(self, problem: Problem, machine: Machine) -> float:
        if problem.device.startswith("cuda"):
            return cudnn_seconds(problem, machine)
        s, threads = problem.sizes, machine.threads
        dense, flat, blocked = s.O >= 8, self._channels_last(problem), self._blocked(problem)
        kind = "onednn.dense" if dense else "onednn.thin" if flat or blocked else "onednn.lone"
        values = s.B * s.N * (s.C * math.prod(problem.grid.padded) + s.O * math.prod(problem.grid.m))
        # Dense kernels work on blocks of 16 outputs, and on as many channels where these are not a few only.
        blocks = -(-s.O // 16) * 16 / s.O * (-(-s.C // 16) * 16 / s.C if s.C >= 8 else 1.0) if dense else 1.0
        if blocked:
            blocks = -(-s.B // 16) * 16 / s.B
        if not dense and problem.unknown != "out" and flat and not blocked:  # plain loops in place of kernels
            kind = "onednn.thin-signal" if problem.unknown == "x" else "onednn.thin-filter"
        single = problem.compute_dtype == "float32"
        lone = problem.grid.taps == 1 and all(d == 1 for d in problem.grid.stride)
        if dense and single and lone and self.reads(problem) != "bfloat16":  # a product of matrices to torch
            kind = "onednn.point"
        work = blocks * problem.macs * machine.seconds(kind, "float32" if single else "float64")
        if kind == "onednn.thin" and not blocked:  # taps beyond the edge are left out
            work *= problem.grid.met
        if dense and problem.grid.ndim == 2 and not flat:
            work *= 1.15  # brought into blocks and back
        if dense and self.reads(problem) == "bfloat16":
            work *= 0.5
        item = 2 if self.reads(problem) == "bfloat16" else np.dtype(problem.compute_dtype).itemsize
        moved = float(values) * item * machine.seconds("copy")
        moved += s.B * s.O * s.C * problem.grid.taps * item * machine.seconds("onednn.pack")
        if blocked and not flat:
            moved *= 1.4 * -(-s.B // 16) * 16 / s.B  # into blocks and back
        if flat != problem.channels_last:
            moved += turning(problem, machine) * threads
        return self.calls(problem) * machine.seconds("call.onednn") + (work + moved) / threads

    def calls(self, problem: Problem) -> int:
        """How many calls of torch a call takes: operands that are not as torch's function wants them are merged and turned."""
        straight = problem.unknown == "out" and self._channels_last(problem) == problem.channels_last
        return 1 if straight and problem.grid.ndim < 3 else 4

    def error(self, problem: Problem) -> float:
        return summation_error(problem)

    def scratch(self, problem: Problem, machine: Machine) -> int:
        s, g = problem.sizes, problem.grid
        values = s.B * s.N * (2 * s.C * math.prod(g.padded) + 2 * s.O * math.prod(g.m)) + 2 * s.B * s.O * s.C * g.taps
        return bytes_of(problem, values) + (1 << 20)

    def quick(self, problem: Problem) -> Any:
        """torch's function itself where memory is laid out as it wants it: nothing to merge, pad, turn or cast."""
        s, g = problem.sizes, problem.grid
        if (
            problem.device != "cpu"
            or problem.flip
            or not _explicit(problem)
            or problem.channels_last != self._channels_last(problem)
        ):
            return None
        layout, innermost = problem.layout, problem.channels_last
        N, B, C, O = (layout.roles[role] for role in "NBCO")
        star = (layout.star,)
        x, y = ((*N, *star, *B, *a) if innermost else (*N, *B, *a, *star) for a in (C, O))
        if (layout.x, layout.k, layout.y) != (x, (*B, *O, *C, *star), y):
            return None
        (conv, call), y_shape = conv_of(problem), problem.out_shape
        c, size = s.B * s.C, (s.N, s.B * s.C, *g.n)
        if innermost:
            steps: tuple[int, ...] = (c * g.n[0] * g.n[1], 1, c * g.n[1], c)
        else:
            steps = tuple(math.prod(size[a + 1 :]) for a in range(len(size)))
        k_size = (s.B * s.O, s.C, *g.t)
        shaped = (
            k_size == problem.k_shape,
            (s.N, *(g.m if innermost else ()), s.B * s.O, *(() if innermost else g.m)) == y_shape,
        )

        def run(x: Any, k: Any) -> Any:
            k = k.detach() if shaped[0] else k.detach().reshape(k_size)
            y = _local(conv, x.detach().contiguous().as_strided(size, steps), k, call)
            y = y.permute(0, 2, 3, 1) if innermost else y
            return y if shaped[1] else y.reshape(y_shape)

        return run

    def on_tensors(self, problem: Problem) -> Any:
        """torch's function of a signal with torch's axes (batch, channels, *n), in either memory order, and k; None for others."""
        s, layout = problem.sizes, problem.layout
        N, B, C, O = (layout.roles[role] for role in "NBCO")
        star = (layout.star,)
        if (layout.x, layout.k, layout.y) != ((*N, *B, *C, *star), (*B, *O, *C, *star), (*N, *B, *O, *star)):
            return None
        if len(N) != 1 or len(B + C) != 1 or len(B + O) != 1 or problem.flip or not _explicit(problem):
            return None
        conv, call = conv_of(problem)
        k_size = (s.B * s.O, s.C, *problem.grid.t)

        def run(x: Any, k: Any, y: Any = None) -> Any:
            return _local(conv, x.detach(), k.detach().reshape(k_size), call)

        return run

    def run(self, problem: Problem, operands: Mapping[str, Any], prepared: Any, context: Context) -> Any:
        import torch

        s, g = problem.sizes, problem.grid
        threads = context.threads
        explicit, (conv, call) = _explicit(problem), conv_of(problem)
        memory = torch.channels_last if self._channels_last(problem) else torch.contiguous_format

        def merged(a: Any) -> Any:  # (B, N, C, *) -> (N, B·C, *): shared axes are groups
            return a.permute(1, 0, 2, *range(3, a.ndim)).reshape(a.shape[1], a.shape[0] * a.shape[2], *a.shape[3:])

        def split(a: Any, channels: int) -> Any:
            return a.reshape(a.shape[0], s.B, channels, *a.shape[2:]).permute(1, 0, 2, *range(3, a.ndim + 1))

        x = operands.get("x")
        if x is None:
            x = operands["y"].new_empty((s.B, s.N, s.C, *(g.n if explicit else g.padded)))
        elif not explicit:
            x = padded(problem, x, 0.0)
        k = prepared if prepared is not None else x.new_empty((s.B, s.O, s.C, *g.t))
        x, k = (
            _in_memory(merged(x), memory, threads, "x"),
            _in_memory(k.reshape(s.B * s.O, s.C, *g.t), memory, threads, "k"),
        )
        # On a GPU: full float32 products, as the error bound says, and an algorithm that repeats if the policy wants that.
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=context.deterministic, allow_tf32=False
        ):
            if problem.unknown == "out":
                return split(_local(conv, x, k, call), s.O)
            y = _in_memory(merged(operands["y"]), memory, threads, "y")
            wants_x = problem.unknown == "x"
            backward = torch.ops.aten.convolution_backward
            gx, gk, _ = backward(y, x, k, None, *call[:3], False, [0] * g.ndim, s.B, [wants_x, not wants_x, False])
        if not wants_x:
            return gk.reshape(s.B, s.O, s.C, *g.t)
        return split(gx, s.C) if explicit else folded(problem, split(gx, s.C))


def _explicit(problem: Problem) -> bool:
    """Whether torch can pad by itself: zeros, as many before as behind."""
    return all(lo == hi and lo >= 0 for lo, hi in problem.grid.pads) and problem.grid.zero_padded


def conv_of(problem: Problem) -> tuple[Any, tuple]:
    """torch's function and its settings: stride, padding, dilation, groups."""
    import torch

    g = problem.grid
    padding = [lo for lo, _ in g.pads] if _explicit(problem) else [0] * g.ndim
    conv = (torch.conv1d, torch.conv2d, torch.conv3d)[g.ndim - 1]
    return conv, (list(g.stride), padding, list(g.dilation), problem.sizes.B)


def _local(conv: Any, x: Any, k: Any, call: tuple) -> Any:
    """The convolution, with NaN and infinity kept to the results that they touch."""
    import torch

    y = conv(x, k, None, *call)
    if x.dtype != torch.bfloat16 or not x.is_cpu:
        return y
    # Finite operands have no NaN to spread, and neither has a finite result: what is smaller is looked at. A finite sum proves
    # finite values; an infinite one may be mere overflow and costs the second computation.
    seen = (x, k) if x.numel() + k.numel() < y.numel() else (y,)
    if all(math.isfinite(_flat(a).sum().item()) for a in seen):
        return y
    return conv(x.float(), k.float(), None, *call).to(x.dtype)


def _flat(a: Any) -> Any:
    """All values in the order of memory, where they lie without gaps; sums along other axes are slower."""
    dense = a.is_contiguous() or (a.ndim == 4 and a.permute(0, 2, 3, 1).is_contiguous())
    return a.as_strided((a.numel(),), (1,)) if dense else a


def _in_memory(a: Any, memory: Any, threads: int, purpose: str) -> Any:
    """The tensor in that memory format, by our own faster transposition where there is one to do."""
    import torch

    if memory is torch.contiguous_format:
        return a.contiguous()
    if not a.is_contiguous(memory_format=memory):
        if a.dtype == torch.bfloat16 or not a.is_cpu:
            return a.contiguous(memory_format=memory)
        a = torch.from_numpy(contiguous(a.permute(0, 2, 3, 1).numpy(), threads, purpose)).permute(0, 3, 1, 2)
    # torch tells the format by the steps, those of axes of length 1 included.
    c, h, w = a.shape[1:]
    return a.as_strided(a.shape, (h * w * c, 1, w * c, c))


@cache
def _multiplies_bfloat16() -> bool:
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


ONEDNN = OneDNN()
