"""Layers whose weights belong to frequencies: filters as large as the image, mixing by transforms, networks among coefficients."""

from faltung.nn.base import Layer
from faltung.nn.frequency import fourier_mix, global_filter, spectral, transform_once

ALL: tuple[type[Layer], ...] = (
    global_filter.GlobalFilter,
    fourier_mix.FourierMix,
    spectral.SpectralConv,
    transform_once.T1Block,
    transform_once.T1,
)
