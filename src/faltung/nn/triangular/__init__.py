"""Kernels with a corner or a mask: invertible and autoregressive convolutions."""

from faltung.nn.base import Layer
from faltung.nn.triangular.invertible import InvertibleConv
from faltung.nn.triangular.masked import MaskedConv
from faltung.nn.triangular.order_agnostic import OrderAgnosticLoss
from faltung.nn.triangular.stacks import GatedStack

ALL: tuple[type[Layer], ...] = (InvertibleConv, MaskedConv, GatedStack, OrderAgnosticLoss)
