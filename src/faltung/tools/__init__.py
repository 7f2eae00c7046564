"""Tools that read and rewrite torch models: one file a tool, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.tools")

from faltung.tools.cite import cite  # noqa: E402 - a missing torch is to be said first
from faltung.tools.fold_tunable import fold_tunable  # noqa: E402
from faltung.tools.move_kernel import rotate_kernel, translate_kernel  # noqa: E402

__all__ = ["cite", "fold_tunable", "rotate_kernel", "translate_kernel"]
