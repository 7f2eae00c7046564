"""Gates from small convolutions, and coordinates as inputs."""

from faltung.nn.attention.axis_conv import AxisConv
from faltung.nn.attention.coordinates import AddCoords, CoordConv
from faltung.nn.attention.eca import ECA
from faltung.nn.attention.ela import ELA
from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = (ECA, ELA, AddCoords, CoordConv, AxisConv)
