"""Boxes through a network: between which numbers every value lies while the input moves within a box."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.certify.affine import affine, normalisation
from faltung.certify.capture import Graph, Step
from faltung.errors import ArgumentError

ROUNDING = 1e-13
_KEEP = frozenset(
    "view reshape flatten unflatten permute transpose t squeeze unsqueeze contiguous clone alias mean sum pixel_shuffle "
    "pixel_unshuffle channel_shuffle roll flip avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d expand "
    "adaptive_avg_pool3d select slice upsample_nearest1d upsample_nearest2d upsample_nearest3d repeat movedim getitem".split()
)
"""Linear with weights that are not negative, and without a constant: what they do to values they do to radii."""
POOLS = frozenset({"max_pool1d", "max_pool2d", "max_pool3d"})
_SUMS = frozenset({"add", "sub", "rsub"})


@dataclass(frozen=True)
class Box:
    """All numbers within `radius` of `centre`, place by place."""

    centre: Tensor
    radius: Tensor

    @property
    def low(self) -> Tensor:
        """The smallest."""
        return self.centre - self.radius

    @property
    def high(self) -> Tensor:
        """The largest."""
        return self.centre + self.radius

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> "Box":
        """From its two ends, rounded outward."""
        centre, radius = (low + high) / 2, (high - low) / 2
        return cls(centre, radius + ROUNDING * (radius + centre.abs()))


@dataclass(frozen=True)
class Ball(Box):
    """What of a box lies within `reach` of `middle` in the l2 norm too."""

    middle: Tensor
    reach: float

    @classmethod
    def around(cls, middle: Tensor, reach: float) -> "Ball":
        """All within that distance, in the box that just holds them."""
        return cls(middle, torch.full_like(middle, reach), middle, reach)


@dataclass(frozen=True)
class Activation:
    """A nondecreasing function with the range of its derivative over an interval.

    Fields: convex, concave: it is convex up to here, and concave from here.   off: how far torch's is from it at most.
    """

    value: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    convex: float = math.inf
    concave: float = math.inf
    off: float = 0.0


def name_of(step: Step) -> str:
    """The operator's bare name."""
    return step.op.removeprefix("aten.").rstrip("_")


