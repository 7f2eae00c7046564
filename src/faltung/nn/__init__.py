"""Layers for torch. One file an operator, one line each here."""

from functools import partial

from faltung.arrays import import_torch

import_torch("faltung.nn")

from faltung.nn import functional  # noqa: E402 - a missing torch is to be said first
from faltung.nn.conv import Conv, ConvTranspose  # noqa: E402

ALL = (
    Conv,
    ConvTranspose,
)

Conv1d, Conv2d, Conv3d, Conv4d = (partial(Conv, ndim) for ndim in (1, 2, 3, 4))
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTranspose4d = (
    partial(ConvTranspose, ndim) for ndim in (1, 2, 3, 4)
)

__all__ = ["ALL", "Conv", "Conv1d", "Conv2d", "Conv3d", "Conv4d", "ConvTranspose", "functional"]
__all__ += ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "ConvTranspose4d"]
