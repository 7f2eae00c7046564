"""Transforms that turn convolutions over monoids into products: one file each, one line here."""

from faltung.engine.closure import closure as closure
from faltung.engine.matmul import matmul as matmul
from faltung.engine.walsh import fwht as fwht
from faltung.engine.walsh import zeta as zeta
