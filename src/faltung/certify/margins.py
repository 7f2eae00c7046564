"""How far an input may be moved before a classifier can change its mind."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.box import Box
from faltung.certify.capture import Graph, Step, capture
from faltung.certify.crown import crown_boxes, least
from faltung.certify.network import certified
from faltung.certify.norms import check_rtol
from faltung.certify.reach import check_finite
from faltung.errors import ArgumentError
from faltung.readers import undisturbed

NORMS = ("l2", "linf")


def radius(model: nn.Module, x: Any, labels: Tensor | None = None, *, rtol: float = 0.01, norm: str = "l2") -> Tensor:
    """The distance, in l2 or l∞, within which no perturbation changes the class that a model gives each sample.

    Formula: l2: with logits z, `min over j ≠ y of (z_y − z_j) / L_yj`, L_yj a Lipschitz bound of z_y − z_j: of the part before the
    last linear map times ‖w_y − w_j‖₂ where the model ends with one, else √2 times that of the whole model.
    l∞: the largest width found, by halving, of a box in which linear relaxation (CROWN) keeps all z_y − z_j above 0; at least that
    of l2 over the root of the number of inputs.

    Shapes: x (batch, ...), labels (batch); returns (batch), 0 where the sample is not given its label.

    Args:
        model: maps (batch, ...) to logits (batch, classes); left as it was.
        labels: the classes to be certified. Default: those that the model gives.
        rtol: as for `lipschitz`, above 0; and how near to each other the halves of l∞ come.
        norm: `l2` or `linf`. Default l2.

    Raises:
        ArgumentError: another norm, an rtol not above 0, samples that are not finite, logits or labels of another shape, a model
            that cannot be traced, or, for l∞, a step that `local_lipschitz` has no rule for.

    Error: margins of l2 are those of the model's own arithmetic, those of l∞ are in float64; bounds are those of `lipschitz` and
        `interval`. Rounded down to the precision of x.
    Cost: of l∞ for each sample some twenty times `interval` with `crown`.
    Source: Tsuzuku, Sato and Sugiyama, Lipschitz-margin training (2018); Zhang et al., CROWN (2018).

    Example:
        >>> model = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(model.weight)
        >>> radius(model, torch.tensor([[3.0, 1.0]]))  # the border x₀ = x₁ is 2 / √2 away
        tensor([1.4142])
    """
    if norm not in NORMS:
        raise ArgumentError.of("radius", f"a norm among {', '.join(NORMS)}", repr(norm), "choose one of these")
    check_rtol("radius", rtol)
    graph = capture(model, x, "radius")
    check_finite("radius", x)
    _, bounds, _ = certified(graph, rtol)
    with undisturbed(model), torch.no_grad():
        logits = model(x).double()
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ArgumentError.of("radius", "logits (batch, classes)", f"shape {tuple(logits.shape)}", "wrap the model")
    labels = _labels(labels, logits)
    margins = logits.gather(1, labels[:, None]) - logits
    reach = margins / _between(graph.result, bounds, logits.shape[1]).to(logits.device)[labels]
    # no distance where there is no margin, as between equal logits that move as one (0 / 0), or where logits overflowed
    reach = torch.where((reach > 0) & margins.isfinite(), reach * (1 - 2.0**-50), 0.0).scatter_(
        1, labels[:, None], torch.inf
    )
    near = reach.amin(1)
    if norm == "linf":
        places = zip(x.detach().double().split(1), labels.tolist(), near.tolist(), strict=True)
        root = graph.source.value.numel() ** 0.5
        with undisturbed(model):
            # what l2 says may be 0, where its bound is infinite
            found = [_box_width(graph, one, label, least_ / root, rtol) for one, label, least_ in places]
        near = torch.tensor(found, dtype=torch.float64, device=near.device)
    return _down(near, x.dtype)


def _labels(labels: Any, logits: Tensor) -> Tensor:
    """The class of each sample that is to be certified, where the logits are."""
    if labels is None:
        return logits.argmax(1)
    count, classes = logits.shape
    found = torch.as_tensor(labels).to(logits.device)
    whole = not (found.is_floating_point() or found.is_complex())
    if found.shape != (count,) or not whole or not bool(((found >= 0) & (found < classes)).all()):
        came = f"shape {tuple(found.shape)} of {found.dtype}, {found.flatten()[:4].tolist()}"
        raise ArgumentError.of(
            "radius", f"labels ({count}), 0 to {classes - 1}", came, "give one class for each sample"
        )
    return found.long()


def _down(values: Tensor, dtype: torch.dtype) -> Tensor:
    """In another precision, no value larger than it was."""
    found = values.to(dtype)
    return torch.where(found.double() > values, found.nextafter(torch.zeros_like(found)), found)


def _box_width(graph: Graph, sample: Tensor, label: int, known: float, rtol: float) -> float:
    """The largest half width found of a box in which a label is kept."""
    classes = graph.result.value.shape[1]
    rows = -torch.eye(classes, dtype=torch.float64)
    rows[:, label] += 1
    rows = rows[[j for j in range(classes) if j != label]]

    def kept(eps: float) -> bool:
        boxes = crown_boxes(graph, Box(sample, torch.full_like(sample, eps)), "radius")
        return bool((least(graph, boxes, graph.result, rows[:, None]) > 0).all())

    if not kept(0.0):
        return 0.0
    if math.isinf(known):  # nothing depends on the input
        return known
    # what l2 says comes from the model's own precision, which here counts for nothing
    low, high = known if kept(known) else 0.0, max(2 * known, 1e-3 * float(sample.abs().max()), 1e-6)
    for _ in range(60):
        if not kept(high):
            break
        low, high = high, 2 * high
    else:
        return low
    while high - low > rtol * high and high > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low


def _between(last: Step, bounds: dict[Step, float], classes: int) -> Tensor:
    """Lipschitz bounds of the differences of logits, (classes, classes), rounded up."""
    weight = last.get("weight")
    if last.op == "aten.linear" and isinstance(weight, Tensor) and len(last.inputs) == 1:
        rows = weight.double()
        return (
            torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") * bounds[last.inputs[0]] * (1 + 1e-12)
        )
    return torch.full((classes, classes), 2**0.5 * bounds[last] * (1 + 1e-12), dtype=torch.float64)
