"""Functions on the sphere and on its rotations: exact transforms of every spin, and convolutions that turn with the sphere."""

from torch import nn

from faltung.nn.base import Layer
from faltung.nn.sphere.activations import SphereOversampled, SpinPhaseCollapse, SpinReLU
from faltung.nn.sphere.base import turn as turn
from faltung.nn.sphere.conv import SphericalConv
from faltung.nn.sphere.disco import DiscoConv
from faltung.nn.sphere.grid import SphereGrid as SphereGrid
from faltung.nn.sphere.grid import sphere_grid as sphere_grid
from faltung.nn.sphere.norm import SpinBatchNorm
from faltung.nn.sphere.pool import SpectralPool, SpherePool
from faltung.nn.sphere.real import from_real as from_real
from faltung.nn.sphere.real import to_real as to_real
from faltung.nn.sphere.rotations import turn_rotations as turn_rotations
from faltung.nn.sphere.so3_conv import S2Conv, SO3Conv
from faltung.nn.sphere.so3_pool import SO3Pool
from faltung.nn.sphere.transform import SpinSHT as SpinSHT
from faltung.nn.sphere.wigner import harmonics as harmonics

ALL: tuple[type[Layer], ...] = (
    SphericalConv,
    S2Conv,
    SO3Conv,
    SO3Pool,
    DiscoConv,
    SpinReLU,
    SpinPhaseCollapse,
    SpinBatchNorm,
    SpectralPool,
    SpherePool,
)
MODULES: tuple[type[nn.Module], ...] = (SpinSHT, SphereOversampled)
