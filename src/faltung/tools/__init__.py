"""Tools that read and rewrite torch models: one file a tool, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.tools")

from faltung.tools.cite import cite  # noqa: E402 - a missing torch is to be said first
from faltung.tools.merge_parallel import merge_parallel  # noqa: E402
from faltung.tools.tune_density import tune_density  # noqa: E402

__all__ = ["cite", "merge_parallel", "tune_density"]
