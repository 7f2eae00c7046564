"""First values of kernels beside those of torch.nn.init: one file a scheme, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.init")

from faltung.init.complex_normal import complex_  # noqa: E402 - a missing torch is to be said first
from faltung.init.convolution_aware import conv_aware_  # noqa: E402 - a missing torch is to be said first
from faltung.init.difference_of_gaussians import dog_  # noqa: E402 - a missing torch is to be said first
from faltung.init.icnr import icnr_  # noqa: E402 - a missing torch is to be said first

__all__ = ["complex_", "conv_aware_", "dog_", "icnr_"]
