"""How far an input may be moved before a classifier can change its mind."""

from typing import Any

import torch
from torch import Tensor, nn

from faltung.certify.capture import Step, capture
from faltung.certify.network import certified
from faltung.errors import ArgumentError
from faltung.readers import undisturbed


def radius(model: nn.Module, x: Any, labels: Tensor | None = None, *, rtol: float = 0.01) -> Tensor:
    """The l2 distance within which no perturbation changes the class that a model gives each sample.

    Formula: with logits z, `min over j ≠ y of (z_y − z_j) / L_yj`, L_yj a Lipschitz bound of z_y − z_j: of the part before the
    last linear map times ‖w_y − w_j‖₂ where the model ends with one, else √2 times that of the whole model.

    Shapes: x (batch, ...), labels (batch); returns (batch), 0 where the sample is not given its label.

    Args:
        model: maps (batch, ...) to logits (batch, classes); left as it was.
        labels: the classes to be certified. Default: those that the model gives.
        rtol: as for `lipschitz`.

    Raises:
        ArgumentError: logits of another shape, or a model that cannot be traced.

    Error: margins are those of the model's own arithmetic; the bound is that of `lipschitz`.
    Source: Tsuzuku, Sato and Sugiyama, Lipschitz-margin training (2018).

    Example:
        >>> model = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(model.weight)
        >>> radius(model, torch.tensor([[3.0, 1.0]]))  # the border x₀ = x₁ is 2 / √2 away
        tensor([1.4142])
    """
    graph = capture(model, x, "radius")
    _, bounds, _ = certified(graph, rtol)
    with undisturbed(model), torch.no_grad():
        logits = model(x).double()
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ArgumentError.of("radius", "logits (batch, classes)", f"shape {tuple(logits.shape)}", "wrap the model")
    labels = logits.argmax(1) if labels is None else labels
    margins = logits.gather(1, labels[:, None]) - logits
    reach = margins / _between(graph.result, bounds, logits.shape[1])[labels].to(logits.device)
    reach.scatter_(1, labels[:, None], torch.inf)
    return reach.amin(1).clamp(min=0).to(x.dtype)


def _between(last: Step, bounds: dict[Step, float], classes: int) -> Tensor:
    """Lipschitz bounds of the differences of logits, (classes, classes), rounded up."""
    weight = last.get("weight")
    if last.op == "aten.linear" and isinstance(weight, Tensor) and len(last.inputs) == 1:
        rows = weight.double()
        return (
            torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") * bounds[last.inputs[0]] * (1 + 1e-12)
        )
    return torch.full((classes, classes), 2**0.5 * bounds[last] * (1 + 1e-12), dtype=torch.float64)
