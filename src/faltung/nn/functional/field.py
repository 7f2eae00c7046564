"""The operator `faltung::field`: sums of products whose filter has a value for every place, and its two transposes.

In the processor's memory it is the compiled kernel `faltung.kernels.field`; on other devices the same sums are composed of torch's,
one tap after the other, which makes no copy of the signal for every tap either. Half types are summed in float32.
"""

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from faltung.domains import Boundary
from faltung.kernels.field import on_numba as kernel
from faltung.kernels.field.layout import Field
from faltung.kernels.threads import available
from faltung.nn.functional.convolution import BOUNDARY
from faltung.nn.functional.trilinear import SINGLE, agree, empty, register
from faltung.torch_gate import plain

SHARES = ("interleave", "block", "none")


def field(
    x: Tensor | None,
    w: Tensor | None,
    y: Tensor | None,
    share: str,
    groups: int,
    n: Sequence[int],
    t: Sequence[int],
    m: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    lo: Sequence[int],
) -> Tensor:
    """The one of x, w and y that is None, from the others.

    Formula: `y[b, o, p] = Σ over t (and c) of w[…, t, p] · x[b, c, p·stride + t·dilation − lo]`, zeros beyond x. By `share` a
    value w[b, group, t, p] serves the channels c = o that are equal to its group modulo `groups` (`interleave`) or its group of
    neighbours (`block`); with `none`, w[o, c, t, p] is for one pair of an output and an input of its group, and for all samples.

    Shapes: x (b, c, *n), y (b, o, *m), w (b, groups, Π t, *m), or (o, c / groups, *t, *m) where nothing is shared.

    Raises:
        DtypeError: dtypes that differ, or are no real floating type.
    """
    agree("a kernel field", x, w, y)
    run = _compute if plain(x, w, y) else _OP
    return run(x, w, y, share, groups, n, t, m, stride, dilation, lo)


def extended(x: Tensor, pads: Sequence[tuple[int, int]], padding_mode: str) -> Tensor:
    """x with (lo, hi) margins along its last axes, filled as `padding_mode` says."""
    for axis, ahead, behind in _margins(x.ndim, x.shape, pads, padding_mode):
        parts = [x.index_select(axis, _indices(rows, x)) for rows in (ahead, behind)]
        x = torch.cat((parts[0], x, parts[1]), axis)
    return x


def folded(x: Tensor, sizes: Sequence[int], pads: Sequence[tuple[int, int]], padding_mode: str) -> Tensor:
    """The transpose of `extended`: what lies in the margins is added to the samples they were copied from."""
    shape = (*x.shape[: x.ndim - len(pads)], *sizes)
    for axis, ahead, behind in reversed(list(_margins(x.ndim, shape, pads, padding_mode))):
        lo, size = len(ahead), shape[axis]
        core = x.narrow(axis, lo, size)
        for rows, start in ((ahead, 0), (behind, lo + size)):
            core = core.index_add(axis, _indices(rows, x), x.narrow(axis, start, len(rows)))
        x = core
    return x


def _margins(ndim: int, shape: Sequence[int], pads: Sequence[tuple[int, int]], padding_mode: str) -> Any:
    for axis, (lo, hi) in zip(range(ndim - len(pads), ndim), pads, strict=True):
        if lo or hi:
            yield axis, *_sources(operator.index(shape[axis]), lo, hi, padding_mode)


def _sources(size: int, lo: int, hi: int, padding_mode: str) -> tuple[list[int], list[int]]:
    """The samples that stand in the margins before and behind; a constant of compiled graphs."""
    rows = Boundary(BOUNDARY[padding_mode]).sources(size, lo, hi).tolist()
    return rows[:lo], rows[lo + size :]


# What torch.compiler.assume_constant_result sets.
_sources._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _indices(rows: list[int], x: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.long, device=x.device)


# -- computing ----------------------------------------------------------------------------------------------------------


