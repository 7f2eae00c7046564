"""The operator `faltung::pairs`: Walsh–Hadamard and zeta transforms of tensors, linear maps whose adjoints are among them.

In the processor's memory it is the compiled kernel; on other devices products with matrices of 16 rows, four levels at a time.
"""

from typing import Any

import torch
from torch import Tensor

from faltung.kernels import butterfly
from faltung.torch_gate import plain

ADJOINT = {
    "hadamard": "hadamard",
    "subset-add": "superset-add",
    "superset-add": "subset-add",
    "subset-sub": "superset-sub",
    "superset-sub": "subset-sub",
}
_ONE_LEVEL = {
    "hadamard": [[1.0, 1.0], [1.0, -1.0]],
    "subset-add": [[1.0, 0.0], [1.0, 1.0]],
    "superset-add": [[1.0, 1.0], [0.0, 1.0]],
    "subset-sub": [[1.0, 0.0], [-1.0, 1.0]],
    "superset-sub": [[1.0, -1.0], [0.0, 1.0]],
}
_HALF = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


def pairs(x: Tensor, axis: int, step: str, scale: float) -> Tensor:
    """All levels of a step of `kernels.butterfly.STEPS` along one axis, times scale; differentiable.

    Shapes: x any, 2^m places along the axis; returns the same shape and dtype. Half types are summed in float32.
    """
    axis = axis % x.ndim - x.ndim
    if plain(x):
        return _compute(x, axis, step, scale)
    run = (
        _OP if torch.compiler.is_compiling() else _Pairs.apply
    )  # a compiler takes operators, and has no forward derivatives
    return run(x, axis, step, scale)


def extremes(x: Tensor, axis: int, step: str) -> Tensor:
    """Maxima or minima over subsets or supersets, level by level; equal values share the gradient as in `torch.maximum`."""
    order, operation = step.split("-")
    join = torch.maximum if operation == "max" else torch.minimum
    y = x.movedim(axis, -1)
    shape, h = y.shape, 1
    while h < shape[-1]:
        a, b = y.reshape(*shape[:-1], shape[-1] // (2 * h), 2, h).unbind(-2)
        both = (a, join(a, b)) if order == "subset" else (join(a, b), b)
        y, h = torch.stack(both, -2).reshape(shape), 2 * h
    return y.movedim(-1, axis)


def composed(x: Tensor, axis: int, step: str, scale: float) -> Tensor:
    """The same as `pairs` by products with small matrices."""
    y = x.movedim(axis, -1)
    shape, left, after = y.shape, y.shape[-1].bit_length() - 1, 1
    wide = y.dtype if y.dtype.is_floating_point or y.dtype.is_complex else torch.float64
    one = torch.tensor(_ONE_LEVEL[step], dtype=wide, device=x.device)
    if not (y.dtype.is_floating_point or y.dtype.is_complex):  # products of integers are not offered on every device
        return _integers(y, step).movedim(-1, axis)
    while left:
        take = min(4, left)
        matrix = torch.ones(1, 1, dtype=wide, device=x.device)
        for _ in range(take):
            matrix = torch.kron(matrix, one)
        size = 1 << take
        y = torch.matmul(matrix, y.reshape(-1, size, after)) if after > 1 else y.reshape(-1, size) @ matrix.T
        left, after = left - take, after * size
    return (y * scale if scale != 1.0 else y).reshape(shape).movedim(-1, axis)


def _integers(y: Tensor, step: str) -> Tensor:
    """Level by level with sums only, exact in int64."""
    (aa, ab), (ba, bb) = _ONE_LEVEL[step]
    shape, h = y.shape, 1
    while h < shape[-1]:
        a, b = y.reshape(*shape[:-1], shape[-1] // (2 * h), 2, h).unbind(-2)
        y = torch.stack((int(aa) * a + int(ab) * b, int(ba) * a + int(bb) * b), -2).reshape(shape)
        h *= 2
    return y


def _compute(x: Tensor, axis: int, step: str, scale: float) -> Tensor:
    wide = x.detach().to(_HALF.get(x.dtype, x.dtype))
    if not x.is_cpu:
        return composed(wide, axis, step, scale).to(x.dtype).contiguous()
    values = wide.contiguous().resolve_conj().resolve_neg().numpy()
    return torch.from_numpy(butterfly.transform(values, step, axis, None, scale)).to(x.dtype)


_library = torch.library.Library("faltung", "FRAGMENT")
_library.define("pairs(Tensor x, int axis, str step, float scale) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))
_OP = torch.ops.faltung.pairs.default


class _Pairs(torch.autograd.Function):
    """The operator with derivatives of all kinds: reverse, forward, and batches of either."""

    @staticmethod
    def forward(x: Tensor, axis: int, step: str, scale: float) -> Tensor:
        return _OP(x, axis, step, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.rest = inputs[1:]

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple:
        axis, step, scale = ctx.rest
        return pairs(cotangent, axis, ADJOINT[step], scale), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return pairs(tangent, *ctx.rest)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, x: Tensor, axis: int, step: str, scale: float) -> tuple[Tensor, int]:
        return pairs(x.movedim(in_dims[0], 0), axis, step, scale), 0  # the axis is counted from the end


_library.impl("pairs", _compute, "CompositeExplicitAutograd")
torch.library.register_fake(
    "faltung::pairs",
    lambda x, axis, step, scale: torch.empty_like(x, memory_format=torch.contiguous_format),
    lib=_library,
)
torch.library.register_autograd("faltung::pairs", _Pairs.backward, setup_context=_Pairs.setup_context, lib=_library)
