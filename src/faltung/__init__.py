"""faltung: one convolution for every domain, algebra and scale.

`convolve` and `correlate` compute; `plan` and `explain` say how and why. Everything loads when it is first used, so that
importing the package costs little and does nothing.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faltung.door import convolve as convolve
    from faltung.door import correlate as correlate
    from faltung.door import explain as explain
    from faltung.door import plan as plan
    from faltung.planner.policy import Policy as Policy
    from faltung.problem import Problem as Problem
    from faltung.problem import Spec as Spec

from faltung.version import __version__

# What needs torch, by the room where it lives.
_TORCH = {
    "antialias": "faltung.tools",
    "cite": "faltung.tools",
    "inspect": "faltung.report",
    "swap": "faltung.tools",
    "conv_per_sample": "faltung.nn.functional",
    "conv_per_pixel": "faltung.nn.functional",
    "deform_conv": "faltung.nn.functional",
}
_ENGINE = (
    "best", "closure", "convolve_slabs", "convolve_sparse", "fft_conv", "fwht",
    "lift", "matmul", "power", "star", "stream", "verify", "zeta",
)  # fmt: skip
_HOME = (
    {
        "convolve": "faltung.door",
        "correlate": "faltung.door",
        "plan": "faltung.door",
        "explain": "faltung.door",
        "Policy": "faltung.planner.policy",
        "Problem": "faltung.problem",
        "Spec": "faltung.problem",
    }
    | _TORCH
    | dict.fromkeys(_ENGINE, "faltung.engine")
)
_ROOMS = (
    "algebras",
    "cayley",
    "certify",
    "data",
    "domains",
    "engine",
    "errors",
    "filters",
    "fuse",
    "gram",
    "init",
    "kernels",
    "language",
    "look",
    "methods",
    "monarch",
    "nn",
    "planner",
    "readers",
    "report",
    "special",
    "synth",
    "testing",
    "tools",
    "winograd",
)

__all__ = ["Policy", "Problem", "Spec", "__version__", "convolve", "correlate", "explain", "plan"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(_import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return _import_module(f"faltung.{name}")
    if name == "F":
        return _import_module("faltung.nn.functional")
    raise AttributeError(
        f"module 'faltung' has no attribute {name!r}; it offers {', '.join([*__all__, *_ENGINE, *_TORCH, *_ROOMS])}"
    )


def __dir__() -> list[str]:
    return sorted([*__all__, *_ENGINE, *_TORCH, *_ROOMS, "F"])
