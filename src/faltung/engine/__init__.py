"""Transforms that turn convolutions over monoids into products: one file each, one line here."""

from faltung.engine import series as series
from faltung.engine.walsh import fwht as fwht
from faltung.engine.walsh import zeta as zeta
