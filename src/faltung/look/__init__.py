"""Looks into convolutional networks: one file a look. No look changes the model; what is not known is said to be so."""

from faltung.arrays import import_torch

import_torch("faltung.look")

from faltung.look.aliasing import (  # noqa: E402 - a missing torch is to be said first
    Sampling,
    SamplingTable,
    aliasing,
    kernel_alias_fraction,
    signal_alias_fraction,
)
from faltung.look.basis import FilterBasis, population_drift  # noqa: E402
from faltung.look.counts import Count, Counts, counts  # noqa: E402
from faltung.look.filters import (  # noqa: E402
    FilterLook,
    FilterTable,
    dead_filters,
    duplicate_filters,
    entropy_ceiling,
    filter_orthogonality,
    filter_sparsity,
    filters,
    kernels_of,
    look_at_filters,
    separable_share,
    variance_entropy,
)
from faltung.look.receptive import (  # noqa: E402
    EffectiveField,
    Field,
    Fields,
    effective_receptive_field,
    probed_field,
    receptive_field,
)
from faltung.look.shifting import (  # noqa: E402
    Borders,
    Consistency,
    border_influence,
    equivariance_error,
    fourier_shift,
    shift_consistency,
)
from faltung.look.spectrum import Gains, GainTable, gains, spectrum  # noqa: E402

__all__ = [
    "Borders",
    "Consistency",
    "Count",
    "Counts",
    "EffectiveField",
    "Field",
    "Fields",
    "FilterBasis",
    "FilterLook",
    "FilterTable",
    "GainTable",
    "Gains",
    "Sampling",
    "SamplingTable",
    "aliasing",
    "border_influence",
    "counts",
    "dead_filters",
    "duplicate_filters",
    "effective_receptive_field",
    "entropy_ceiling",
    "equivariance_error",
    "filter_orthogonality",
    "filter_sparsity",
    "filters",
    "fourier_shift",
    "gains",
    "kernel_alias_fraction",
    "kernels_of",
    "look_at_filters",
    "population_drift",
    "probed_field",
    "receptive_field",
    "separable_share",
    "shift_consistency",
    "signal_alias_fraction",
    "spectrum",
    "variance_entropy",
]
