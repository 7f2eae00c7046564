"""Tools that read and rewrite torch models: one file a tool, one line here."""

from faltung.arrays import import_torch

import_torch("faltung.tools")

from faltung.tools.antialias import antialias  # noqa: E402 - a missing torch is to be said first
from faltung.tools.check_autoregressive import check_autoregressive  # noqa: E402
from faltung.tools.cite import cite  # noqa: E402
from faltung.tools.disperse import disperse, dispersion_matrix  # noqa: E402
from faltung.tools.fold_tunable import fold_tunable  # noqa: E402
from faltung.tools.merge_parallel import merge_parallel  # noqa: E402
from faltung.tools.move_kernel import rotate_kernel, translate_kernel  # noqa: E402
from faltung.tools.noise_damped import noise_damped  # noqa: E402
from faltung.tools.receptive_field import extent, receptive_field  # noqa: E402
from faltung.tools.redilate import progressive, redilate  # noqa: E402
from faltung.tools.sample import sample  # noqa: E402
from faltung.tools.separate import merge, separate  # noqa: E402
from faltung.tools.soft_symmetry import (  # noqa: E402
    AutoStrength,
    GridGroup,
    LinearGroup,
    soften,
    symmetric_share,
    symmetry_penalty,
)
from faltung.tools.swap import swap  # noqa: E402
from faltung.tools.symmetrise import symmetrise  # noqa: E402
from faltung.tools.transfer import fit  # noqa: E402
from faltung.tools.tune_density import tune_density  # noqa: E402
from faltung.tools.weight_symmetry import streams, transform_weights  # noqa: E402

__all__ = [
    "AutoStrength",
    "GridGroup",
    "LinearGroup",
    "antialias",
    "check_autoregressive",
    "cite",
    "disperse",
    "dispersion_matrix",
    "extent",
    "fit",
    "fold_tunable",
    "merge",
    "merge_parallel",
    "noise_damped",
    "progressive",
    "receptive_field",
    "redilate",
    "rotate_kernel",
    "sample",
    "separate",
    "soften",
    "streams",
    "swap",
    "symmetric_share",
    "symmetrise",
    "symmetry_penalty",
    "transform_weights",
    "translate_kernel",
    "tune_density",
]
