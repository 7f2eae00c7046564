"""Gates from small convolutions, and coordinates as inputs."""

from faltung.nn.base import Layer

ALL: tuple[type[Layer], ...] = ()
