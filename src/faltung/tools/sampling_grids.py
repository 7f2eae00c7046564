"""Where a traced model samples with a stride, and which of its sampling grids must agree because their signals meet."""

from dataclasses import dataclass, field
from typing import Any

from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from faltung.certify.steps import LayerTracer
from faltung.errors import ArgumentError
from faltung.nn import Conv, ConvLayer, ConvTranspose

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, ConvLayer)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, ConvTranspose)
MAXIMA = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
MEANS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ENLARGING = (nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.PixelShuffle, *TRANSPOSED)
FUNCTIONS = {
    functional.max_pool1d: nn.MaxPool1d, functional.max_pool2d: nn.MaxPool2d, functional.max_pool3d: nn.MaxPool3d,
    functional.avg_pool1d: nn.AvgPool1d, functional.avg_pool2d: nn.AvgPool2d, functional.avg_pool3d: nn.AvgPool3d,
}  # fmt: skip


@dataclass
class Sampling:
    """A step that samples with a stride: its node, module, strides, and the earlier step whose grid it has to share."""

    node: fx.Node
    module: nn.Module
    stride: tuple[int, ...]
    size: tuple[int, ...]
    leader: "Sampling | None" = None

    @property
    def name(self) -> str:
        return str(self.node.target) if self.node.op == "call_module" else self.node.name

    @property
    def first(self) -> "Sampling":
        """The step whose grid this one takes."""
        return self if self.leader is None else self.leader.first


@dataclass
class Grids:
    """The traced model: its samplings in order, what enlarges again and undoes which sampling, and what does not fit."""

    graph: fx.GraphModule
    samplings: list[Sampling] = field(default_factory=list)
    undone: list[tuple[fx.Node, Sampling]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.graph.get_submodule(str(node.target)) if node.op == "call_module" else None


def shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's result, () where it is no tensor."""
    known = node.meta.get("tensor_meta")
    return tuple(known.shape) if hasattr(known, "shape") else ()


def read(model: nn.Module, x: Any) -> Grids:
    """The sampling grids of a model, which is called once with x.

    Raises:
        ArgumentError: a model that torch.fx cannot trace.
    """
    try:
        graph = fx.GraphModule(model, LayerTracer().trace(model), type(model).__name__)
    except Exception as error:  # whatever the model's code does when it is traced
        raise ArgumentError.of(
            "antialias", "a model that torch.fx traces", f"{type(error).__name__}: {error}",
            "rewrite the parts that decide by values, or trace a part of the model",
        ) from error  # fmt: skip
    graph.train(model.training)
    _pools_as_modules(graph)
    ShapeProp(graph).propagate(*(x if isinstance(x, tuple) else (x,)))
    grids = Grids(graph)
    on: dict[fx.Node, tuple[Sampling, ...]] = {}
    for node in graph.graph.nodes:
        feeds = [on[n] for n in node.all_input_nodes if len(shape(n)) > 2 and n in on]
        longest = max(feeds, key=len, default=())
        for other in feeds:
            if len(other) != len(longest):
                grids.notes.append(f"{node.name}: signals meet that were sampled {len(other)} and {len(longest)} times")
                continue
            for a, b in zip(longest, other, strict=True):
                _shared(a.first, b.first, grids.samplings)
        module = grids.module(node)
        stride = _stride(module)
        if module is not None and any(s > 1 for s in stride):
            place = Sampling(node, module, stride, shape(node.all_input_nodes[0])[2:])
            grids.samplings.append(place)
            longest = (*longest, place)
        elif longest and _enlarges(node, module):
            grids.undone.append((node, longest[-1]))
            longest = longest[:-1]
        on[node] = longest
    return grids


def _shared(a: Sampling, b: Sampling, order: list[Sampling]) -> None:
    """Two samplings whose signals meet take the grid of the first."""
    if a is b:
        return
    early, late = sorted((a, b), key=order.index)
    late.leader = early


def _stride(module: nn.Module | None) -> tuple[int, ...]:
    """The strides of a module that samples, () for all others."""
    if isinstance(module, TRANSPOSED) or not isinstance(module, (*CONVOLUTIONS, Conv, *MAXIMA, *MEANS)):
        return ()
    given: Any = module.stride
    ndim = module.weight.ndim - 2 if isinstance(module, CONVOLUTIONS[:3]) else getattr(module, "ndim", None)
    if ndim is None:
        ndim = int(type(module).__name__[-2])
    return tuple(given) if isinstance(given, (tuple, list)) else (int(given),) * ndim


def _enlarges(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node brings a signal back to a finer grid."""
    if isinstance(module, TRANSPOSED):
        given: Any = module.stride
        return any(s > 1 for s in (given if isinstance(given, (tuple, list)) else (given,)))
    return isinstance(module, ENLARGING) or (node.op == "call_function" and node.target is functional.interpolate)


def _pools_as_modules(graph: fx.GraphModule) -> None:
    """Calls of pooling functions as modules with the same settings, so that both are rewritten alike."""
    known = {getattr(f, "__name__", str(f)): kind for f, kind in FUNCTIONS.items()}
    for node in list(graph.graph.nodes):
        name = getattr(node.target, "__name__", "") if node.op == "call_function" else ""
        kind = known.get(name.removeprefix("boolean_dispatch")) or FUNCTIONS.get(node.target)
        if kind is None:
            continue
        settings = dict(zip(("kernel_size", "stride", "padding"), node.args[1:], strict=False)) | {
            key: value for key, value in node.kwargs.items() if key in ("kernel_size", "stride", "padding")
        }
        usual = {
            "dilation": 1,
            "ceil_mode": False,
            "return_indices": False,
            "count_include_pad": True,
            "divisor_override": None,
        }
        if len(node.args) > 4 or any(node.kwargs.get(key, value) != value for key, value in usual.items()):
            continue  # such a call stays what it is
        at = f"{node.name}_pool"
        graph.add_submodule(at, kind(**settings))
        with graph.graph.inserting_after(node):
            made = graph.graph.call_module(at, (node.args[0] if node.args else node.kwargs["input"],))
        node.replace_all_uses_with(made)
        graph.graph.erase_node(node)
    graph.recompile()
