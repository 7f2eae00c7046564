"""Convolution over matrix groups (stretches, shears, rotations) by sampled elements and coordinates of their polar parts."""

from faltung.nn.base import Layer
from faltung.nn.lie.conv import LieGroupConv, LieLiftConv
from faltung.nn.lie.groups import SL, SO, Affine, GLPlus
from faltung.nn.lie.groups import matrix_group as matrix_group
from faltung.nn.lie.kernel_net import CoordinateNet
from faltung.nn.lie.network import LieResidualBlock
from faltung.nn.lie.network import lie_network as lie_network
from faltung.nn.lie.pool import LieBatchNorm, LieGroupPool
from faltung.nn.lie.samples import GroupSamples

ALL: tuple[type[Layer], ...] = (LieLiftConv, LieGroupConv, LieGroupPool, LieBatchNorm, LieResidualBlock, CoordinateNet)
MODULES: tuple[type, ...] = (GroupSamples, GLPlus, SL, SO, Affine)
