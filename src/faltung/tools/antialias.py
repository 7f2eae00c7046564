"""A model whose samplings and activations keep shifts, from one that does not, with its weights: `antialias`."""

import copy as copies
import fnmatch
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from faltung import certify
from faltung.errors import ArgumentError, DtypeError
from faltung.nn import AliasFreeActivation, BlurPool, Conv, ConvTranspose, IdealResample, MaxBlurPool
from faltung.nn.functional import margins, numbers, roll_each
from faltung.nn.functional.polyphase import offsets
from faltung.nn.phase.polyphase import PolyphaseAnchor, PolyphaseDownsample
from faltung.readers import undisturbed
from faltung.tools.sampling_grids import CONVOLUTIONS, MAXIMA, MEANS, TRANSPOSED, Grids, Sampling, read, shape

WAYS = ("blur", "polyphase", "anchor", "alias-free", None)
_ACTS: dict[Any, Any] = {
    nn.ReLU: torch.relu, nn.GELU: nn.functional.gelu, nn.SiLU: nn.functional.silu, nn.Tanh: torch.tanh,
    nn.ELU: nn.functional.elu, nn.LeakyReLU: nn.functional.leaky_relu, nn.Sigmoid: torch.sigmoid,
    nn.Softplus: nn.functional.softplus, nn.Mish: nn.functional.mish, nn.ReLU6: nn.functional.relu6,
    nn.Hardswish: nn.functional.hardswish,
}  # fmt: skip
_NAMES = {"relu": torch.relu, "relu_": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid} | {
    f.__name__: f for f in _ACTS.values()
}
_POINTWISE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.Identity)


@dataclass(frozen=True)
class Row:
    """One changed layer: its name, what it was, what stands there now, and what is to be known of that."""

    name: str
    before: str
    after: str
    note: str = ""


@dataclass(frozen=True)
class Antialiased:
    """What `antialias` did: the model, a row for each change, notes, and what was measured before and after (`certify`)."""

    model: nn.Module
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    before: Any
    after: Any

    def __str__(self) -> str:
        lines = [(r.name, r.before, f"→ {r.after}" + (f" ({r.note})" if r.note else "")) for r in self.rows]
        widths = [max((len(line[n]) for line in lines), default=0) for n in range(2)]
        text = [f"{name.ljust(widths[0])}  {was.ljust(widths[1])}  {now}" for name, was, now in lines]
        text += list(self.notes)
        for word, report in (("before", self.before), ("after", self.after)):
            share = "" if report.consistency is None else f", decisions kept {report.consistency:.2%}"
            text.append(f"{word}: {report.action}: error {report.error:.1e}{share}")
        return "\n".join(text)

    def __repr__(self) -> str:
        return str(self)


