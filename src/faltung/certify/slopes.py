"""How steep activations are: the largest size of their derivative, exact or rounded up."""

from collections.abc import Callable

from faltung.certify.capture import Step

# Where the largest slope is no closed form, it is the derivative at the zero of the second derivative, rounded up.
FIXED: dict[str, float] = {
    "relu": 1.0, "relu6": 1.0, "tanh": 1.0, "hardtanh": 1.0, "abs": 1.0, "neg": 1.0, "softplus": 1.0, "log_sigmoid": 1.0,
    "clamp": 1.0, "clamp_min": 1.0, "clamp_max": 1.0, "sin": 1.0, "cos": 1.0, "atan": 1.0, "asinh": 1.0, "softshrink": 1.0,
    "sigmoid": 0.25, "hardsigmoid": 1 / 6, "hardswish": 1.5, "erf": 1.1283791670955127,
    "silu": 1.0998393202, "mish": 1.0884981613, "selu": 1.7580993409,
}  # fmt: skip
GELU = {"none": 1.1289041452, "tanh": 1.1289930687}

_OTHERS: dict[str, Callable[[Step], float]] = {
    "gelu": lambda step: GELU[step.get("approximate", "none")],
    "leaky_relu": lambda step: max(1.0, abs(float(step.get("negative_slope", 0.01)))),
    "elu": lambda step: (
        abs(float(step.get("scale", 1)))
        * max(1.0, abs(float(step.get("alpha", 1)) * float(step.get("input_scale", 1))))
    ),
    "celu": lambda step: 1.0,
    "prelu": lambda step: max(1.0, float(step.get("weight").abs().max())),
}


def slope(step: Step) -> float | None:
    """The largest slope of an activation; None for an operator that is none."""
    name = step.op.removeprefix("aten.").rstrip("_")
    if name in _OTHERS:
        return _OTHERS[name](step)
    return FIXED.get(name)
