"""Large receptive fields from small parts: shifts, pyramids, recursion, sub-pixels, four dimensions."""

from faltung.nn.base import Layer
from faltung.nn.large import (
    four,
    neighbor,
    pyramid,
    recursive,
    shift,
    shift_network,
    shift_wise,
    subpixel,
    upsample_conv,
)

ALL: tuple[type[Layer], ...] = (
    shift_wise.ShiftWiseConv,
    recursive.RecConv,
    shift.Shift,
    shift.ShiftConv,
    shift_network.ShiftResBlock,
    shift_network.ShiftSuperResolution,
    subpixel.PixelShuffleNd,
    subpixel.PixelUnshuffleNd,
    subpixel.SubPixelConv,
    upsample_conv.UpsampleConv,
    neighbor.NeighborResidual,
    four.STDBlock,
    pyramid.PyramidConv,
    pyramid.PyramidBatchNorm,
)
