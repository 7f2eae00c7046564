"""Looks into convolutional networks: one file a look. No look changes the model; what is not known is said to be so."""

from faltung.arrays import import_torch

import_torch("faltung.look")

from faltung.look.basis import FilterBasis, population_drift  # noqa: E402 - a missing torch is to be said first
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

__all__ = [
    "Count",
    "Counts",
    "FilterBasis",
    "FilterLook",
    "FilterTable",
    "counts",
    "dead_filters",
    "duplicate_filters",
    "entropy_ceiling",
    "filter_orthogonality",
    "filter_sparsity",
    "filters",
    "kernels_of",
    "look_at_filters",
    "population_drift",
    "separable_share",
    "variance_entropy",
]
