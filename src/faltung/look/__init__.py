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
from faltung.look.atlas import Atlas, AtlasLayer, Place, Template, kernel_atlas, null_rate, place_kernels  # noqa: E402
from faltung.look.attribution import cam, cam_weights, faithfulness  # noqa: E402
from faltung.look.basis import FilterBasis, population_drift  # noqa: E402
from faltung.look.counts import Count, Counts, Pass, counts, passes  # noqa: E402
from faltung.look.cues import Cues, channel_diversity, cue_bias  # noqa: E402
from faltung.look.decoders import (  # noqa: E402
    DecoderSpectrum,
    LayerGain,
    Transfer,
    decoder_spectrum,
    expected_gain,
    transfer,
)
from faltung.look.denoising import Modes, denoiser_modes, footprint, tweedie_gap, wiener_kernel  # noqa: E402
from faltung.look.efficiency import Chain, Efficiency, Roof, Work, efficiency, layer_plan, this_roof  # noqa: E402
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
from faltung.look.flow import (  # noqa: E402
    Flow,
    discovery_order,
    learning_curve,
    linear_cnn_flow,
)
from faltung.look.frechet import FrechetAccumulator, frechet, frechet_of_moments, kernel_distance  # noqa: E402
from faltung.look.generating import (  # noqa: E402
    Upsampling,
    UpsamplingTable,
    power_law_tail,
    radial_profile,
    replica_peak,
    upsampling_artifacts,
)
from faltung.look.geometry import (  # noqa: E402
    Profile,
    curvature,
    intrinsic_dimension,
    label_sharpness,
    mean_curvature,
    representation_profile,
    smoothness,
)
from faltung.look.linear import LinearMap, linearize  # noqa: E402
from faltung.look.local_denoiser import LocalDenoiser  # noqa: E402
from faltung.look.numerics import Ranges, RangeTable, channel_ratio, quantisation_sqnr, ranges  # noqa: E402
from faltung.look.one_filter import Learnt, learn_filter  # noqa: E402
from faltung.look.patterns import MinedPattern, MinedPatterns, mined_patterns  # noqa: E402
from faltung.look.pointing import box_iou, pointing_game  # noqa: E402
from faltung.look.receptive import (  # noqa: E402
    EffectiveField,
    Field,
    Fields,
    effective_receptive_field,
    probed_field,
    receptive_field,
)
from faltung.look.resizing import resized  # noqa: E402
from faltung.look.shifting import (  # noqa: E402
    Borders,
    Consistency,
    border_influence,
    shift_consistency,
)
from faltung.look.shortcuts import Shortcut, shortcut_test  # noqa: E402
from faltung.look.spectrum import Gains, GainTable, gains, spectrum  # noqa: E402
from faltung.look.tails import TailDetector, profile_deviation  # noqa: E402
from faltung.look.theory import HessianRank, hessian_rank, hessian_rank_bound, hessian_values  # noqa: E402
from faltung.look.worst_shifts import (  # noqa: E402
    EmbeddingShifts,
    ShiftAdversary,
    embedding_shift_rate,
    shift_adversary,
)
from faltung.nn.functional.neighbor import neighbor_residual  # noqa: E402

__all__ = [
    "Atlas",
    "AtlasLayer",
    "Borders",
    "Chain",
    "Consistency",
    "Count",
    "Counts",
    "Cues",
    "DecoderSpectrum",
    "EffectiveField",
    "Efficiency",
    "EmbeddingShifts",
    "Field",
    "Fields",
    "FilterBasis",
    "FilterLook",
    "FilterTable",
    "Flow",
    "FrechetAccumulator",
    "GainTable",
    "Gains",
    "HessianRank",
    "LayerGain",
    "Learnt",
    "LinearMap",
    "LocalDenoiser",
    "MinedPattern",
    "MinedPatterns",
    "Modes",
    "Pass",
    "Place",
    "Profile",
    "RangeTable",
    "Ranges",
    "Roof",
    "Sampling",
    "SamplingTable",
    "ShiftAdversary",
    "Shortcut",
    "TailDetector",
    "Template",
    "Transfer",
    "Upsampling",
    "UpsamplingTable",
    "Work",
    "aliasing",
    "border_influence",
    "box_iou",
    "cam",
    "cam_weights",
    "channel_diversity",
    "channel_ratio",
    "counts",
    "cue_bias",
    "curvature",
    "dead_filters",
    "decoder_spectrum",
    "denoiser_modes",
    "discovery_order",
    "duplicate_filters",
    "effective_receptive_field",
    "efficiency",
    "embedding_shift_rate",
    "entropy_ceiling",
    "expected_gain",
    "faithfulness",
    "filter_orthogonality",
    "filter_sparsity",
    "filters",
    "footprint",
    "frechet",
    "frechet_of_moments",
    "gains",
    "hessian_rank",
    "hessian_rank_bound",
    "hessian_values",
    "intrinsic_dimension",
    "kernel_alias_fraction",
    "kernel_atlas",
    "kernel_distance",
    "kernels_of",
    "label_sharpness",
    "layer_plan",
    "learn_filter",
    "learning_curve",
    "linear_cnn_flow",
    "linearize",
    "look_at_filters",
    "mean_curvature",
    "mined_patterns",
    "neighbor_residual",
    "null_rate",
    "passes",
    "place_kernels",
    "pointing_game",
    "population_drift",
    "power_law_tail",
    "probed_field",
    "profile_deviation",
    "quantisation_sqnr",
    "radial_profile",
    "ranges",
    "receptive_field",
    "replica_peak",
    "representation_profile",
    "resized",
    "separable_share",
    "shift_adversary",
    "shift_consistency",
    "shortcut_test",
    "signal_alias_fraction",
    "smoothness",
    "spectrum",
    "this_roof",
    "transfer",
    "tweedie_gap",
    "upsampling_artifacts",
    "variance_entropy",
    "wiener_kernel",
]