def antialias(
    model: nn.Module, x: Any, how: Any = "blur", *, kernel_size: int = 4, degree: int = 2, count: int = 16
) -> Antialiased:
    """Rewrite a CNN so that shifts of its input no longer change what it says, or change it less, and keep its weights.

    Every layer that samples with a stride is computed at all places and then sampled:

    - `blur`: after a small blur, behind the normalisation and activation that follow. Less aliasing, no guarantee.
    - `polyphase`: on the grid where the signal is largest. Exact for circular shifts by whole samples; margins become circular.
    - `anchor`: the same by rolling the input of the layer to the chosen grid first, at no cost: for patches and
      large strides.
    - `alias-free`: by the ideal low-pass, maxima by means, and activations by polynomials between ideal enlarging and shrinking.
      Exact for shifts of any length; the function changes (a quadratic fit of the activation), so train it further.

    Branches that meet again share one grid; layers that enlarge put signals back on the grid that was chosen, so U-Nets move
    with their input, too. What flattens maps into vectors still sees where things are: pool over all places before.

    Args:
        model: one that torch.fx traces; left as it is.   x: what it is called with, to know sizes and to measure.
        how: one of these for all layers, or patterns of names with one for each, the first that fits:
            `{"stem.*": None, "*": "blur"}`, None to leave a layer alone. Default blur.
        kernel_size: taps of the blur. Default 4.   degree: of the polynomials. Default 2.
        count: shifts by which is measured, before and after. Default 16.

    Returns:
        `Antialiased`: the model (a `torch.fx.GraphModule` with the same parameters' names), what changed, and the measures.

    Raises:
        ArgumentError: another way, a model without samplings, one that cannot be traced, sizes that strides do not divide where
            that is needed.   DtypeError: no torch module.

    Cost: a sampled layer costs stride^ndim of what it did, but for `anchor`.
    Source: Zhang, Making convolutional networks shift-invariant again (2019); Chaman and Dokmanić, Truly shift-invariant
    convolutional neural networks (2021); Michaeli, Michaeli and Soudry, Alias-free convnets (2023); Ding et al. (2023).

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> antialias(model, torch.randn(2, 1, 8, 8), "polyphase").after.error < 1e-5
        True
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise DtypeError.of("antialias", "a torch module in Python", type(model).__name__, "pass the model itself")
    ways = dict(how) if isinstance(how, Mapping) else {"*": how}
    if not set(ways.values()) <= set(WAYS):
        raise ArgumentError.of("antialias", f"ways among {WAYS}", repr(how), "use 'blur'")
    inputs = x if isinstance(x, tuple) else (x,)
    fractional = set(ways.values()) <= {"alias-free", None}
    kind = "fractional shift" if fractional else "shift"
    before = certify.equivariance(model, kind, inputs, count=count, layers=None)
    with torch.no_grad(), undisturbed(model):
        work = copies.deepcopy(model)
        grids = read(work, inputs)
    rewriting = _Rewriting(grids, ways, kernel_size, degree)
    rewriting.run()
    made = grids.graph
    made.graph.lint()
    made.recompile()
    made.train(model.training)
    kept = dict(made.named_modules())
    for name, module in model.named_modules():  # parts that were frozen in evaluation mode
        if name in kept and not list(module.children()):
            kept[name].train(module.training)
    after = certify.equivariance(made, kind, inputs, count=count, layers=None)
    return Antialiased(
        made, tuple(rewriting.rows), tuple(dict.fromkeys((*grids.notes, *rewriting.notes))), before, after
    )


class _Rewriting:
    """One rewriting of a traced model: which way each layer goes, and the rows of the report."""

    def __init__(self, grids: Grids, ways: dict[str, Any], kernel_size: int, degree: int) -> None:
        self.grids, self.ways, self.kernel_size, self.degree = grids, ways, kernel_size, degree
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.shifts: dict[fx.Node, fx.Node] = {}

    def way(self, name: str) -> str | None:
        """How the layer of that name is to be treated."""
        return next((way for pattern, way in self.ways.items() if fnmatch.fnmatchcase(name, pattern)), None)

    def run(self) -> None:
        samplings = {place.node: place for place in self.grids.samplings}
        chosen = [place for place in self.grids.samplings if self.way(place.name) is not None]
        acts = "alias-free" in self.ways.values()
        if not chosen and not acts:
            known = ", ".join(place.name for place in self.grids.samplings) or "none"
            raise ArgumentError.of(
                "antialias", "layers that sample with a stride", f"{self.ways} among {known}", "check the names"
            )
        for node in list(self.grids.graph.graph.nodes):
            if node in samplings:
                if samplings[node] in chosen:
                    self.sample(samplings[node])
            elif node.op in ("call_module", "call_function", "call_method"):
                self.between(node)
        for node, place in self.grids.undone:
            self.undo(node, place)

    def sample(self, place: Sampling) -> None:
        """The sampling done the way that its name asks for."""
        way = self.way(place.name)
        before = " ".join(repr(place.module).split())[:60]
        uneven = any(n % s for n, s in zip(place.size, place.stride, strict=True))
        note = ""
        if uneven and way != "blur":
            if way == "alias-free":
                raise ArgumentError.of(
                    "antialias", f"sizes that the stride {place.stride} of {place.name!r} divides", f"{place.size}",
                    "give inputs of another size, or leave that layer out",
                )  # fmt: skip
            note = f"sizes {place.size} that the stride does not divide: not exact"
        if way == "anchor":
            self.anchored(place)
        else:
            self.dense(place, way)
            self.sampled(place, str(way))
        self.rows.append(Row(place.name, before, str(way), note))

    def dense(self, place: Sampling, way: str | None) -> None:
        """The layer at every place."""
        module: Any = place.module
        ndim = len(place.stride)
        circular = way != "blur"
        if isinstance(module, CONVOLUTIONS):
            made = self.circular(place.node, module) if circular else module
            made.stride = (1,) * ndim
            self.put(place.node, made)
            return
        whole = not any(n % s for n, s in zip(place.size, place.stride, strict=True))
        if circular or isinstance(module, MAXIMA):
            self.put(place.node, self.pooled(module, ndim, way, place.name))
        elif whole and _window(module, ndim, place.name) == (place.stride[0], 0):
            self.put(place.node, nn.Identity())  # the blur is the mean
        else:
            module.stride = (1,) * ndim

    def pooled(self, module: Any, ndim: int, way: str | None, name: str, stride: Any = 1) -> nn.Module:
        """A pooling, at every place unless a stride is given, the maximum as a mean where no new waves may be made."""
        window, around = _window(module, ndim, name)
        if isinstance(module, MAXIMA) and way != "alias-free":
            return MaxBlurPool(ndim, window, stride, around, 1, "binomial", "reflect" if way == "blur" else "circular")
        if isinstance(module, MAXIMA):
            self.notes.append(f"{name}: the maximum became a mean, which makes no new waves")
        return BlurPool(ndim, stride, filter=[1.0] * window, padding_mode="circular")

    def sampled(self, place: Sampling, way: str) -> None:
        """The samples that are kept, after the layer; with a blur, after the activation that follows."""
        ndim, graph = len(place.stride), self.grids.graph.graph
        if way == "blur":
            node = self.behind(place.node)
            self.after(node, BlurPool(ndim, place.stride, self.kernel_size), f"{node.name}_blur")
        elif way == "alias-free":
            self.after(place.node, IdealResample(ndim, down=place.stride), f"{place.node.name}_down")
        else:
            down = self.after(place.node, PolyphaseDownsample(ndim, place.stride), f"{place.node.name}_down")
            with graph.inserting_after(down):
                index = graph.call_function(operator.getitem, (down, 1))
                y = graph.call_function(operator.getitem, (down, 0))
            down.replace_all_uses_with(y, delete_user_cb=lambda user: user not in (y, index))
            known = self.shared(place)
            if known is not None:
                down.args = (down.args[0], known)
            self.shifts[place.node] = index

    def anchored(self, place: Sampling) -> None:
        """The layer's input rolled to the chosen grid."""
        module: Any = place.module
        graph, given = self.grids.graph.graph, place.node.args[0]
        at = self.named(f"{place.node.name}_anchor", PolyphaseAnchor(len(place.stride), place.stride))
        known = self.shared(place)
        with graph.inserting_before(place.node):
            both = graph.call_module(at, (given,) if known is None else (given, known))
            rolled = graph.call_function(operator.getitem, (both, 0))
            shift = graph.call_function(operator.getitem, (both, 1))
        place.node.args = (rolled, *place.node.args[1:])
        if isinstance(module, CONVOLUTIONS):
            self.put(place.node, self.circular(place.node, module))
        else:
            self.put(place.node, self.pooled(module, len(place.stride), "anchor", place.name, place.stride))
        self.shifts[place.node] = shift

    def shared(self, place: Sampling) -> fx.Node | None:
        """The grid that another branch has chosen already."""
        first = place.first
        if first is place or first.node not in self.shifts:
            return None
        if self.way(first.name) != self.way(place.name) or first.stride != place.stride:
            self.notes.append(f"{place.name} and {first.name} meet, and sample in different ways: not exact")
            return None
        return self.shifts[first.node]

    def undo(self, node: fx.Node, place: Sampling) -> None:
        """What was enlarged back on the grid that was chosen."""
        known = self.shifts.get(place.first.node)
        if known is None:
            return
        before = shape(node.all_input_nodes[0])[2:]
        if shape(node)[2:] != tuple(m * s for m, s in zip(before, place.stride, strict=True)):
            self.notes.append(f"{node.name} does not undo the stride of {place.name}: not exact")
            return
        graph = self.grids.graph.graph
        module = self.grids.module(node)
        if isinstance(module, TRANSPOSED):
            made: Any = module if isinstance(module, ConvTranspose) else ConvTranspose.from_torch(module)
            made.padding_mode = "circular"
            self.put(node, made)
        users = list(node.users)
        with graph.inserting_after(node):
            moved = graph.call_function(roll_each, (node, known))
        if self.way(place.first.name) == "polyphase":
            with graph.inserting_before(moved):
                moved.args = (node, graph.call_function(offsets, (known, place.stride)))
        for user in users:
            user.replace_input_with(node, moved)
        was = type(module).__name__ if module else node.name
        self.rows.append(Row(str(node.target), was, f"on the grid of {place.first.name}"))

    def between(self, node: fx.Node) -> None:
        """Layers that do not sample: margins that go round, activations that make no aliases."""
        module: Any = self.grids.module(node)
        name = str(node.target) if module is not None else node.name
        way = self.way(name)
        if way in (None, "blur") or len(shape(node)) < 3:
            return
        if isinstance(module, CONVOLUTIONS):
            if module.padding_mode != "circular" and any(any(pair) for pair in _pads(module)):
                self.put(node, self.circular(node, module))
            return
        if isinstance(module, (*MAXIMA, *MEANS)):  # those of stride 1
            self.put(node, self.pooled(module, len(shape(node)) - 2, way, name))
            return
        word = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
        act = _ACTS.get(type(module)) if module is not None else _NAMES.get(str(word))
        if way != "alias-free" or act is None:
            return
        found = shape(node)
        made = AliasFreeActivation(len(found) - 2, found[1], self.degree, dtype=node.meta["tensor_meta"].dtype)
        made.polynomial.fit(act)
        graph, at = self.grids.graph.graph, self.named(f"{node.name}_free", made)
        with graph.inserting_after(node):
            free = graph.call_module(at, (node.all_input_nodes[0],))
        node.replace_all_uses_with(free)
        graph.erase_node(node)
        was = type(module).__name__ if module is not None else str(word)
        self.rows.append(Row(name, was, "alias-free", f"polynomial of degree {self.degree}"))

    def circular(self, node: fx.Node, module: Any) -> Any:
        """The convolution with margins from the signal's other end, so wide that no place is lost."""
        made: Any = copies.copy(module) if not isinstance(module, CONVOLUTIONS[:3]) else Conv.from_torch(module)
        pads = []
        for (lo, hi), d, t in zip(_pads(module), made.dilation, made.kernel_size, strict=True):
            around = d * (t - 1)
            if lo > around:
                raise ArgumentError.of(
                    "antialias", f"a margin of at most {around} at {node.target!r}", f"{lo}", "leave that layer out"
                )
            if lo + hi < around - d and made.stride == (1,) * len(made.stride):
                self.notes.append(f"{node.target}: results grow from the inner part to the whole circle")
            pads.append((lo, around - lo))
        made.padding, made.padding_mode = tuple(pads), "circular"
        return made

    def behind(self, node: fx.Node) -> fx.Node:
        """The last of the normalisations and activations that follow a layer and nothing else reads in between."""
        while len(node.users) == 1:
            (user,) = node.users
            module = self.grids.module(user)
            word = user.target if user.op == "call_method" else getattr(user.target, "__name__", "")
            act = type(module) in _ACTS or isinstance(module, _POINTWISE)
            if not act and not (module is None and str(word) in _NAMES):
                break
            node = user
        return node

    def after(self, node: fx.Node, module: nn.Module, name: str) -> fx.Node:
        """The module's node after this one, read by all that read this one."""
        graph = self.grids.graph.graph
        at = self.named(name, module)
        users = list(node.users)
        with graph.inserting_after(node):
            made = graph.call_module(at, (node,))
        for user in users:
            user.replace_input_with(node, made)
        return made

    def put(self, node: fx.Node, module: nn.Module) -> None:
        """Another module under the same name."""
        parent, _, child = str(node.target).rpartition(".")
        module.train(self.grids.graph.get_submodule(str(node.target)).training)
        setattr(self.grids.graph.get_submodule(parent), child, module)

    def named(self, name: str, module: nn.Module) -> str:
        """A name of its own for a new module."""
        taken = {n for n, _ in self.grids.graph.named_modules()}
        while name in taken or hasattr(self.grids.graph, name):
            name += "_"
        self.grids.graph.add_submodule(name, module)
        return name


def _pads(module: Any) -> tuple[tuple[int, int], ...]:
    """The margins of a convolution, a pair for each axis."""
    return margins(module.padding, module.stride, module.dilation, tuple(module.kernel_size))


def _window(module: Any, ndim: int, name: str) -> tuple[int, int]:
    """The side of a pooling's window and its margin.

    Raises:
        ArgumentError: other windows along other axes, a dilation.
    """
    window, around = (numbers(what, getattr(module, what), ndim, 0) for what in ("kernel_size", "padding"))
    spread = numbers("dilation", getattr(module, "dilation", 1), ndim, 1)
    if len(set(window)) > 1 or len(set(around)) > 1 or spread != (1,) * ndim:
        raise ArgumentError.of(
            "antialias",
            f"a pooling {name!r} with one window for all axes and no dilation",
            repr(module),
            "leave it out",
        )
    return window[0], around[0]
