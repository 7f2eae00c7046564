"""Which layers of a network keep distances from growing: the condition of frame theory, and filters scaled to meet it."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.affine import affine
from faltung.certify.capture import Graph, Step, capture
from faltung.certify.rules import factor
from faltung.certify.scattering import Scattering
from faltung.certify.scattering_solid import Scattering3d
from faltung.certify.slopes import slope
from faltung.errors import ArgumentError


@dataclass(frozen=True)
class FrameLayer:
    """One layer: filters, then nonlinearities, then pooling.

    Fields:
        name: the module of its filters.   energy: B, no signal gains more energy by the filters.   steep: L, the product of the
            slopes of nonlinearities.   pooling: R, the product of the norms of pooling.   zero: whether the nonlinearities leave 0.
    """

    name: str
    energy: float
    steep: float
    pooling: float
    zero: bool

    @property
    def bound(self) -> float:
        """max(B, B·L²·R²): at most 1 where the layer is admissible."""
        return max(self.energy, self.energy * (self.steep * self.pooling) ** 2)

    @property
    def admissible(self) -> bool:
        """Whether the layer meets the condition, up to rounding."""
        return self.bound <= 1 + 1e-9 and self.zero


@dataclass(frozen=True)
class Admissibility:
    """What `admissible` found; it prints as a table.

    Fields: layers; unknown: steps that the theory, which is about chains, does not know.   verdict: True, False, or None where
        all known layers are admissible but some steps are unknown.
    """

    layers: tuple[FrameLayer, ...]
    unknown: tuple[str, ...]
    _chain: tuple[nn.Module, Graph, list[Step]] | None = field(repr=False, compare=False, default=None)

    @property
    def verdict(self) -> bool | None:
        if not all(layer.admissible for layer in self.layers):
            return False
        return None if self.unknown else True

    def __str__(self) -> str:
        lines = [f"{'layer':24} {'B':>10} {'L':>8} {'R':>8} {'max(B, BL²R²)':>14}"]
        for x in self.layers:
            mark = "" if x.admissible else "  above 1" if x.zero else "  moves 0"
            lines.append(f"{x.name[:24]:24} {x.energy:10.4g} {x.steep:8.4g} {x.pooling:8.4g} {x.bound:14.4g}{mark}")
        lines += [f"not known: {name}" for name in self.unknown]
        words = {True: "admissible: distances never grow", False: "not admissible", None: "no verdict"}
        return "\n".join([*lines, words[self.verdict]])

    def rescale(self) -> nn.Module:
        """A copy of the model whose filters are divided by √max(B, BL²R²) wherever that is above 1.

        Biases, and means that normalisations subtract, are divided by all factors up to their layer, so that a network of
        rectifiers and poolings computes what it did, over the product of all factors.

        Raises:
            ArgumentError: steps that are not known, filters that are no parameter of their own.
        """
        if self._chain is None or self.unknown:
            came = ", ".join(self.unknown) or "fixed filters"
            raise ArgumentError.of("rescale", "a chain of layers with parameters", came, "scale its layers by hand")
        model, graph, last = self._chain
        return _rescaled(model, graph, last, [math.sqrt(max(1.0, layer.bound)) for layer in self.layers])


def admissible(model: nn.Module, example: Tensor, *, rtol: float = 0.01) -> Admissibility:
    """Whether a network's layers meet the condition under which features never move further than inputs, layer by layer.

    Formula: for layer n with filters that let no signal gain energy by more than B_n (`ess sup_ω σ₁(F(ω))²`, which for one input
    channel is `Σ_λ |ĝ_λ(ω)|²`), nonlinearities of Lipschitz constant L_n that leave 0 where it is, and pooling of norm R_n:
    `max(B_n, B_n L_n² R_n²) ≤ 1` for all n. Then `‖Φ(f) − Φ(h)‖ ≤ ‖f − h‖`. Without the condition `lipschitz` may still find a
    small bound of the whole.

    Shapes: example (batch, ...), of which the first sample is taken; the answer is for inputs of that shape.

    Args:
        model: a chain of convolutions or linear maps (batch normalisation folded), nonlinearities, poolings; or one of the
            scattering transforms; left as it was.   rtol: as for `spectral_norm`. Default 0.01.
    Returns:
        An `Admissibility`, whose `rescale()` is a copy of the model with admissible layers.
    Raises:
        ArgumentError: a model that cannot be traced.   DtypeError: an example that is no real tensor.
    Error: B is rounded up, so a verdict True is a guarantee; within rtol of 1 it may be refused.
    Cost: one trace, one norm for each layer.
    Source: Wiatowski and Bölcskei, A mathematical theory of deep convolutional neural networks for feature extraction (2018).

    Example:
        >>> model = nn.Sequential(nn.Conv1d(1, 2, 1, bias=False), nn.ReLU())
        >>> _ = nn.init.constant_(model[0].weight, 2.0)
        >>> found = admissible(model, torch.zeros(1, 1, 4))
        >>> found.verdict, admissible(found.rescale(), torch.zeros(1, 1, 4)).verdict
        (False, True)
    """
    if isinstance(model, (Scattering, Scattering3d)):
        ndim = 3 if isinstance(model, Scattering3d) else model.ndim
        energy = model.frame(tuple(example.shape[-ndim:])).upper
        return Admissibility(
            tuple(FrameLayer(f"order {n}", energy, 1.0, 1.0, True) for n in range(model.order + 1)), ()
        )
    graph = capture(model, example, "admissible")
    found, unknown, steps = _layers(graph, rtol)
    return Admissibility(tuple(found), tuple(unknown), (model, graph, steps))


def _layers(graph: Graph, rtol: float) -> tuple[list[FrameLayer], list[str], list[Step]]:
    """(layers, what is not known, the last linear step of each layer)."""
    groups: list[tuple[Step, float, float, float, bool]] = []
    unknown: list[str] = []
    for step in graph.steps[1:]:
        if not isinstance(step.value, Tensor):
            continue
        before = step.inputs
        rule = factor(step, rtol) if len(before) == 1 else None
        if rule is None:
            unknown.append(f"{step.name} ({step.op})")
            continue
        known, steep = affine(step), slope(step)
        own = rule[0]
        if known is not None or step.op in ("aten.linear", "aten.batch_norm"):
            if groups and known is not None and groups[-1][0] in _behind(step, known.source):
                groups[-1] = (step, own, *groups[-1][2:])  # a normalisation or a bias belongs to the filters before it
            else:
                groups.append((step, own, 1.0, 1.0, True))
        elif not groups:
            unknown += [f"{step.name} ({step.op}) before the first layer"] if own != 1 or steep is not None else []
        else:
            last, energy, l, r, zero = groups[-1]
            if steep is not None:
                still = step.call(
                    *(torch.zeros_like(a.value) if isinstance(a, Step) else a for a in step.args), **step.kwargs
                )
                groups[-1] = (last, energy, l * steep, r, zero and not bool(still.any()))
            else:
                groups[-1] = (last, energy, l, r * own, zero)
    layers = [FrameLayer(s.module or s.name, energy**2, l, r, zero) for s, energy, l, r, zero in groups]
    return layers, unknown, [s for s, *_ in groups]


def _behind(step: Step, source: Step) -> list[Step]:
    """The steps from a step back to the source of what it is an affine map of, without that."""
    found = [step]
    while found[-1].inputs and found[-1].inputs[0] is not source:
        found.append(found[-1].inputs[0])
    return found


def _rescaled(model: nn.Module, graph: Graph, last: list[Step], scales: list[float]) -> nn.Module:
    made = copy.deepcopy(model)
    names = {t.data_ptr(): name for name, t in [*model.named_parameters(), *model.named_buffers()] if t.numel()}
    targets = dict([*made.named_parameters(), *made.named_buffers()])
    touched: set[str] = set()
    whole = 1.0

    def divide(value: Any, by: float, step: Step) -> None:
        if value is None:
            return
        name = names.get(value.data_ptr()) if isinstance(value, Tensor) else None
        if name is None or name in touched or targets[name].shape != value.shape:
            came = f"{step.name} ({step.op})"
            raise ArgumentError.of(
                "rescale", "filters and biases that are parameters, each used once", came, "scale it by hand"
            )
        touched.add(name)
        with torch.no_grad():
            targets[name].div_(by)

    steps = graph.steps[1:]
    start = 0
    for step, scale in zip(last, scales, strict=True):
        whole *= scale
        stop = steps.index(step) + 1
        own = [s for s in steps[start:stop] if isinstance(s.get("weight"), Tensor)]
        start = stop
        for n, part in enumerate(own):
            if part.op == "aten.batch_norm":
                divide(part.get("running_mean"), whole / (1 if n else scale), part)
                if n == 0:  # a layer of its own
                    divide(part.get("weight"), scale, part)
            else:
                divide(part.get("weight"), scale, part)
            divide(part.get("bias"), whole, part)
        if not own:
            raise ArgumentError.of("rescale", "layers with a weight", f"{step.name} ({step.op})", "scale it by hand")
    return made
