"""Which steps of a graph are a convolution of an earlier one, up to a constant: those that norms are known of."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from faltung.certify.capture import Step
from faltung.certify.operator import Operator
from faltung.problem import Problem

_CONVOLUTIONS = {f"aten.conv{n}d" for n in (1, 2, 3)}
_TRANSPOSED = {f"aten.conv_transpose{n}d" for n in (1, 2, 3)}
_PADDING = {"circular": "circular", "reflect": "reflect", "replicate": "replicate"}
_BOUNDARY = {
    "constant": "zeros",
    "reflect": "reflect",
    "edge": "replicate",
    "wrap": "circular",
    "symmetric": "symmetric",
}
_PATTERNS = ("b c *s, o c *s -> b o *s", "b g c *s, g o c *s -> b g o *s")


@dataclass(frozen=True, eq=False)
class Affine:
    """A step that is `operator(source) + constant`, with the spatial size of the source."""

    source: Step
    operator: Operator
    size: tuple[int, ...]


def affine(step: Step) -> Affine | None:
    """The convolution that a step is, of the earliest source it can be said of; None where it is none.

    Padding before it, and batch normalisation or scaling by channels behind it, become part of the operator: the norm of the whole
    is smaller than the product of the norms.
    """
    name = step.op
    if name in _CONVOLUTIONS or name in _TRANSPOSED:
        return _plain(step, name in _TRANSPOSED)
    if name == "faltung.solve":
        return _solved(step)
    if name == "aten.batch_norm" and not step.get("training"):
        before = _step(step.get("input"))
        inner = None if before is None else affine(before)
        if inner is None:
            return None
        scale, _ = normalisation(step)
        return replace(inner, operator=_scaled(inner.operator, scale))
    if name in ("aten.add", "aten.sub") and len(step.inputs) == 1 and isinstance(step.args[0], Step):
        return affine(step.args[0]) if step.args[0].value.shape == step.value.shape else None
    if name in (
        "aten.flatten",
        "aten.view",
        "aten.reshape",
        "aten.contiguous",
        "aten.clone",
        "aten.dropout",
        "aten.alias",
    ):
        inner = affine(step.inputs[0])
        kept = inner is not None and step.value.shape[2:] == step.inputs[0].value.shape[-inner.operator.ndim :]
        return inner if kept and step.value.ndim == _axes(inner) else None
    return None


def normalisation(step: Step) -> tuple[Tensor, Tensor]:
    """(scale, shift) by channels of batch normalisation in evaluation mode, in float64."""
    mean, variance = step.get("running_mean").double(), step.get("running_var").double()
    scale = (variance + step.get("eps")).rsqrt()
    if step.get("weight") is not None:
        scale = scale * step.get("weight").double()
    shift = -mean * scale
    return scale, shift if step.get("bias") is None else shift + step.get("bias").double()


def _axes(inner: Affine | None) -> int:
    return -1 if inner is None else inner.operator.ndim + 2


def _step(given: Any) -> Step | None:
    return given if isinstance(given, Step) else None


def _plain(step: Step, transposed: bool) -> Affine | None:
    source, weight = _step(step.get("input")), step.get("weight")
    if source is None or not isinstance(weight, Tensor) or source.value.ndim != weight.ndim:
        return None
    settings = {"stride": step.get("stride"), "padding": step.get("padding"), "dilation": step.get("dilation")}
    ndim = weight.ndim - 2
    settings = {
        key: tuple(v) * (ndim if len(v) == 1 else 1) if isinstance(v, list) else v for key, v in settings.items()
    }
    settings["groups"] = step.get("groups")
    if transposed:
        extra = step.get("output_padding")
        settings["output_padding"] = (
            tuple(extra) * (ndim if len(extra) == 1 else 1) if isinstance(extra, list) else extra
        )
    operator = Operator.read(weight, "lipschitz", transposed, **settings)
    padded = source.op == "aten.pad" and source.get("mode") in _PADDING and all(p == (0, 0) for p in operator.pads)
    around = list(source.get("pad")) if padded else []
    before = source.inputs[0] if padded else None
    if before is not None and not transposed and len(around) == 2 * ndim:
        pads = tuple((around[2 * a], around[2 * a + 1]) for a in reversed(range(ndim)))
        operator = replace(operator, pads=pads, padding_mode=_PADDING[source.get("mode")])
        source = before
    return Affine(source, operator, tuple(source.value.shape[2:]))


def _solved(step: Step) -> Affine | None:
    """From the library's own operator, whose problem says all."""
    problem = Problem.parse(step.get("problem"))
    kernel, known = step.get("k"), step.get("x") if problem.unknown == "out" else step.get("y")
    kinds = {b.kind for b in problem.boundary}
    fits = (
        problem.pattern in _PATTERNS and not problem.flip and problem.algebra == "real" and problem.domain == "grid"
        and problem.unknown in ("out", "x") and len(kinds) == 1 and next(iter(kinds)) in _BOUNDARY
        and all(b.value is None or b.value == 0 for b in problem.boundary)
    )  # fmt: skip
    source = _step(known)
    if not fits or source is None or not isinstance(kernel, Tensor):
        return None
    groups = kernel.shape[0] if problem.pattern == _PATTERNS[1] else 1
    weight = kernel.flatten(0, 1) if groups > 1 or problem.pattern == _PATTERNS[1] else kernel
    ndim = len(problem.stride)
    operator = Operator(weight, problem.stride, problem.pads, problem.dilation, groups, _BOUNDARY[next(iter(kinds))])
    if problem.unknown == "x":
        shape = tuple(source.value.shape[-ndim:])
        parts = zip(shape, problem.stride, problem.pads, problem.dilation, operator.symbol.size, strict=True)
        least = [(m - 1) * s - lo - hi + d * (t - 1) + 1 for m, s, (lo, hi), d, t in parts]
        extra = tuple(n - a for n, a in zip(problem.x_shape[-ndim:], least, strict=True))
        operator = replace(operator, transposed=True, output_padding=extra)
    return Affine(source, operator, tuple(source.value.shape[-ndim:]))


def _scaled(operator: Operator, scale: Tensor) -> Operator:
    """The operator with each of its outputs multiplied."""
    weight = operator.weight.to(torch.float64)
    rest = (1,) * operator.ndim
    if operator.transposed:
        grouped = weight.reshape(operator.groups, -1, *weight.shape[1:]) * scale.reshape(operator.groups, 1, -1, *rest)
        return replace(operator, weight=grouped.reshape(weight.shape))
    return replace(operator, weight=weight * scale.reshape(-1, 1, *rest))
