"""Large receptive fields from small parts: shifts, pyramids, recursion, sub-pixels, four dimensions."""

from faltung.nn.base import Layer
from faltung.nn.large.recursive import RecConv
from faltung.nn.large.shift_wise import ShiftWiseConv

ALL: tuple[type[Layer], ...] = (ShiftWiseConv, RecConv)
