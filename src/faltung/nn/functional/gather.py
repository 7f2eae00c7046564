"""The operator `faltung::gather`: weighted sums of a few rows each, named by number, and its two transposes.

In the processor's memory and on CUDA devices it is the compiled kernel `faltung.kernels.gather`; elsewhere, and where Triton is not
installed, it is composed of torch's operators. Half types are summed in float32.
"""

from typing import Any

import torch
from torch import Tensor

from faltung.kernels import gpu
from faltung.kernels.gather import on_numba as kernel
from faltung.kernels.threads import available
from faltung.nn.functional.trilinear import SINGLE, agree, empty, register
from faltung.torch_gate import plain


def gather(x: Tensor | None, w: Tensor | None, y: Tensor | None, index: Tensor, count: int) -> Tensor:
    """The one of x, w and y that is None, from the others.

    Formula: `y[b, r] = Σ over j of w[b, r, j] · x[b, index[b, r, j]]`; a number below 0 names a row of zeros.

    Shapes: x (b, count, c), w (b, r, j), index (b, r, j) of int64, y (b, r, c).

    Raises:
        DtypeError: dtypes that differ, or are no real floating type.
    """
    agree("a gather of rows", x, w, y)
    run = _compute if plain(x, w, y) else _OP
    return run(x, w, y, index, count)


def _shapes(x: Tensor | None, w: Tensor | None, y: Tensor | None, index: Tensor, count: int) -> tuple[int, ...]:
    """The shape of the operand that is missing."""
    if w is None:
        return tuple(index.shape)
    if y is None:
        assert x is not None
        return (*index.shape[:2], x.shape[2])
    return (y.shape[0], count, y.shape[2])


def _compute(x: Tensor | None, w: Tensor | None, y: Tensor | None, index: Tensor, count: int) -> Tensor:
    given = next(a for a in (x, w, y) if a is not None)
    wide = SINGLE.get(given.dtype, given.dtype)
    operands = [a if a is None else a.detach().to(wide).contiguous() for a in (x, w, y)]
    slot = next(i for i, a in enumerate(operands) if a is None)
    made = operands[slot] = empty(_shapes(x, w, y, index, count), wide, given.device)
    x, w, y = operands
    assert x is not None
    assert w is not None
    assert y is not None
    if given.is_cpu:
        arrays = [a.numpy() for a in (x, index.contiguous(), w, y)]
        name, order = (("rows", (1, 2, 3, 0)), ("weights", (0, 1, 3, 2)), ("sums", (0, 1, 2, 3)))[slot]
        getattr(kernel, name)(*(arrays[i] for i in order), available())
    elif x.is_cuda and gpu.refuses(str(x.device)) is None:
        from faltung.kernels.gather import on_triton

        name, order = (("rows", (1, 2, 3, 0)), ("weights", (0, 1, 3, 2)), ("sums", (0, 1, 2, 3)))[slot]
        getattr(on_triton, name)(*((x, index.contiguous(), w, y)[i] for i in order))
    else:
        made = _composed(slot, x, w, y, index)
    return made.to(given.dtype)


def _composed(slot: int, x: Tensor, w: Tensor, y: Tensor, index: Tensor) -> Tensor:
    """The same in torch; rows of zeros by a weight of zero where the row's values are not read."""
    (b, r, j), c = index.shape, x.shape[2]
    missing, at = (index < 0).reshape(b, r * j, 1), index.clamp(min=0).reshape(b, r * j, 1).expand(-1, -1, c)
    if slot == 0:
        each = (w.unsqueeze(-1) * y.unsqueeze(2)).reshape(b, r * j, c).masked_fill(missing, 0)
        return torch.zeros_like(x).scatter_add(1, at, each)
    rows = x.gather(1, at).masked_fill(missing, 0).reshape(b, r, j, c)
    if slot == 1:
        return torch.einsum("brjc,brc->brj", rows, y)
    return torch.einsum("brjc,brj->brc", rows, w.masked_fill(index < 0, 0))


_OP: Any = register("gather", "Tensor index, SymInt count", _compute, _shapes)