def _shapes(
    x: Tensor | None, w: Tensor | None, y: Tensor | None, share: str, groups: int, n: Any, t: Any, m: Any, *_: Any
) -> tuple[int, ...]:
    """The shape of the operand that is missing."""
    if y is None:
        assert x is not None
        assert w is not None
        return (x.shape[0], w.shape[0] if share == "none" else x.shape[1], *m)
    if x is None:
        assert w is not None
        return (y.shape[0], w.shape[1] * groups if share == "none" else y.shape[1], *n)
    if share == "none":
        return (y.shape[1], x.shape[1] // groups, *t, *m)
    return (x.shape[0], groups, math.prod(t), *m)


def _compute(
    x: Tensor | None, w: Tensor | None, y: Tensor | None, share: str, groups: int, n: Any, t: Any, m: Any, stride: Any,
    dilation: Any, lo: Any,
) -> Tensor:  # fmt: skip
    given = next(a for a in (x, w, y) if a is not None)
    wide = SINGLE.get(given.dtype, given.dtype)
    sizes = tuple(tuple(map(int, numbers)) for numbers in (n, t, m, stride, dilation, lo))
    made = empty(_shapes(x, w, y, share, groups, n, t, m), wide, given.device)
    operands = [a if a is None else a.to(wide).contiguous() for a in (x, w, y)]
    slot = next(i for i, a in enumerate(operands) if a is None)
    operands[slot] = made
    x, w, y = (_viewed(a, "xwy"[i], share, groups, t, m) for i, a in enumerate(operands) if a is not None)
    if given.is_cpu:
        name = ("signals", "fields", "results")[slot]
        known = [a for i, a in enumerate((x, w, y)) if i != slot]
        arrays = [a.detach().numpy() for a in (*known, (x, w, y)[slot])]
        getattr(kernel, name)(*arrays, Field(*sizes), available())
    else:
        _compose(slot, x, w, y, *sizes)
    return made.to(given.dtype)


def _viewed(a: Tensor, slot: str, share: str, groups: int, t: Any, m: Any) -> Tensor:
    """An operand with four axes in front of the spatial ones: two of problems, then samples (outputs), then channels."""
    if share == "none":
        axis = 0 if slot == "w" else 1
        a = a.unflatten(axis, (groups, a.shape[axis] // groups))
        return a.unsqueeze(0) if slot == "w" else a.transpose(0, 1).unsqueeze(0)
    if slot == "w":
        return a.reshape(a.shape[0], groups, 1, 1, *t, *m)
    each = a.shape[1] // groups
    if share == "interleave":
        return a.reshape(a.shape[0], each, groups, 1, *a.shape[2:]).transpose(1, 2)
    return a.reshape(a.shape[0], groups, each, 1, *a.shape[2:])


def _compose(
    slot: int, x: Tensor, w: Tensor, y: Tensor, n: Any, t: Any, m: Any, stride: Any, dilation: Any, lo: Any
) -> None:
    """The same sums in torch, into the operand of that number: one tap after the other."""
    (x, w, y)[slot].zero_()
    for tap in itertools.product(*map(range, t)):
        places, seen = [], []
        for size, many, s, d, before, u in zip(n, m, stride, dilation, lo, tap, strict=True):
            ahead = u * d - before
            first, stop = max(0, -(ahead // s)), min(many, (size - ahead + s - 1) // s)
            places.append(slice(first, max(first, stop)))
            seen.append(slice(first * s + ahead, max(first * s + ahead, (stop - 1) * s + ahead + 1), s))
        here, there, values = (..., *places), (..., *seen), (..., *tap, *places)
        if y[here].numel() == 0:
            continue
        if slot == 2:
            y[here] += torch.einsum("abni...,aboi...->abno...", x[there], w[values])
        elif slot == 0:
            x[there] += torch.einsum("abno...,aboi...->abni...", y[here], w[values])
        else:
            w[values] = torch.einsum("abni...,abno...->aboi...", x[there], y[here])


_OP = register(
    "field",
    "str share, int groups, SymInt[] n, int[] t, SymInt[] m, int[] stride, int[] dilation, int[] lo",
    _compute,
    _shapes,
)
