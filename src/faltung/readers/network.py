"""One small graph for networks of every source: the nodes that all looks, certificates and reports work on."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faltung.errors import ArgumentError

Shape = tuple[int | None, ...] | None  # None where the source does not say


# The kinds of node. Whatever is none of them is `unknown`, and looks say so instead of guessing.
OPS = {
    "input": "a signal that comes from outside",
    "conv": "a convolution with a kernel, transposed or not",
    "linear": "a matrix applied to the last axis",
    "norm": "batch, layer, group or instance normalisation",
    "activation": "a function of every element",
    "softmax": "a softmax along an axis",
    "max_pool": "the largest value of a window",
    "avg_pool": "the mean of a window",
    "adaptive_pool": "windows so that the result has a given size",
    "reduce": "a sum, mean or maximum over whole axes",
    "add": "a sum of signals, or of a signal and a constant",
    "mul": "a product of signals, or of a signal and a constant",
    "merge": "another function of several elements at one place",
    "concat": "signals side by side along an axis",
    "upsample": "a larger signal by repetition or interpolation",
    "pixel_shuffle": "channels spread over places",
    "pixel_unshuffle": "places gathered into channels",
    "pad": "a margin around the signal",
    "same": "what does not change the values when a model is evaluated",
    "reshape": "the same elements under other axes",
    "permute": "axes in another order",
    "slice": "a part of the elements",
    "expand": "repeated elements",
    "matmul": "a product of two computed matrices, as in attention",
    "embedding": "rows of a table",
    "weights": "a stored array of a file that holds no graph",
    "unknown": "anything else",
}


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of a network.

    Fields:
        name: where it is in the model, `layer1.0.conv1`; a second call of the same layer is `layer1.0.conv1:2`.
        op: one of `OPS`.   word: what the source calls it, `aten.conv2d`.
        inputs: the names of the nodes whose results it reads.   in_shapes: the shapes of these.   shape: of its result.
        kernel: read-only, as torch stores it: (out, in / groups, *k), transposed (in, out / groups, *k), linear (out, in). None
            where the values are not known; `kernel_shape` may still be.
        padding: a pair (before, after) for each axis.   boundary: what the margin holds, in the words of `numpy.pad`.
        parameters: the names of the parameters that it uses.   values: further arrays (gamma, beta, mean, var, operand).
        settings: further numbers (eps, slope, sizes, axes).   note: what the reader could not find out.
    """

    name: str
    op: str
    word: str
    inputs: tuple[str, ...] = ()
    in_shapes: tuple[Shape, ...] = ()
    shape: Shape = None
    dtype: str = ""
    kernel: np.ndarray | None = None
    kernel_shape: tuple[int, ...] = ()
    bias: np.ndarray | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    dilation: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    boundary: str = "constant"
    parameters: tuple[str, ...] = ()
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if self.op not in OPS:
            raise ArgumentError.of("Node", f"one of {', '.join(OPS)}", repr(self.op), "use 'unknown' for anything else")

    @property
    def ndim(self) -> int:
        """Spatial axes of a convolution's kernel."""
        return max(len(self.kernel_shape) - 2, 0) if self.op in ("conv", "weights") else 0

    @property
    def taps(self) -> tuple[int, ...]:
        """The kernel's sizes along the spatial axes; for a pool the window's."""
        return self.kernel_shape[2:] if self.op in ("conv", "weights") else tuple(self.settings.get("window", ()))

    @property
    def out_channels(self) -> int:
        """Channels of the result of a convolution or linear map."""
        return self.kernel_shape[1] * self.groups if self.transposed else self.kernel_shape[0]

    @property
    def in_channels(self) -> int:
        """Channels that a convolution or linear map reads."""
        return self.kernel_shape[0] if self.transposed else self.kernel_shape[1] * self.groups

    @property
    def depthwise(self) -> bool:
        """Whether every filter of the convolution reads one channel of several."""
        per_group = self.kernel_shape[0] // self.groups if self.transposed else self.kernel_shape[1]
        return (
            self.op == "conv"
            and self.groups > 1
            and self.groups == self.in_channels
            and (self.transposed or per_group == 1)
        )

    @property
    def filters(self) -> np.ndarray | None:
        """The kernel as (out, in / groups, *k), transposed or not; None where its values are not known."""
        if self.kernel is None or not self.transposed:
            return self.kernel
        first, second = self.kernel_shape[:2]
        grouped = self.kernel.reshape(self.groups, first // self.groups, second, *self.taps)
        return np.moveaxis(grouped, 2, 1).reshape(self.groups * second, first // self.groups, *self.taps)

    def __str__(self) -> str:
        parts = [f"{self.name}  {self.op}  {shown(self.shape)}"]
        if self.op == "conv":
            parts.append(f"kernel {shown(self.kernel_shape)}")
            parts += [
                f"{name} {shown(value)}"
                for name, value in (("stride", self.stride), ("dilation", self.dilation))
                if set(value) != {1}
            ]
            parts += [f"groups {self.groups}"] if self.groups > 1 else []
            parts += ["transposed"] if self.transposed else []
        return "  ".join([*parts, *([f"({self.note})"] if self.note else [])])


@dataclass(frozen=True, eq=False)
class Network:
    """The nodes of a network in the order in which they run.

    Fields:
        nodes: the operations.   inputs, outputs: names of nodes.
        source: what the graph was read from, and why from there.   notes: what could not be read, one sentence each.
        parameters: the sizes of all learnt arrays by name, each once, whether a node uses them or not.
        connected: False for files that hold arrays only, whose nodes are `weights` without edges.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    connected: bool = True
    _by_name: dict[str, Node] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {node.name: node for node in self.nodes})
        known: set[str] = set()
        for node in self.nodes:
            late = [name for name in node.inputs if name not in known]
            if late or node.name in known:
                came = f"{node.name!r} twice" if node.name in known else f"{node.name!r} before {late[0]!r}"
                raise ArgumentError.of(
                    "Network", "nodes with names of their own, each after its inputs", came, "sort the nodes"
                )
            known.add(node.name)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def convolutions(self) -> tuple[Node, ...]:
        """The convolutions in their order; of a file without a graph, the stored arrays with a kernel's axes."""
        return tuple(n for n in self.nodes if n.op == "conv" or (n.op == "weights" and n.ndim > 0))

    def once(self, nodes: Iterable[Node]) -> list[Node]:
        """Those nodes without further calls of the same parameters."""
        seen: set[tuple[str, ...]] = set()
        kept = []
        for node in nodes:
            if not node.parameters or node.parameters not in seen:
                kept.append(node)
            seen.add(node.parameters)
        return kept

    def successors(self, name: str) -> tuple[str, ...]:
        """The nodes that read a node's result."""
        return tuple(node.name for node in self.nodes if name in node.inputs)

    def reader(self, name: str) -> Node | None:
        """What alone reads a layer's result, None for several or for a result of the network.

        The layer's own bias, where that is an operation apart, belongs to the layer.
        """
        after = self.successors(name)
        if len(after) != 1 or name in self.outputs:
            return None
        found = self[after[0]]
        own = found.op == "add" and len(found.inputs) == 1 and found.name.partition(":")[0] == name.partition(":")[0]
        return self.reader(found.name) if own else found

    @property
    def parameter_count(self) -> int:
        """Learnt numbers, shared ones counted once."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    def __str__(self) -> str:
        return "\n".join([f"read from {self.source}", *map(str, self.nodes), *(f"note: {note}" for note in self.notes)])


def shown(shape: Iterable[int | None] | None) -> str:
    """A shape for people: `8 × 3 × 5 × 5`, `?` where it is not known."""
    if shape is None:
        return "?"
    return " × ".join("?" if n is None else str(n) for n in shape) or "scalar"


def read_only(array: Any) -> np.ndarray:
    """A NumPy view of a torch tensor or array that nobody can write through; numbers that NumPy lacks become float32.

    Shapes: any.   Cost: nothing where NumPy has the type, else one copy.
    """
    if not isinstance(array, np.ndarray):
        array = array.detach().cpu()
        try:
            array = array.resolve_conj().resolve_neg().numpy()
        except (TypeError, RuntimeError):  # bfloat16, eight-bit floats, quantised numbers
            array = (array.dequantize() if array.is_quantized else array.float()).numpy()
    view = array.view()
    view.flags.writeable = False
    return view
