"""Functions on the sphere and on its rotations: exact transforms of every spin, and convolutions that turn with the sphere."""

from faltung.nn.base import Layer
from faltung.nn.sphere.conv import SphericalConv
from faltung.nn.sphere.grid import SphereGrid as SphereGrid
from faltung.nn.sphere.grid import sphere_grid as sphere_grid
from faltung.nn.sphere.transform import SpinSHT as SpinSHT
from faltung.nn.sphere.wigner import harmonics as harmonics

ALL: tuple[type[Layer], ...] = (SphericalConv,)
MODULES = (SpinSHT,)
