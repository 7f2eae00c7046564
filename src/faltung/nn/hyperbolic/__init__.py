"""Convolution of features that are points of a hyperbolic ball; layers exchange tangent vectors at its middle."""

from faltung.nn.base import Layer
from faltung.nn.hyperbolic.ball import (
    conformal,
    dist,
    expmap,
    expmap0,
    gyration,
    logmap,
    logmap0,
    midpoint,
    mobius_add,
    project,
    transport,
)  # fmt: skip
from faltung.nn.hyperbolic.conv import PoincareConv
from faltung.nn.hyperbolic.linear import PoincareAdd, PoincareLinear, PoincarePool
from faltung.nn.hyperbolic.network import PoincareBlock, poincare_resnet
from faltung.nn.hyperbolic.norm import PoincareBatchNorm
from faltung.nn.hyperbolic.planes import beta_ratio

ALL: tuple[type[Layer], ...] = (
    PoincareConv, PoincareLinear, PoincareBatchNorm, PoincareAdd, PoincarePool, PoincareBlock,
)  # fmt: skip

__all__ = [
    "ALL", "beta_ratio", "conformal", "dist", "expmap", "expmap0", "gyration", "logmap", "logmap0", "midpoint", "mobius_add",
    "poincare_resnet", "project", "transport",
]  # fmt: skip
