"""Kernels that depend on the place: local connections, per-pixel weights, moved samples."""

from faltung.nn.base import Layer
from faltung.nn.fields.deform import DeformConv, DepthwiseDeformConv
from faltung.nn.fields.large_small import LSConv
from faltung.nn.fields.local import LocallyConnected
from faltung.nn.fields.local_transpose import LocallyConnectedTranspose

ALL: tuple[type[Layer], ...] = (LSConv, LocallyConnected, LocallyConnectedTranspose, DeformConv, DepthwiseDeformConv)
