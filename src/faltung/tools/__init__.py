"""Tools that read and rewrite torch models: one file a tool, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.tools")

from faltung.tools.check_autoregressive import check_autoregressive  # noqa: E402 - a missing torch is to be said first
from faltung.tools.cite import cite  # noqa: E402
from faltung.tools.sample import sample  # noqa: E402

__all__ = ["check_autoregressive", "cite", "sample"]
