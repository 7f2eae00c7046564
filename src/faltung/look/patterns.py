"""What the images of a class have in common, mined from filters that fire together, and where in each image it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.filters.filter import whole
from faltung.look.demands import Interval, UnknownError
from faltung.look.receptive import reads
from faltung.look.tables import table
from faltung.readers import read_only, replay

_WHO = "mined_patterns"


@dataclass(frozen=True)
class MinedPattern:
    """Filters that fire together on a class, around common places.

    Fields:
        label: the class.   filters: channels of the layer, in the order in which they were found.   share: of the class's images
        that show the pattern.   others: of all other images.   regions: of each image of the class that shows it, by its index,
        the first and the last place that all its filters read, along each axis.
    """

    label: int
    filters: tuple[int, ...]
    share: float
    others: float
    regions: dict[int, tuple[Interval, ...]]


@dataclass(frozen=True)
class MinedPatterns:
    """The patterns of all classes, class by class, those that most images show first."""

    layer: str
    patterns: tuple[MinedPattern, ...]

    def of(self, label: int) -> tuple[MinedPattern, ...]:
        """Those of one class."""
        return tuple(p for p in self.patterns if p.label == label)

    def table(self) -> str:
        """For people."""
        rows = [[p.label, p.filters, p.share, p.others] for p in self.patterns]
        return table(["class", f"filters of {self.layer}", "share", "of others"], rows)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Of each image and filter whether it fires, and the box of places that its highest result reads."""

    fires: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def together(self, filters: list[int]) -> np.ndarray:
        """Which images show a set: all its filters fire, and some place is read by all of them."""
        first, last = self.common(filters)
        return np.asarray(self.fires[:, filters].all(1) & (first <= last).all(1))

    def common(self, filters: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return self.first[:, filters].max(1), self.last[:, filters].min(1)


def mined_patterns(
    source: Any, images: Tensor, labels: Any, layer: str, *, size: int = 5, level: float = 0.5, many: float = 0.5,
    few: float = 0.2, sets: int = 3,
) -> MinedPatterns:  # fmt: skip
    """Find what the images of each class share and others lack: sets of filters that fire together around common places.

    A filter fires on an image where its highest result is above `level` times its highest one on all images. Of a class count
    the filters that fire on at least the share `many` of its images and at most the share `few` of all others. A set starts with
    the best of them and grows by the filter that leaves most images of the class showing it (then: fewest others; then: the
    first). An image shows a set if all its filters fire and the receptive fields of their highest results have a common
    place; these common places are the pattern's region in that image. A filter belongs to one set of a class.

    Shapes: images (count, channels, *n), labels (count), whole numbers; the layer's result (count, filters, *m).

    Args:
        source: a module, or what else `faltung.readers.replay` runs.   layer: the name of a node.
        size: filters a set at most. Default 5.   sets: patterns a class at most. Default 3.
        level: between 0 and 1. Default 0.5.   many, few: 0 to 1; every set keeps to `many`. Default 0.5 and 0.2.

    Raises:
        ArgumentError: no such layer, or one without spatial axes or behind an operation whose reach is not known; labels that do
        not fit or are all the same; numbers out of range.

    Error: none but the layer's own rounding: equal calls give equal patterns.
    Cost: one call of the model on all images; a walk through the graph for each place where some filter is highest.
    Source: Li, Ellis, Zhang and Chang, PatternNet: visual pattern mining with deep neural network (2017); how sets grow is this
        library's.

    Example:
        >>> x = torch.zeros(4, 1, 9)
        >>> x[:2, 0, 4] = 1.0
        >>> net = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        >>> _ = nn.init.ones_(net.weight)
        >>> mined_patterns(nn.Sequential(net), x, [0, 0, 1, 1], "0").of(0)[0].regions[1]
        ((2, 4),)
    """
    size, sets = whole(_WHO, "size", size, 1), whole(_WHO, "sets", sets, 1)
    if not (0 < level < 1 and 0 < many <= 1 and 0 <= few <= 1):
        came = f"level {level}, many {many}, few {few}"
        raise ArgumentError.of(_WHO, "level, many and few between 0 and 1", came, "leave them out")
    kinds = np.asarray(labels)
    if kinds.shape != (len(images),) or kinds.dtype.kind not in "iu" or len(np.unique(kinds)) < 2:
        came = f"{kinds.shape} of {kinds.dtype}, {len(np.unique(kinds))} classes"
        raise ArgumentError.of(_WHO, f"{len(images)} whole labels of two classes or more", came, "label every image")
    peaks = _peaks(source, images, layer, level)
    found = []
    for label in np.unique(kinds):
        own = kinds == label
        shares, others = peaks.fires[own].mean(0), peaks.fires[~own].mean(0)
        free = [int(c) for c in np.flatnonzero((shares >= many) & (others <= few))]
        grown: list[MinedPattern] = []
        while free and len(grown) < sets:
            chosen = _grown(peaks, own, free, size, many)
            free = [c for c in free if c not in chosen]
            grown.append(_pattern(peaks, own, chosen, int(label)))
        found += sorted(grown, key=lambda p: -p.share)
    return MinedPatterns(layer, tuple(found))


def _peaks(source: Any, images: Tensor, layer: str, level: float) -> _Peaks:
    program = replay(source, images)
    shape = None if program is None or layer not in program.network else program.network[layer].shape
    if program is None or shape is None or images.ndim < 3 or len(shape) != images.ndim:
        raise ArgumentError.of(_WHO, "a layer with a spatial result of what can run", repr(layer), "name another node")
    values = read_only(program.values(images, [layer])[layer])
    flat = values.reshape(*values.shape[:2], -1)
    places, peaks = flat.argmax(2), flat.max(2)
    top = peaks.max(0)
    boxes: dict[int, tuple[Interval, ...]] = {}
    try:
        for place in np.unique(places):
            at = tuple(int(i) for i in np.unravel_index(place, values.shape[2:]))
            boxes[int(place)] = reads(program.network, layer, at, clip=True)[2:]
    except UnknownError as error:
        raise ArgumentError.of(
            _WHO, f"a known receptive field of {layer!r}", str(error), "take a layer before it"
        ) from None
    bounds = np.array([[boxes[int(p)] for p in row] for row in places])  # (count, filters, axes, 2)
    return _Peaks((peaks > level * top) & (top > 0), bounds[..., 0], bounds[..., 1])


def _grown(peaks: _Peaks, own: np.ndarray, free: list[int], size: int, many: float) -> list[int]:
    """One set of filters."""
    chosen: list[int] = []
    while len(chosen) < size:
        best: tuple[float, float, int] | None = None
        for channel in free:
            if channel not in chosen:
                shown = peaks.together([*chosen, channel])
                rank = (-float(shown[own].mean()), float(shown[~own].mean()), channel)
                best = rank if best is None else min(best, rank)
        if best is None or -best[0] < many:
            break
        chosen.append(best[2])
    return chosen


def _pattern(peaks: _Peaks, own: np.ndarray, chosen: list[int], label: int) -> MinedPattern:
    shown = peaks.together(chosen)
    first, last = peaks.common(chosen)
    regions = {
        int(i): tuple((int(a), int(b)) for a, b in zip(first[i], last[i], strict=True))
        for i in np.flatnonzero(shown & own)
    }
    return MinedPattern(label, tuple(chosen), float(shown[own].mean()), float(shown[~own].mean()), regions)
