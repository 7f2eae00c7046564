"""Closed curves in the complex plane: layers that turn with the curve, begin where it begins and do not see where it lies.

`faltung.nn.complex.ModReLU` is the activation of the published network; it belongs to all complex layers.
"""

from faltung.nn.base import Layer
from faltung.nn.contours.activations import ModBatchNorm, ModTanh, SigLog
from faltung.nn.contours.conv import ContourConv
from faltung.nn.contours.conv_transpose import ContourConvTranspose
from faltung.nn.contours.pooling import ContourPool, CosetPool, InvariantPool

ALL: tuple[type[Layer], ...] = (
    ContourConv, ContourConvTranspose, ModTanh, SigLog, ModBatchNorm, ContourPool, CosetPool, InvariantPool,
)  # fmt: skip
