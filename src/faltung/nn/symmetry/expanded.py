"""The kernel of a group convolution by its formula, slowly: what `GroupConv.kernel` is held against."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from faltung.nn.symmetry.harmonics import rings


def orbits(layer: Any) -> Iterable[set[tuple[int, int, tuple[int, ...]]]]:
    """The sets of kernel entries (coset, coset, tap) that the group moves to one another, in the order of their first entries."""
    acting, table = layer.acting, layer.acting.group.table
    into, source = ([frozenset(c) for c in f.cosets] for f in (layer.into, layer.source_fibre))
    sizes = layer.kernel_size
    taps = list(torch.cartesian_prod(*(torch.arange(n) for n in sizes)).reshape(-1, len(sizes)).tolist())
    seen: set[tuple[int, int, tuple[int, ...]]] = set()
    for a, first in enumerate(into):
        for b, second in enumerate(source):
            for tap in taps:
                if (a, b, tuple(tap)) in seen:
                    continue
                orbit, inside = set(), True
                for g in range(acting.order):
                    centre = [(n - 1) / 2 for n in sizes]
                    there = acting.matrices[g] @ [t - c for t, c in zip(tap, centre, strict=True)]
                    place = tuple(round(float(t + c)) for t, c in zip(there, centre, strict=True))
                    inside &= all(0 <= p < n for p, n in zip(place, sizes, strict=True))
                    moved = [frozenset(int(table[g, e]) for e in coset) for coset in (first, second)]
                    orbit.add((into.index(moved[0]), source.index(moved[1]), place))
                seen |= orbit
                if inside:
                    yield orbit


def by_orbits(layer: Any) -> Tensor:
    """A number for each orbit, written to every entry that belongs to it."""
    out, within = layer.weight.shape[:2]
    shape = (out, within, layer.into.size, layer.source_fibre.size, *layer.kernel_size)
    entries = layer.weight.new_zeros(shape[2:]).flatten().tolist()
    numbers = {entry: n for n, orbit in enumerate(orbits(layer)) for entry in orbit}
    places = torch.cartesian_prod(*(torch.arange(n) for n in shape[2:])).reshape(-1, len(shape) - 2).tolist()
    zero = layer.weight.new_zeros(out, within)
    for at, (a, b, *tap) in enumerate(places):
        n = numbers.get((a, b, tuple(tap)))
        entries[at] = zero if n is None else layer.weight[..., n]
    return torch.stack(entries, -1).reshape(shape).transpose(1, 2).reshape(layer.weight_shape)


def by_sampling(layer: Any) -> Tensor:
    """Each turned filter by torch's bilinear sampling of the disc at turned positions."""
    sizes, acting = layer.kernel_size, layer.acting
    filters = layer.weight.unflatten(-1, (layer.source_fibre.size, *sizes))
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in sizes]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    disc = (grid[..., -2:].norm(dim=-1) <= min(sizes[-2:]) / 2 + 1e-9).to(filters)
    turned = []
    for g in range(acting.order):
        source = (grid @ torch.from_numpy(acting.matrices[g])).flip(-1)  # the last axis is torch's first coordinate
        span = torch.tensor([max(n - 1, 1) / 2 for n in reversed(sizes)], dtype=torch.float64)
        at = (source / span).to(filters)
        own = filters[:, :, torch.from_numpy(layer.source_fibre.moved[acting.group.inverses[g]])] * disc
        flat = own.reshape(1, -1, *sizes)
        sampled = nn.functional.grid_sample(flat, at[None], padding_mode="zeros", align_corners=True)
        turned.append(sampled.reshape(own.shape) * disc)
    return torch.stack(turned, 1).reshape(layer.weight_shape)


def by_waves(layer: Any) -> Tensor:
    """Each harmonic of each ring at each tap, by the angle that the tap had before the turn."""
    taps, acting = layer.kernel_size[0], layer.acting
    found = layer.weight.new_zeros(
        layer.out_fields, acting.order, layer.weight.shape[1], layer.source_fibre.size, taps, taps
    )
    own = layer.weight.unflatten(-1, (layer.source_fibre.size, -1))
    middle, number = (taps - 1) / 2, 0

    def value(ring: Any, f: int, phase: int, row: float, column: float) -> float:
        r, a = math.hypot(row, column), math.atan2(-row, column)
        if r < 1e-9 and f:
            return 0.0
        return math.exp(-((r - ring.radius) ** 2) / (2 * ring.sigma**2)) * (math.sin if phase else math.cos)(f * a)

    places = [(i, j) for i in range(taps) for j in range(taps)]
    for ring in rings(taps):
        for f in range(ring.frequency + 1):
            for phase in range(2 if f else 1):
                norm = math.sqrt(sum(value(ring, f, phase, i - middle, j - middle) ** 2 for i, j in places))
                for g in range(acting.order):
                    before = layer.source_fibre.moved[acting.group.inverses[g]]
                    for i, j in places:
                        row, column = (float(v) for v in acting.matrices[g].T @ [i - middle, j - middle])
                        shape = value(ring, f, phase, row, column) / norm
                        found[:, g, :, :, i, j] += own[:, :, torch.from_numpy(before), number] * shape
                number += 1
    return found.reshape(layer.weight_shape)
