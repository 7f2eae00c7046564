"""How far the result of a whole network can move when its input moves: a guaranteed bound, step by step."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from faltung.certify.capture import Graph, Step, capture
from faltung.certify.norms import check_rtol
from faltung.certify.rules import factor
from faltung.errors import ArgumentError


@dataclass(frozen=True)
class Row:
    """One step: its name and operator, the module it belongs to, its own factor, and the bound up to it."""

    name: str
    op: str
    module: str
    factor: float
    bound: float


@dataclass(frozen=True)
class Lipschitz:
    """A bound of the Lipschitz constant of a model in the l2 norm.

    Fields:
        value: ‖f(x) − f(z)‖₂ ≤ value · ‖x − z‖₂ for all x and z of the example's shape.   rows: one for each step.
        unknown: the steps without a rule, each with its operator; where there are any on the way, the value is infinite.
        certified_for: the shape of the input, in words.
    """

    value: float
    rows: tuple[Row, ...]
    unknown: tuple[str, ...]
    certified_for: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        lines = [f"{'step':24} {'operator':28} {'factor':>10} {'bound':>12}"]
        lines += [f"{(r.module or r.name)[:24]:24} {r.op[:28]:28} {r.factor:10.4g} {r.bound:12.5g}" for r in self.rows]
        lines += [f"no rule for {name}" for name in self.unknown]
        return "\n".join([*lines, f"l2 Lipschitz constant at most {self.value:.6g} for {self.certified_for}"])


def lipschitz(model: nn.Module, example: Any, *, rtol: float = 0.01) -> Lipschitz:
    """A number that ‖f(x) − f(z)‖₂ / ‖x − z‖₂ never exceeds, for one sample of a model in evaluation mode.

    The model is traced by `torch.export` on the example's first sample, so functions, residual sums and branches count as
    modules do; what does not depend on the input (weight norm, kernels made from parameters) is computed. Bounds multiply
    along a chain, add in a sum, and join as √ΣL² in a concatenation or an elementwise maximum. A convolution counts with its
    padding, stride and groups and with the batch normalisation behind it (`spectral_norm` for the sizes of the example),
    pooling with the overlap of its windows, an activation with its largest slope, softmax with ½. A product of two parts that
    both depend on the input (attention) has no bound: it is infinite, and the step is named.

    Shapes: example (batch, ...), of which the first sample is taken; the bound holds for inputs of that shape.

    Args:
        model: a torch module that maps one tensor to one tensor; it is left as it was.
        rtol: as for `spectral_norm`, above 0. Default 0.01.

    Returns:
        A `Lipschitz`: `float(it)` is the bound, `str(it)` a table.

    Raises:
        ArgumentError: a model that cannot be traced, an rtol not above 0.   DtypeError: an example that is no real tensor.

    Error: the bound is of the exact map; rounding of a float32 network comes on top. Its own rounding is added.
    Cost: one trace, one evaluation, one norm for each linear step.
    Source: the composition rules are elementary; the norms are those of `spectral_norm`.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv1d(1, 1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 1))
        >>> for p in model.parameters():
        ...     _ = nn.init.constant_(p, 1.0)
        >>> bound = lipschitz(model, torch.zeros(1, 1, 5))
        >>> 3.8 <= float(bound) <= 4.001  # at most (1 + 1) · √4
        True
    """
    check_rtol("lipschitz", rtol)
    graph = capture(model, example, "lipschitz")
    rows, bounds, unknown = certified(graph, rtol)
    shape = " x ".join(map(str, graph.source.value.shape[1:]))
    return Lipschitz(bounds[graph.result], tuple(rows), tuple(unknown), f"inputs {shape}")


def certified(graph: Graph, rtol: float) -> tuple[list[Row], dict[Step, float], list[str]]:
    """(rows, the bound up to each step, what has no rule)."""
    bounds: dict[Step, float] = {graph.source: 1.0}
    rows: list[Row] = []
    unknown: list[str] = []
    for step in graph.steps[1:]:
        if not any(
            isinstance(part, Tensor) for part in (step.value if isinstance(step.value, (tuple, list)) else [step.value])
        ):
            bounds[step] = 0.0  # sizes and the like
            continue
        found = factor(step, rtol)
        if found is None:
            unknown.append(f"{step.name} ({step.op}{', in ' + step.module if step.module else ''})")
            own, bounds[step] = math.inf, math.inf
        else:
            own, sources, joined = found
            inputs = [bounds[s] for s in sources]
            whole = sum(inputs) if joined == "sum" else math.sqrt(sum(b * b for b in inputs))
            whole = inputs[0] if len(inputs) == 1 else whole
            bounds[step] = 0.0 if whole == 0 else own * whole * (1 + 2.0**-50)
        rows.append(Row(step.name, step.op, step.module, own, bounds[step]))
    if math.isnan(bounds[graph.result]):
        raise ArgumentError.of(
            "lipschitz", "a model with finite numbers", "NaN among its weights", "look at its parameters"
        )
    return rows, bounds, unknown
