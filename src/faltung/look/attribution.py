"""Where in the input a class was seen: maps of the family of Grad-CAM in any number of axes, and how faithful a map is."""

from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from faltung.errors import ArgumentError
from faltung.readers import first_tensor, traced, undisturbed

_RESIZE = {1: "linear", 2: "bilinear", 3: "trilinear"}
METHODS = ("gradcam++", "gradcam", "layercam", "hires")


def cam_weights(maps: Tensor, gradients: Tensor) -> Tensor:
    """The weight of each feature map by Grad-CAM++.

    Formula: α = g² / (2 g² + (Σ A) g³), 0 where that has no value; w = Σ α · max(g, 0). The factor exp(S) of the
    paper is the same for all maps and is left out.

    Shapes: maps A and gradients g = ∂S/∂A (batch, channels, *m); returns (batch, channels).
    Source: Chattopadhyay, Sarkar, Howlader and Balasubramanian, Grad-CAM++ (2018).

    Example:
        >>> a = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
        >>> round(cam_weights(a, torch.full_like(a, 0.5)).item() * 7, 5)
        2.0
    """
    axes = tuple(range(2, maps.ndim))
    square = gradients**2
    below = 2 * square + maps.sum(axes, keepdim=True) * square * gradients
    # Relative to its own terms: what is left of them by cancellation is no denominator.
    scale = 2 * square + (maps.sum(axes, keepdim=True) * square * gradients).abs()
    usable = below.abs() > 1e-6 * scale
    alpha = torch.where(usable, square / torch.where(usable, below, 1), 0)
    return (alpha * gradients.clamp(min=0)).sum(axes)


def cam(
    model: nn.Module,
    x: Tensor,
    target: Any = None,
    layer: str | None = None,
    method: str = "gradcam++",
    resize: bool = True,
) -> Tensor:
    """A map of where the evidence for a class lies, 0 to 1.

    Shapes: x (batch, channels, *n); the model returns (batch, classes). Returns (batch, *n), or the layer's own size.

    Args:
        target: a class, one for each sample, or None for the likeliest.   layer: a node of `faltung.readers.read(model, x)`;
            default the last one whose result has a spatial extent.   method: "gradcam++", "gradcam", "layercam" or "hires".

    Raises:
        ArgumentError: no such layer or method, or a result that has no classes.

    Cost: one call and one gradient.
    Source: Chattopadhyay et al. (2018); Selvaraju et al., Grad-CAM (2017); Jiang et al., LayerCAM (2021); Draelos and Carin,
    HiResCAM.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> cam(net, torch.randn(3, 1, 16)).shape
        torch.Size([3, 16])
    """
    if method not in METHODS:
        raise ArgumentError.of("cam", f"one of {', '.join(METHODS)}", repr(method), "choose one")
    with undisturbed(model):
        found = traced(model, x)
    network = found.network
    spatial = [
        n.name for n in network.nodes
        if n.shape and n.op != "input" and len(n.shape) == x.ndim and any(size != 1 for size in n.shape[2:])
    ]  # fmt: skip
    chosen = layer if layer is not None else spatial[-1] if spatial else None
    if chosen is None or chosen not in network or chosen not in spatial:
        raise ArgumentError.of(
            "cam", f"a layer with a spatial result, one of {', '.join(spatial[-4:])}", repr(layer), "name one"
        )
    held: list[Tensor] = []

    def see(name: str, value: Tensor) -> Tensor:
        if name != chosen:
            return value
        held.append(value.detach().clone().requires_grad_())
        return held[0].clone()  # what writes in place writes into the copy

    with torch.enable_grad():
        scores = found.run(x.detach().clone(), see)[0]
        if scores.ndim != 2:
            raise ArgumentError.of("cam", "a result (batch, classes)", f"shape {tuple(scores.shape)}", "wrap the model")
        classes = scores.argmax(1) if target is None else torch.as_tensor(target, device=x.device).expand(len(x))
        (gradients,) = torch.autograd.grad(scores.gather(1, classes[:, None]).sum(), held[0])
    maps = held[0].detach()
    axes = tuple(range(2, maps.ndim))
    column = (..., *(None,) * len(axes))
    if method == "gradcam++":
        made = (cam_weights(maps, gradients)[column] * maps).sum(1)
    elif method == "gradcam":
        made = (gradients.mean(axes)[column] * maps).sum(1)
    elif method == "layercam":
        made = (gradients.clamp(min=0) * maps).sum(1)
    else:
        made = (gradients * maps).sum(1)
    made = made.clamp(min=0)
    if resize and made.shape[1:] != x.shape[2:]:
        made = nn.functional.interpolate(made[:, None], x.shape[2:], mode=_RESIZE[x.ndim - 2], align_corners=False)[
            :, 0
        ]
    flat = made.flatten(1)
    low, high = flat.amin(1), flat.amax(1)
    span = torch.where(high > low, high - low, 1)
    return (made - low.reshape(-1, *(1,) * len(axes))) / span.reshape(-1, *(1,) * len(axes))


