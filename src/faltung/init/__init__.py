"""First values of kernels beside those of torch.nn.init: one file a scheme, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.init")

__all__: list[str] = []