def linear_maps(step: Step) -> list[tuple[Step, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] | None:
    """For a step that is linear up to a constant: for each input it, the map, and the map with the sizes of its weights."""
    name, sources = name_of(step), step.inputs
    if name.startswith("conv") or step.op == "faltung.solve":
        known = affine(step)
        if known is None:
            return None
        operator, shape = known.operator, step.value.shape
        into = (1, operator.inputs, *known.size)
        return [(
            known.source, lambda v: operator.apply(v.reshape(into), local=True).reshape(shape),
            lambda v: operator.apply(v.reshape(into), absolute=True, local=True).reshape(shape),
        )]  # fmt: skip
    if name in ("cat", "stack"):
        return [(s, *_twice(partial(_joined, step, i))) for i, s in enumerate(sources)]
    if name in _SUMS and step.inputs:
        pairs = [(part, c) for part, c in _summands(step) if isinstance(part, Step)]
        return [(s, *_scaled(step, torch.tensor(c, dtype=torch.float64))) for s, c in pairs]
    if len(sources) != 1:
        return None
    if name == "detach":  # the value depends on the input as before; only autograd is told otherwise
        return [(sources[0], *_twice(lambda v: v))]
    if name in _KEEP or (name == "dropout" and not step.get("train")) or _zero_padding(step):
        return [(sources[0], *_twice(lambda v: _called(step, v)))]
    if name == "linear":
        weight = step.get("weight").double()
        return [(sources[0], lambda v: v @ weight.mT, lambda v: v @ weight.abs().mT)]
    if name == "batch_norm" and not step.get("training"):
        scale = normalisation(step)[0].reshape(1, -1, *[1] * (step.value.ndim - 2))
        return [(sources[0], *_scaled(step, scale))]
    if name in ("mul", "div") and isinstance(step.args[0], Step):
        other = torch.as_tensor(step.args[1], dtype=torch.float64)
        return [(sources[0], *_scaled(step, other if name == "mul" else 1 / other))]
    if name == "neg":
        return [(sources[0], *_scaled(step, torch.tensor(-1.0, dtype=torch.float64)))]
    return None


def constant(step: Step) -> Tensor | float:
    """What a linear step adds."""
    name = name_of(step)
    if name.startswith("conv") and step.get("bias") is not None:
        return step.get("bias").double().reshape(1, -1, *[1] * (step.value.ndim - 2))
    if name == "linear" and step.get("bias") is not None:
        return step.get("bias").double()
    if name == "batch_norm":
        return normalisation(step)[1].reshape(1, -1, *[1] * (step.value.ndim - 2))
    if name in _SUMS:
        others = [torch.as_tensor(p, dtype=torch.float64) * c for p, c in _summands(step) if not isinstance(p, Step)]
        return sum(others, torch.zeros((), dtype=torch.float64))
    if name in ("cat", "stack"):
        parts = [
            torch.zeros_like(p.value, dtype=torch.float64) if isinstance(p, Step) else p.double() for p in step.args[0]
        ]
        return (torch.cat if name == "cat" else torch.stack)(parts, step.get("dim"))
    return 0.0


def activation(step: Step) -> Activation | None:
    """The nondecreasing function that a step is; None where it is none of those known here."""
    name = name_of(step)
    if name == "relu":
        return _kinked(F.relu, 0.0)
    if name == "leaky_relu" and 0 <= step.get("negative_slope") <= 1:
        slope = step.get("negative_slope")
        return _kinked(lambda v: F.leaky_relu(v, slope), slope)
    if name in ("hardtanh", "relu6"):
        low, high = (0.0, 6.0) if name == "relu6" else (step.get("min_val"), step.get("max_val"))

        def slopes(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return ((a > low) & (b < high)).double(), (~((b < low) | (a > high))).double()

        return Activation(lambda v: v.clamp(low, high), slopes, high, low)
    if name == "elu" and step.get("alpha") == 1 and step.get("scale") == 1 and step.get("input_scale") == 1:
        return Activation(F.elu, lambda a, b: (a.clamp(max=0).exp(), b.clamp(max=0).exp()))
    if name == "softplus" and step.get("beta") == 1 and step.get("threshold") >= 20:
        # torch's is the identity from the threshold on, where it steps down
        return Activation(F.softplus, lambda a, b: (a.sigmoid(), b.sigmoid()), off=math.exp(-20))
    if name == "sigmoid":
        return _bell(torch.sigmoid, lambda v: v.sigmoid() * (1 - v.sigmoid()))
    if name == "tanh":
        return _bell(torch.tanh, lambda v: 1 - v.tanh().square())
    return None


def boxes(
    graph: Graph, box: Box, who: str, narrow: Callable[[Step, dict[Step, Box]], Box] | None = None
) -> dict[Step, Box]:
    """The box of every step while the input is in one.

    Args: narrow: makes of a step, whose box is the last one known, another box for it. Default: intervals as they are.

    Raises:
        ArgumentError: a step without a rule; it is named.
    """
    found = {graph.source: box}
    for step in graph.steps[1:]:
        if not isinstance(step.value, Tensor):
            continue
        maps, curve = linear_maps(step), activation(step)
        if maps is not None:
            centre: Any = constant(step)
            radius: Any = 0.0
            for source, apply, sizes in maps:
                centre = centre + apply(found[source].centre)
                radius = radius + sizes(found[source].radius + ROUNDING * found[source].centre.abs())
            found[step] = Box(centre, radius)
        elif curve is not None:
            before = found[step.inputs[0]]
            made = Box.between(curve.value(before.low), curve.value(before.high))
            # torch's curve may fall by so much where it should rise
            found[step] = Box(made.centre, made.radius.abs() + curve.off) if curve.off else made
        elif name_of(step) in POOLS:
            before = found[step.inputs[0]]
            found[step] = Box.between(_called(step, before.low), _called(step, before.high))
        else:
            raise ArgumentError.of(
                who,
                "steps with a rule for intervals",
                f"{step.name} ({step.op})",
                "use lipschitz for a bound without a box",
            )
        if narrow is not None:
            found[step] = narrow(step, found)
    return found


def _summands(step: Step) -> list[tuple[Any, float]]:
    """The two parts of a sum, each with its factor."""
    name, scale = name_of(step), float(step.get("alpha", 1))
    factors = {"add": (1.0, scale), "sub": (1.0, -scale), "rsub": (-scale, 1.0)}[name]
    return list(zip(step.args[:2], factors, strict=True))


def _kinked(value: Callable[[Tensor], Tensor], slope: float) -> Activation:
    """Slope 1 above 0 and another, smaller one below; at 0 all between."""

    def slopes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        one, other = torch.ones_like(low), torch.full_like(low, slope)  # two numbers alone would meet in float32
        return torch.where(low > 0, one, other), torch.where(high < 0, other, one)

    return Activation(value, slopes)


def _bell(value: Callable[[Tensor], Tensor], steep: Callable[[Tensor], Tensor]) -> Activation:
    """A derivative that is largest at 0 and falls on both sides."""

    def slopes(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        nearest = torch.where((low <= 0) & (high >= 0), 0.0, torch.minimum(low.abs(), high.abs()))
        return steep(torch.maximum(low.abs(), high.abs())), steep(nearest)

    return Activation(value, slopes, 0.0, 0.0)


def _called(step: Step, v: Tensor) -> Tensor:
    """The step's own operator on another tensor in the place of its one input."""
    args = tuple(v if isinstance(a, Step) else a for a in step.args)
    return step.call(*args, **step.kwargs)


def _twice(apply: Callable[[Tensor], Tensor]) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    return apply, apply


def _scaled(step: Step, scale: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    shape = step.value.shape
    return (lambda v: (v * scale).expand(shape)), (lambda v: (v * scale.abs()).expand(shape))


def _joined(step: Step, place: int, v: Tensor) -> Tensor:
    """A concatenation with zeros in the place of all parts but one."""
    number = -1
    parts = []
    for part in step.args[0]:
        number += isinstance(part, Step)
        here = isinstance(part, Step) and number == place
        parts.append(v if here else torch.zeros_like(part.value if isinstance(part, Step) else part, dtype=v.dtype))
    return (torch.cat if name_of(step) == "cat" else torch.stack)(parts, step.get("dim"))


def _zero_padding(step: Step) -> bool:
    if name_of(step) != "pad":
        return False
    return step.get("mode") != "constant" or not step.get("value")
