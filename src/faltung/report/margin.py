"""The margin that a layer reads, its own or one that stands apart before it, and how much that can add to the layer's gain."""

from dataclasses import dataclass
from math import prod

from faltung.certify.operator import circle_copies, copies, usual_copies
from faltung.readers import Network, Node

MODES = {
    "constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular", "symmetric": "symmetric",
}  # fmt: skip


@dataclass(frozen=True)
class Margin:
    """Samples before and after each spatial axis.

    Fields: pads: (before, after) for each axis.   mode: torch's word for what they hold, None for what it has no word for.
        size: of the signal without them, by axis, None where the graph does not say.
    """

    pads: tuple[tuple[int, int], ...]
    mode: str | None
    size: tuple[int | None, ...]


def margins(network: Network, node: Node) -> tuple[Margin, ...]:
    """The margins of a convolution from the outside in: of a pad right before it, which is how torch pads, and its own.

    One that is empty is left out. Of a transposed convolution it is what the adjoint convolution pads: its result.
    """
    ndim = node.ndim
    inner = node.shape if node.transposed else (node.in_shapes or (None,))[0]
    own = Margin(node.padding, MODES.get(node.boundary), _sizes(inner, ndim))
    found = [own] if any(map(any, own.pads)) else []
    before = network[node.inputs[0]] if node.inputs else None
    if before is not None and before.op == "pad" and not node.transposed:
        pads = ((0, 0),) * (ndim - len(before.padding)) + before.padding[max(len(before.padding) - ndim, 0) :]
        if any(map(any, pads)):
            outer = before.in_shapes[0] if before.in_shapes else None
            found.insert(0, Margin(pads, MODES.get(before.boundary), _sizes(outer, ndim)))
    return tuple(found)


def _sizes(shape: tuple[int | None, ...] | None, ndim: int) -> tuple[int | None, ...]:
    return (None,) * ndim if shape is None or len(shape) < ndim else tuple(shape[len(shape) - ndim :])


def growth(network: Network, node: Node) -> float | None:
    """The factor by which a layer's margins can add to its gain without them; None where a margin is not known.

    Formula: √ of how often the padded signal holds one sample, multiplied over axes and margins: √2 for reflect, √(1 + p) for
    replicate (more for signals hardly longer than the margin), 1 for zeros. Around a circle 1 where the windows go round once.

    Error: a rounding.   Source: as `faltung.certify.spectral_norm`.
    """
    found = margins(network, node)
    counts = []
    for one in found:
        if one.mode is None:
            return None
        alone = len(found) == 1
        for axis, (n, (lo, hi)) in enumerate(zip(one.size, one.pads, strict=True)):
            if one.mode == "circular" and alone:
                counts.append(circle_copies(n, lo, hi, node.dilation[axis] * (node.taps[axis] - 1), node.stride[axis]))
            else:
                counts.append(usual_copies(one.mode, lo, hi)[0] if n is None else copies(one.mode, n, lo, hi))
    return prod(counts) ** 0.5