def faithfulness(
    model: nn.Module, x: Tensor, heat: Tensor, metric: str = "deletion", *, target: Any = None, steps: int = 16,
    baseline: str = "zero", seed: int = 0,
) -> Tensor:  # fmt: skip
    """How the probability of a class follows when places are taken away, or put in, in the order of a map: area under the curve.

    deletion: the best places first are replaced by the baseline, low is good. insertion: they are put into a blurred signal,
    high is good. road: as deletion, but what is taken away is filled in from its neighbours, so that its outline says nothing.

    Shapes: x (batch, channels, *n), heat (batch, *n); returns (batch), 0 to 1.
    Args: steps: of equal numbers of places.   baseline: "zero" or "blur", for deletion.   seed: of road's small noise.

    All are biased by how sure the model is in general: report several, and compare maps of one model only.
    Source: Petsiuk, Das and Saenko, RISE (2018); Rong et al., A consistent and efficient evaluation strategy (ROAD, 2022).
    """
    if metric not in ("deletion", "insertion", "road") or baseline not in ("zero", "blur"):
        raise ArgumentError.of(
            "faithfulness", "deletion, insertion or road; zero or blur", f"{metric!r}, {baseline!r}", "choose these"
        )
    if heat.shape != (len(x), *x.shape[2:]):
        raise ArgumentError.of("faithfulness", f"a map {(len(x), *x.shape[2:])}", f"{tuple(heat.shape)}", "resize it")
    order = torch.argsort(heat.flatten(1), dim=1, descending=True, stable=True)
    count = order.shape[1]
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(count, device=x.device).expand_as(order))
    blurred = _blurred(x)
    fill = torch.zeros_like(x) if baseline == "zero" and metric == "deletion" else blurred
    curve = []
    with undisturbed(model), torch.no_grad():
        classes = None if target is None else torch.as_tensor(target, device=x.device).expand(len(x))
        for step in range(steps + 1):
            first = (ranks < round(count * step / steps)).reshape(len(x), 1, *x.shape[2:])
            if metric == "road":
                shown = _imputed(x, first[:, 0], seed)
            else:
                shown = torch.where(first, x, fill) if metric == "insertion" else torch.where(first, fill, x)
            scores = first_tensor(model(shown))
            if scores is None or scores.ndim != 2:
                raise ArgumentError.of("faithfulness", "a result (batch, classes)", "another", "wrap the model")
            if classes is None:
                whole = first_tensor(model(x))
                classes = scores.argmax(1) if whole is None else whole.argmax(1)
            curve.append(scores.softmax(1).gather(1, classes[:, None])[:, 0])
    return torch.trapezoid(torch.stack(curve), dx=1 / steps, dim=0)


def _blurred(x: Tensor) -> Tensor:
    """Means over an eighth of each axis, borders continued."""
    y = x
    for axis in range(2, x.ndim):
        reach = max(x.shape[axis] // 16, 1)
        y = torch.stack(
            [
                y.index_select(axis, (torch.arange(x.shape[axis], device=x.device) + s).clamp(0, x.shape[axis] - 1))
                for s in range(-reach, reach + 1)
            ]
        ).mean(0)
    return y


def _imputed(x: Tensor, gone: Tensor, seed: int) -> Tensor:
    """Places that are gone as means of their neighbours (half the weight with each further axis), with some noise."""
    made = x.clone()
    shape, rng = tuple(x.shape[2:]), np.random.default_rng(seed)
    steps = [s for s in product((-1, 0, 1), repeat=len(shape)) if any(s)]
    weights = [0.5 ** (sum(map(abs, s)) - 1) for s in steps]
    for sample in range(len(x)):
        mask = gone[sample].cpu().numpy()
        places = np.argwhere(mask)
        if not len(places):
            continue
        number = np.full(shape, -1)
        number[mask] = np.arange(len(places))
        values = x[sample].cpu().double().numpy().reshape(x.shape[1], *shape)
        rows, columns, entries = [np.arange(len(places))], [np.arange(len(places))], [np.zeros(len(places))]
        right = np.zeros((len(places), x.shape[1]))
        total = np.zeros(len(places))
        for step, weight in zip(steps, weights, strict=True):
            other = places + np.array(step)
            inside = ((other >= 0) & (other < np.array(shape))).all(1)
            near = tuple(other[inside].T)
            here = np.flatnonzero(inside)
            total[here] += weight
            unknown = number[near] >= 0
            rows.append(here[unknown])
            columns.append(number[near][unknown])
            entries.append(np.full(int(unknown.sum()), -weight))
            right[here[~unknown]] += weight * values[(slice(None), *(n[~unknown] for n in near))].T
        entries[0] = np.maximum(total, 1e-12)
        matrix = coo_matrix((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns)))).tocsr()
        if len(places) == mask.size:  # nothing is left to fill in from
            solved = np.zeros_like(right)
        else:
            solved = np.asarray(spsolve(matrix.tocsc(), right)).reshape(right.shape)
        solved = solved + 0.01 * rng.standard_normal(solved.shape)
        made[sample][:, gone[sample]] = torch.from_numpy(solved.T).to(x)
    return made
