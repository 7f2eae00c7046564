"""Layers for complex numbers, which `faltung.nn.Conv` takes as well; `Conv2d` is `Conv` with two dimensions, and so on."""

from functools import partial

from faltung.nn.base import Layer
from faltung.nn.complex.activations import Cardioid, CReLU, ModReLU, ZReLU
from faltung.nn.complex.base import ComplexLayer
from faltung.nn.complex.batch_norm import BatchNorm
from faltung.nn.complex.conv import Conv
from faltung.nn.complex.dropout import Dropout
from faltung.nn.complex.pooling import AvgPool, MaxPool

_KINDS: tuple[type[ComplexLayer], ...] = (Conv, BatchNorm, CReLU, ModReLU, ZReLU, Cardioid, MaxPool, AvgPool, Dropout)
ALL: tuple[type[Layer], ...] = _KINDS

globals().update({f"{kind.__name__}{n}d": partial(kind, n) for kind in _KINDS for n in kind.spatial})
