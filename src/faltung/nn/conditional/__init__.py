"""Kernels that depend on the sample, on parameters of the user, or on coordinates."""

from torch import nn

from faltung.nn.base import Layer
from faltung.nn.conditional.cond import CondConv, CondConvTranspose, Routing
from faltung.nn.conditional.cross_d import CrossDConv2d
from faltung.nn.conditional.hyper import HyperConv
from faltung.nn.conditional.implicit import ImplicitKernel, SineMFN
from faltung.nn.conditional.mixing import Tunable
from faltung.nn.conditional.tunable import TunableConv, TunableLinear, TunableParameter
from faltung.nn.conditional.tunable_sequential import MultiObjective, TunableSequential

ALL: tuple[type[Layer], ...] = (
    CondConv,
    CondConvTranspose,
    CrossDConv2d,
    HyperConv,
    Routing,
    SineMFN,
    TunableConv,
    TunableLinear,
    TunableParameter,
)
# Modules that are no layers: they hold others, or make kernels.
MODULES: tuple[type[nn.Module], ...] = (ImplicitKernel, MultiObjective, Tunable, TunableSequential)
