"""Whether the filters learnt something: dead, copied, random or separable ones, from the weights alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faltung.look import AtlasLayer, FilterBasis, filters, kernel_atlas, kernels_of
from faltung.look.atlas import CLASSES
from faltung.report import pictures
from faltung.report.section import Column, Rule, Section, Subject, Values

COLUMNS = (
    Column(
        "sparsity",
        "dead filters",
        "share of filters with all taps below 1 % of the layer's largest",
        "look.filter_sparsity",
    ),
    Column(
        "dead_outputs", "dead outputs", "outputs that are zero, or switched off by the norm behind", "look.dead_filters"
    ),
    Column("dead_share", "share dead", "dead outputs over all outputs", "look.dead_filters"),
    Column(
        "ratio",
        "entropy",
        "variance entropy over random filters': near 1 random, near 0 copies",
        "look.variance_entropy",
    ),
    Column("clean_ratio", "of live ones", "the same without the dead filters", "look.look_at_filters"),
    Column(
        "orthogonality", "orthogonality", "1: all outputs at right angles; 0: all alike", "look.filter_orthogonality"
    ),
    Column(
        "separable", "separable", "share of filters that are products of one-dimensional ones", "look.separable_share"
    ),
    Column(
        "named",
        "named",
        "share of depthwise filters that are a known shape, of five taps and more",
        "look.kernel_atlas",
    ),
    Column("shape", "mostly", "the shape of most of these", "look.kernel_atlas"),
    Column("shapes", "shapes", "share of each known shape", "look.kernel_atlas"),
    Column("duplicates", "copies", "pairs of outputs with a cosine above 0.99", "look.duplicate_filters"),
)
LEAST = 5  # taps below which chance names a tenth of all filters
MANY = 1 << 17  # filters whose principal components are drawn
SMALL = 16  # filters below which entropy says nothing


def fill(subject: Subject) -> Values:
    """The numbers of `faltung.look.filters`, and pictures of filters."""
    table = filters(subject.network)
    subject.notes += [f"filters of {text}" for text in table.skipped]
    found: dict[str, dict[str, Any]] = {}
    for row in table.layers:
        many = row.taps > 1 and row.filters >= SMALL
        found[row.name] = {
            "sparsity": row.sparsity,
            "dead_outputs": row.dead_outputs,
            "dead_share": row.dead_outputs / row.shape[0],
            "ratio": row.ratio if many else None,
            "clean_ratio": row.clean_ratio if many and row.clean_ratio == row.clean_ratio else None,
            "orthogonality": row.orthogonality,
            "separable": row.separable if row.taps > 1 else None,
            "duplicates": row.duplicates,
        }
    atlas = kernel_atlas(subject.network)
    for layer in atlas.layers:
        if min(layer.size) >= LEAST and layer.name in found:
            shares = {kind: share for kind, share in layer.shares.items() if kind != "other" and share}
            found[layer.name] |= {
                "named": layer.coverage,
                "shape": max(shares, key=lambda kind: shares[kind], default=None),
                "shapes": ", ".join(f"{k} {shares[k]:.0%}" for k in sorted(shares, key=lambda k: -shares[k])) or None,
            }
    _draw(subject)
    _mosaic(subject, [layer for layer in atlas.layers if min(layer.size) >= LEAST])
    return found


def _mosaic(subject: Subject, layers: Sequence[AtlasLayer]) -> None:
    """The named depthwise kernels of the commonest size, shape by shape, those nearest to their shape first."""
    sizes = [layer.size for layer in layers]
    named = []
    for layer in layers:
        if layer.size == max(set(sizes), key=lambda size: (sizes.count(size), size)):
            kernels = subject.network[layer.name].filters
            assert kernels is not None
            tiles = np.asarray(kernels, np.float64).reshape(-1, 1, *layer.size)
            named += [(place, tile) for place, tile in zip(layer.places, tiles, strict=True) if place.kind != "other"]
    if not named:
        return
    named.sort(key=lambda one: (CLASSES.index(one[0].kind), -one[0].score))
    counts = [(kind, sum(place.kind == kind for place, _ in named)) for kind in CLASSES]
    told = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    words = f"Atlas of depthwise kernels that have the shape of a known filter, in this order: {told}."
    words += f" The first {pictures.LARGEST} are shown." if len(named) > pictures.LARGEST else ""
    subject.pictures.append((pictures.filters(np.stack([tile for _, tile in named]), words), words))


def _draw(subject: Subject) -> None:
    """The first layer's filters, and the principal components of all of the commonest size."""
    known = [n for n in subject.network.convolutions if n.filters is not None and n.ndim == 2 and max(n.taps) > 1]
    if not known:
        return
    first = known[0]
    subject.pictures.append(
        (
            pictures.filters(first.filters, f"The filters of {first.name}"),
            f"The filters of {first.name}, each by its own range.",
        )
    )
    sizes = [n.taps for n in known]
    taps = max(set(sizes), key=lambda size: (sizes.count(size), size))
    kernels = [np.asarray(k) for k in kernels_of(subject.network, taps)]
    count = sum(k.shape[0] * k.shape[1] for k in kernels)
    if count > 2 * taps[0] * taps[1]:
        every = -(-count // MANY)  # of a million filters some tell what all do
        basis = FilterBasis.fit([k.reshape(-1, 1, *taps)[::every] for k in kernels])
        shares = ", ".join(f"{share:.0%}" for share in basis.ratios[:9])
        some = "all" if every == 1 else f"one in {every} of {count:,}"
        words = (
            f"Principal components of {some} {taps[0]} × {taps[1]} filters, by their share of the variance: {shares}."
        )
        subject.pictures.append((pictures.filters(basis.vectors.reshape(-1, 1, *taps)[:16], words), words))


SECTION = Section(
    "filters",
    "fast",
    COLUMNS,
    fill,
    (
        Rule("F1", "Many dead filters", "sparsity", lambda v: v > 0.5, "at most half",
             "More than half of the filters do nothing: the layer is wider than what it learnt.",
             "train with fewer channels, or prune"),
        Rule("F2", "Filters repeat a few patterns", "ratio", lambda v: v < 0.5, "at least 0.5 of random filters' entropy",
             "A few components explain all filters: the layer could have a small basis.",
             "factor the layer over its principal components", "info"),
        Rule("F3", "Filters look untrained", "ratio", lambda v: v >= 1.0, "below that of random filters",
             "The filters cannot be told from random ones: the layer was not trained, or not needed.",
             "look whether gradients reach the layer", "info"),
        Rule("F4", "Copied outputs", "duplicates", lambda v: v > 0, "none",
             "Pairs of outputs compute the same but for a factor.", "keep one of each pair and sum what reads them", rewrite="F4"),
        Rule("F5", "Dead outputs", "dead_share", lambda v: v > 0.05, "at most 5 %",
             "Outputs are zero for every input: they cost time and memory and say nothing.",
             "remove the channels, and what reads them", "bad", "F5"),
        Rule("E5", "Filters are products of lines", "separable", lambda v: v > 0.9, "at most 90 % of the filters",
             "Nearly all filters have rank one: two passes of one axis each would do the same at fewer products.",
             "use one-dimensional layers in turn", "info", "E5"),
    ),
)  # fmt: skip
