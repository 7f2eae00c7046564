"""Which elements of its inputs an operation reads for a box of its result: one rule for each kind of node."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from faltung.readers import Node

Interval = tuple[int, int]  # both ends belong to it
Box = tuple[Interval, ...]  # one for each axis
Demand = list[Box | None]  # one for each input of the node, None where it is not read


class UnknownError(Exception):
    """The graph does not say what an operation reads."""


def full(shape: Sequence[int | None] | None) -> Box:
    """All of an array."""
    if shape is None:
        raise UnknownError("a size that is not known")
    return tuple((0, n - 1) for n in sizes(shape))


def sizes(shape: Sequence[int | None] | None) -> tuple[int, ...]:
    """A shape without gaps."""
    known = tuple(n for n in shape or () if n is not None)
    if shape is None or len(known) != len(shape):
        raise UnknownError("a size that is not known")
    return known


def demanded(node: Node, box: Box, clip: bool) -> Demand:
    """What a node reads of each of its inputs for a box of its result.

    Args:
        clip: True for what a signal of these sizes holds; False for the formula, which goes on beyond the margins.
    """
    rule = _RULES.get(node.op)
    if rule is None:
        raise UnknownError(f"{node.name}: {node.note or node.word}")
    found = rule(node, box, clip)
    if not clip:
        return found
    return [None if b is None else _clipped(b, sizes(s)) for b, s in zip(found, node.in_shapes, strict=True)]


def _clipped(box: Box, shape: Sequence[int]) -> Box | None:
    inside = tuple((max(lo, 0), min(hi, n - 1)) for (lo, hi), n in zip(box, shape, strict=True))
    return inside if all(lo <= hi for lo, hi in inside) else None


def _conv(node: Node, box: Box, clip: bool) -> Demand:
    channels = full(node.in_shapes[0])[-node.ndim - 1]
    rule = _transposed if node.transposed else _window
    space = tuple(
        rule(*box[a - node.ndim], node.taps[a], node.stride[a], node.dilation[a], node.padding[a][0])
        for a in range(node.ndim)
    )
    lead = box[: len(box) - node.ndim - 1]
    if len(lead) != len(sizes(node.in_shapes[0])) - node.ndim - 1:
        raise UnknownError(f"{node.name}: other leading axes than its input")
    first: Box = (*lead, channels, *space)
    # A convolution whose kernel is computed reads all of that kernel.
    return [first, *(full(s) for s in node.in_shapes[1:])]


def _window(lo: int, hi: int, taps: int, stride: int, dilation: int, before: int) -> Interval:
    return lo * stride - before, hi * stride - before + (taps - 1) * dilation


def _transposed(lo: int, hi: int, taps: int, stride: int, dilation: int, before: int) -> Interval:
    reads = [
        (place + before - t * dilation) // stride
        for place in {*range(lo, min(hi, lo + stride) + 1), *range(max(lo, hi - stride), hi + 1)}
        for t in range(taps)
        if (place + before - t * dilation) % stride == 0
    ]
    return (min(reads), max(reads)) if reads else (1, 0)


def _pool(node: Node, box: Box, clip: bool) -> Demand:
    window = node.settings["window"]
    ndim = len(window)
    space = tuple(
        _window(*box[a - ndim], window[a], node.stride[a], node.dilation[a], node.padding[a][0]) for a in range(ndim)
    )
    return [(*box[: len(box) - ndim], *space)]


def _adaptive(node: Node, box: Box, clip: bool) -> Demand:
    ndim = node.settings["axes"]
    inside, made = sizes(node.in_shapes[0])[-ndim:], sizes(node.shape)[-ndim:]
    space = tuple(
        (lo * n // m, -(-(hi + 1) * n // m) - 1) for (lo, hi), n, m in zip(box[-ndim:], inside, made, strict=True)
    )
    return [(*box[:-ndim], *space)]


def _same(node: Node, box: Box, clip: bool) -> Demand:
    """Element by element, axes of one element read for all."""
    return [_aligned(box, sizes(s)) for s in node.in_shapes]


def _aligned(box: Box, shape: Sequence[int]) -> Box:
    last = box[len(box) - len(shape) :] if shape else ()
    return tuple((0, 0) if n == 1 else interval for interval, n in zip(last, shape, strict=True))


def _norm(node: Node, box: Box, clip: bool) -> Demand:
    if node.settings.get("frozen"):
        return _same(node, box, clip)
    everything = full(node.in_shapes[0])
    kind = node.settings.get("kind")
    if kind in ("layer", "rms") and "normalized_shape" in node.settings:
        kept = len(box) - len(node.settings["normalized_shape"])
        return [(*box[:kept], *everything[kept:])]
    return [everything if kind == "batch" else (box[0], *everything[1:])]


def _softmax(node: Node, box: Box, clip: bool) -> Demand:
    axis = node.settings.get("dim", node.settings.get("axis", -1)) % len(box)
    return [(*box[:axis], full(node.in_shapes[0])[axis], *box[axis + 1 :])]


def _reduce(node: Node, box: Box, clip: bool) -> Demand:
    axes, everything = node.settings["axes"], full(node.in_shapes[0])
    rest = iter([i for a, i in enumerate(box) if a not in axes] if node.settings.get("keepdim") else box)
    return [tuple(everything[a] if a in axes else next(rest) for a in range(len(everything)))]


def _concat(node: Node, box: Box, clip: bool) -> Demand:
    axis, start, found = node.settings["axis"], 0, []
    for shape in node.in_shapes:
        size = sizes(shape)[axis]
        lo, hi = max(box[axis][0] - start, 0), min(box[axis][1] - start, size - 1)
        found.append((*box[:axis], (lo, hi), *box[axis + 1 :]) if lo <= hi else None)
        start += size
    return found


def _upsample(node: Node, box: Box, clip: bool) -> Demand:
    inside, made = sizes(node.in_shapes[0]), sizes(node.shape)
    space = []
    for (lo, hi), n, m in zip(box[2:], inside[2:], made[2:], strict=True):
        if node.settings["mode"] == "nearest":
            space.append((lo * n // m, hi * n // m))
            continue
        corners = node.settings["align_corners"]
        reach = 2 if "cubic" in node.settings["mode"] else 1

        def place(i: int, n: int = n, m: int = m, corners: bool = corners) -> float:
            return i * (n - 1) / max(m - 1, 1) if corners else (i + 0.5) * n / m - 0.5

        first, last = (int(np.floor(place(i))) for i in (lo, hi))
        if clip and reach == 1:  # before the first sample there is nothing to interpolate with
            first, last = max(first, 0), max(last, 0)
        space.append((first - reach + 1, last + reach))
    return [(*box[:2], *space)]


def _shuffle(node: Node, box: Box, clip: bool) -> Demand:
    factor, everything = node.settings["factor"], full(node.in_shapes[0])
    if node.op == "pixel_shuffle":
        space = tuple((lo // factor, hi // factor) for lo, hi in box[-2:])
    else:
        space = tuple((lo * factor, hi * factor + factor - 1) for lo, hi in box[-2:])
    return [(*box[:-3], everything[-3], *space)]


def _pad(node: Node, box: Box, clip: bool) -> Demand:
    inside, lead = sizes(node.in_shapes[0]), len(box) - len(node.padding)
    found = list(box)
    for axis, (before, after) in enumerate(node.padding, lead):
        lo, hi = box[axis]
        if clip and node.boundary != "constant" and min(before, after) >= 0:
            places = np.pad(np.arange(inside[axis]), (before, after), mode=node.boundary)[lo : hi + 1]  # type: ignore[call-overload]
            found[axis] = (int(places.min()), int(places.max()))
        else:
            found[axis] = (lo - before, hi - before)
    return [tuple(found)]


def _reshape(node: Node, box: Box, clip: bool) -> Demand:
    """Axes that keep their size and place pass; others are read whole, which is known only if all of them is asked for."""
    inside, made = sizes(node.in_shapes[0]), sizes(node.shape)
    found, everything, asked = [], full(inside), full(made)
    starts = {(prod(made[:b]), made[b]): b for b in range(len(made)) if made[b] > 1}
    passed = set()
    for axis, n in enumerate(inside):
        match = starts.get((prod(inside[:axis]), n)) if n > 1 else None
        found.append(everything[axis] if match is None else box[match])
        passed.add(match)
    rest = [b for b in range(len(made)) if b not in passed and made[b] > 1]
    if any(box[b] != asked[b] for b in rest):
        raise UnknownError(f"{node.name}: part of axes that were joined or split")
    return [tuple(found)]


def _permute(node: Node, box: Box, clip: bool) -> Demand:
    rank, settings = len(box), node.settings
    if "dims" in settings or "perm" in settings:
        order = [d % rank for d in settings.get("dims", settings.get("perm"))]
    elif "dim0" in settings:
        order = list(range(rank))
        a, b = settings["dim0"] % rank, settings["dim1"] % rank
        order[a], order[b] = b, a
    elif node.word.endswith(".t"):
        order = list(range(rank))[::-1]
    else:
        raise UnknownError(f"{node.name}: an order of axes that is not known")
    found = [(0, 0)] * rank
    for made, inside in enumerate(order):
        found[inside] = box[made]
    return [tuple(found)]


def _slice(node: Node, box: Box, clip: bool) -> Demand:
    inside, settings, word = sizes(node.in_shapes[0]), node.settings, node.word.rpartition(".")[2]
    if "dim" not in settings or word not in (
        "slice",
        "select",
        "narrow",
        "chunk",
        "split",
        "split_with_sizes",
        "unbind",
    ):
        raise UnknownError(f"{node.name}: {node.word}")
    axis = settings["dim"] % len(inside)
    n, index = inside[axis], settings.get("index", 0)
    if word in ("select", "unbind"):
        place = index % n
        return [(*box[:axis], (place, place), *box[axis:])]
    step = settings.get("step", 1)
    if word in ("slice", "narrow"):
        start = settings.get("start") or 0
        start = max(start + n, 0) if start < 0 else min(start, n)
    elif word == "chunk":
        start = index * -(-n // settings["chunks"])
    else:
        parts = settings.get("split_sizes", settings.get("split_size"))
        start = sum(parts[:index]) if isinstance(parts, (list, tuple)) else index * parts
    lo, hi = box[axis]
    return [(*box[:axis], (start + lo * step, start + hi * step), *box[axis + 1 :])]


def _expand(node: Node, box: Box, clip: bool) -> Demand:
    if not node.word.rpartition(".")[2].startswith(("expand", "broadcast_to")):
        raise UnknownError(f"{node.name}: {node.word}")
    return [_aligned(box, sizes(node.in_shapes[0]))]


def _linear(node: Node, box: Box, clip: bool) -> Demand:
    return [(*box[:-1], full(node.in_shapes[0])[-1])]


def _matmul(node: Node, box: Box, clip: bool) -> Demand:
    shapes = [sizes(s) for s in node.in_shapes]
    if "scaled_dot_product" in node.word and len(shapes) >= 3:
        query, key, value = (full(s) for s in shapes[:3])
        lead = box[:-2]
        rest = [_aligned(box, s) for s in shapes[3:]]
        return [(*lead, box[-2], query[-1]), (*lead, *key[-2:]), (*lead, value[-2], box[-1]), *rest]
    if len(shapes) != 2 or min(map(len, shapes)) < 2 or not node.word.endswith(("matmul", "bmm", ".mm", "MatMul")):
        raise UnknownError(f"{node.name}: {node.word}")
    left = (*_aligned(box[:-2], shapes[0][:-2]), box[-2], (0, shapes[0][-1] - 1))
    right = (*_aligned(box[:-2], shapes[1][:-2]), (0, shapes[1][-2] - 1), box[-1])
    return [left, right]


_RULES: dict[str, Callable[[Node, Box, bool], Demand]] = {
    "conv": _conv,
    "linear": _linear,
    "max_pool": _pool,
    "avg_pool": _pool,
    "adaptive_pool": _adaptive,
    "norm": _norm,
    "softmax": _softmax,
    "reduce": _reduce,
    "concat": _concat,
    "upsample": _upsample,
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _shuffle,
    "pad": _pad,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _slice,
    "expand": _expand,
    "matmul": _matmul,
    **dict.fromkeys(("activation", "add", "mul", "merge", "same"), _same),
}
