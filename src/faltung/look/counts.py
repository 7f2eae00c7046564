"""Multiplications, additions of biases, parameters and bytes of every operation, counted on the graph."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from faltung.look.tables import amount, table
from faltung.readers import Network, Node, read

_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
    "complex64": 8, "complex128": 16,
}  # fmt: skip
_SILENT = set(
    "input same reshape permute slice expand concat embedding pad pixel_shuffle pixel_unshuffle weights".split()
)
_NO_PRODUCTS = set("activation softmax max_pool avg_pool adaptive_pool reduce add mul merge norm upsample".split())


@dataclass(frozen=True)
class Count:
    """What one operation costs; None where the graph does not say enough.

    Fields:
        macs: multiplications with an addition, of convolutions, linear maps and matrix products alone, biases apart.
        bias: additions of a bias.   elements: values that another operation makes or reads (pools: window times results).
        parameters: learnt numbers that it uses.   read, written, weights: bytes of its inputs, result and parameters.
    """

    name: str
    op: str
    shape: tuple[int | None, ...] | None
    macs: int | None
    bias: int | None
    elements: int | None
    parameters: int
    read: int | None
    written: int | None
    weights: int

    @property
    def bytes(self) -> int | None:
        """All bytes that have to move if nothing stays in a cache."""
        return None if self.read is None or self.written is None else self.read + self.written + self.weights

    @property
    def intensity(self) -> float | None:
        """Operations for each byte, a multiplication with its addition as two."""
        return None if self.macs is None or not self.bytes else 2 * self.macs / self.bytes


@dataclass(frozen=True)
class Pass:
    """One of the three passes of a convolution in training.

    Fields:
        name: "forward", "signal" (the gradient of the input) or "filter" (the gradient of the weights).
        macs: multiplications with an addition, biases apart: the same for all three, for each is the sum of the same products
            by another index.   bias: additions of a bias, or of the cotangents that are its gradient.
        bytes: what is read and what is written, each once.   depth: products in one sum, at most.
    """

    name: str
    macs: int
    bias: int
    bytes: int
    depth: int

    @property
    def intensity(self) -> float:
        """Operations for each byte, a multiplication with its addition as two."""
        return 2 * self.macs / self.bytes


@dataclass(frozen=True)
class Counts:
    """The costs of a network, a row an operation.

    Fields:
        parameters: all learnt numbers, shared ones once.   unknown: operations whose multiplications are not known.
    """

    rows: tuple[Count, ...]
    parameters: int
    unknown: tuple[str, ...]

    @property
    def macs(self) -> int | None:
        """All multiplications; None where those of an operation are not known (`at_least` holds then)."""
        return None if self.unknown else self.at_least

    @property
    def at_least(self) -> int:
        """The multiplications of all operations that are known."""
        return sum(row.macs or 0 for row in self.rows)

    def of(self, op: str) -> int:
        """The known multiplications of one kind of operation."""
        return sum(row.macs or 0 for row in self.rows if row.op == op)

    def table(self, all_rows: bool = False) -> str:
        """For people: operations with multiplications or parameters, or all."""
        shown = [r for r in self.rows if all_rows or r.macs is None or r.macs or r.parameters]
        rows = [[r.name, r.op, r.shape or None, r.macs, r.parameters, r.bytes, r.intensity] for r in shown]
        end = f"{amount(self.at_least)} multiplications{' at least' if self.unknown else ''}, {amount(self.parameters)} parameters"
        notes = [f"not known: {name}" for name in self.unknown]
        return "\n".join(
            [table(["layer", "op", "result", "MACs", "parameters", "bytes", "ops/byte"], rows), end, *notes]
        )


def counts(source: Any, example: Any = None) -> Counts:
    """Multiplications, parameters and bytes of every operation of a model, counted on its graph and not on its modules.

    Formula: convolution `∏ result · in / groups · ∏ k`; transposed `∏ input · out / groups · ∏ k`, for every value meets every
    tap once; linear `∏ result · in`; matrix products by their sizes. Dilation changes nothing; taps in the margin are counted.

    Args:
        source: what `faltung.readers.read` takes.   example: the arguments of one call.

    Returns: `Counts`; unknown operations are listed and never counted as nothing.

    Example:
        >>> import torch
        >>> counts(torch.nn.ConvTranspose2d(3, 1, 2, stride=2), torch.zeros(1, 3, 2, 2)).macs
        48
    """
    network = read(source, example)
    rows = tuple(_row(node, network) for node in network.nodes)
    unknown = tuple(row.name for row in rows if row.macs is None)
    return Counts(rows, network.parameter_count, unknown)


def passes(node: Node) -> tuple[Pass, ...]:
    """What the forward pass and both gradients of a convolution cost; () for other nodes and where sizes are not known.

    Formula: each `∏ result · in / groups · ∏ k` products (transposed `∏ input · out / groups · ∏ k`). Bytes: forward and signal
    read one of input and result and write the other, and read the weights; the filter's pass reads both and writes the weights.
    Depth: `in / groups · ∏ k`, `out / groups · ∏ k`, and samples times places of the result (transposed: of the input).

    Source: the definition; Lavin, On the efficiency of convolutional neural networks (2024), for what is counted.

    Example:
        >>> import torch
        >>> network = read(torch.nn.Conv1d(4, 8, 3, groups=2, bias=False), torch.zeros(5, 4, 10))
        >>> [(p.name, p.macs, p.bytes, p.depth) for p in passes(network.convolutions[0])]
        [('forward', 1920, 2272, 6), ('signal', 1920, 2272, 12), ('filter', 1920, 2272, 40)]
    """
    products, width = macs(node), _BYTES.get(node.dtype)
    made, given = _size(node.shape), _size(node.in_shapes[0]) if node.in_shapes else None
    if node.op != "conv" or products is None or width is None or made is None or given is None:
        return ()
    bias = _bias(node) or 0
    offsets = 0 if node.bias is None else node.bias.size
    moved = width * (given + made + prod(node.kernel_shape))
    taps = prod(node.taps)
    seen = given // node.in_channels if node.transposed else made // node.out_channels
    return (
        Pass("forward", products, bias, moved + width * offsets, node.in_channels // node.groups * taps),
        Pass("signal", products, 0, moved, node.out_channels // node.groups * taps),
        Pass("filter", products, bias, moved + width * offsets, seen),
    )


def _row(node: Node, network: Network) -> Count:
    width = _BYTES.get(node.dtype)
    sizes = [network.parameters[p] for p in node.parameters if p in network.parameters]
    learnt = sum(map(prod, sizes))
    # A kernel that is computed from parameters is read as it is.
    made_kernel = prod(node.kernel_shape) + (0 if node.bias is None else node.bias.size)
    stored = made_kernel if node.kernel_shape and node.op != "weights" else learnt
    inputs = [n for n in map(_size, node.in_shapes) if n is not None]
    made = _size(node.shape)
    return Count(
        node.name, node.op, node.shape, macs(node), _bias(node), _elements(node), learnt,
        width * sum(inputs) if width is not None and len(inputs) == len(node.in_shapes) else None,
        width * made if width is not None and made is not None else None, (width or 4) * stored,
    )  # fmt: skip


def macs(node: Node) -> int | None:
    """The multiplications of one node, None where they are not known."""
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(node)
    return 0 if node.op in _SILENT or node.op in _NO_PRODUCTS else None


def _whole(shape: tuple[int | None, ...] | None) -> tuple[int, ...] | None:
    sizes = tuple(n for n in shape or () if n is not None)
    return sizes if shape is not None and len(sizes) == len(shape) else None


def _size(shape: tuple[int | None, ...] | None) -> int | None:
    sizes = _whole(shape)
    return None if sizes is None else prod(sizes)


def _conv(node: Node) -> int | None:
    seen = _size(node.in_shapes[0] if node.transposed else node.shape)
    return None if seen is None else seen * prod(node.kernel_shape[1:])


def _linear(node: Node) -> int | None:
    made = _size(node.shape)
    return None if made is None else made * node.kernel_shape[1]


def _matmul(node: Node) -> int | None:
    made, shapes = _size(node.shape), [_whole(s) for s in node.in_shapes]
    known = [s for s in shapes if s is not None]
    if made is None or len(known) != len(shapes):
        return None
    if "scaled_dot_product" in node.word and len(known) >= 3:
        width, keys, depth = known[0][-1], known[1][-2], known[2][-1]
        return made // depth * keys * (width + depth)
    if node.word.endswith("einsum"):
        return _einsum(node, known)
    pair = known[-2:] if node.word.endswith("baddbmm") else known
    # With one computed operand the other is a constant whose sizes the node does not hold.
    return made * pair[0][-1] if len(pair) == 2 else None


def _einsum(node: Node, shapes: list[tuple[int, ...]]) -> int | None:
    equation = str(node.settings.get("equation", "")).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation or len(terms) != len(shapes) or len(terms) > 2:
        return None
    sizes = {a: n for term, shape in zip(terms, shapes, strict=True) for a, n in zip(term, shape, strict=True)}
    return prod(sizes.values())


_RULES: dict[str, Callable[[Node], int | None]] = {
    "conv": _conv,
    "linear": _linear,
    "matmul": _matmul,
    "unknown": lambda node: None,
}


def _bias(node: Node) -> int | None:
    return 0 if node.bias is None else _size(node.shape)


def _elements(node: Node) -> int | None:
    made = _size(node.shape)
    if node.op in ("max_pool", "avg_pool"):
        return None if made is None else made * prod(node.settings["window"])
    if node.op in ("reduce", "adaptive_pool"):
        return _size(node.in_shapes[0])
    return 0 if node.op in _SILENT or node.op in _RULES else made
