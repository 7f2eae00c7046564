"""How triangular systems that are convolutions are solved: marching wavefronts, scans by doubling, inverse kernels by Newton.

All solve in the frame where every group's corner is the position 0; `faltung.nn.functional.causal_solve` is the door.
"""

import itertools

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.kernels.triangular import on_numba

Offsets = tuple[tuple[int, ...], ...]


def march(y: Tensor, weight: Tensor, anchor: tuple[int, ...], scan: bool) -> Tensor:
    """The solution by steps: y (batch, groups, channels, *n), weight (groups, channels, channels, *k).

    All taps are multiplied by the inverse of the corner's matrix once, so that a step is a product and a difference.
    """
    offsets, taps, corner = recurrence(weight, anchor)
    r = torch.matmul(corner, y.flatten(3)).unflatten(-1, y.shape[3:])
    if not offsets:
        return r
    if scan:
        return scanned(r, taps, offsets)
    if r.device.type == "cpu":
        x = on_numba.wavefront(r.numpy(force=True), taps.numpy(force=True), offsets, torch.get_num_threads())
        return torch.from_numpy(x)
    return wavefront(r, taps, offsets)


def recurrence(weight: Tensor, anchor: tuple[int, ...]) -> tuple[Offsets, Tensor, Tensor]:
    """How far back each earlier tap looks, these taps (groups, taps, out, in) times the inverse of the corner's matrix,
    and that inverse."""
    places = [t for t in itertools.product(*map(range, weight.shape[3:])) if t < anchor]
    offsets = tuple(tuple(a - t for a, t in zip(anchor, place, strict=True)) for place in places)
    try:
        corner = torch.linalg.inv(weight[(..., *anchor)])
    except RuntimeError as error:  # torch.linalg.LinAlgError
        raise ArgumentError.of(
            "causal_solve", "a matrix at the current position's tap that has an inverse", "one that is singular",
            "keep its diagonal away from zero",
        ) from error  # fmt: skip
    if not places:
        return (), weight.new_empty(weight.shape[0], 0, *weight.shape[1:3]), corner
    taps = torch.stack([weight[(..., *place)] for place in places], 1)
    return offsets, corner.unsqueeze(1) @ taps, corner


class _Skewed:
    """Memory in which positions of one time lie side by side: (groups, time, channels, *rows, *rest, samples).

    The axes `lead` are skewed: rows are those but the last, whose place is the time. `rest` lies along as it is.
    """

    def __init__(self, r: Tensor, offsets: Offsets, skewed: int) -> None:
        far = np.array(offsets)
        (N, G, C), n = r.shape[:3], tuple(r.shape[3:])
        lead = far[:, :skewed]
        self.slopes = on_numba.slopes(lead[(lead != 0).any(axis=1)].reshape(-1, skewed)) if skewed else ()
        times = lead @ np.array(self.slopes, np.int64) if skewed else np.zeros(len(far), np.int64)
        self.front, self.steps = int(times.max(initial=0)), on_numba.steps(n[:skewed], self.slopes)
        kept = [a for a in range(len(n)) if a != skewed - 1]
        lo = [max(0, int(far[:, a].max())) for a in kept]
        hi = [max(0, int(-far[:, a].min())) for a in kept]
        sizes = [n[a] + b + c for a, b, c in zip(kept, lo, hi, strict=True)]
        self.memory = r.new_zeros(G, self.front + self.steps, C, *sizes, N)
        stride = dict(zip(kept, self.memory.stride()[3:-1], strict=True))
        hop = self.memory.stride(1)
        along = [stride.get(a, 0) + (self.slopes[a] * hop if a < skewed else 0) for a in range(len(n))]
        start = self.front * hop + sum(stride[a] * b for a, b in zip(kept, lo, strict=True))
        self.view = self.memory.as_strided(
            (G, C, *n, N), (self.memory.stride(0), self.memory.stride(2), *along, 1), start
        )
        self.inside = [slice(b, b + n[a]) for a, b in zip(kept, lo, strict=True)]
        self.seen = [
            (int(time), [slice(b - o[a], b - o[a] + n[a]) for a, b in zip(kept, lo, strict=True)])
            for time, o in zip(times, offsets, strict=True)
        ]
        # Positions that a time has rows for but that lie beyond the edge must stay zero.
        self.valid = _valid(n[:skewed], self.slopes, self.steps, r.ndim - 2 - skewed).to(r) if skewed > 1 else None
        self.view.copy_(r.permute(1, 2, *range(3, r.ndim), 0))

    def place(self, time: int) -> Tensor:
        """What stands at one time, without the margins: (groups, channels, *rows, *rest, samples)."""
        return self.memory[:, self.front + time][(slice(None), slice(None), *self.inside)]

    def past(self, time: int) -> Tensor:
        """What every tap sees from there, tap after tap: (groups, taps · channels, all positions and samples)."""
        seen = [self.memory[:, self.front + time - t][(slice(None), slice(None), *where)] for t, where in self.seen]
        return torch.stack(seen, 1).flatten(3).flatten(1, 2)

    def result(self) -> Tensor:
        return self.view.permute(-1, *range(self.view.ndim - 1)).contiguous()


def _valid(n: tuple[int, ...], slopes: tuple[int, ...], steps: int, more: int) -> Tensor:
    """For each time and row (and `more` axes of size 1) whether the place that the time gives lies within the last axis."""
    left = torch.arange(steps).reshape(-1, *[1] * (len(n) - 1))
    for axis, (size, slope) in enumerate(zip(n[:-1], slopes, strict=False)):
        left = left - slope * torch.arange(size).reshape(-1, *[1] * (len(n) - 2 - axis))
    return ((left >= 0) & (left < n[-1])).reshape(steps, *n[:-1], *[1] * more)


def wavefront(r: Tensor, taps: Tensor, offsets: Offsets) -> Tensor:
    """The recurrence `x[p] = r[p] − Σ taps[t]·x[p − offsets[t]]` with all positions of one time in one product."""
    skewed = _Skewed(r, offsets, r.ndim - 3)
    matrix = taps.transpose(1, 2).flatten(2)  # (g, out, taps · in)
    for time in range(skewed.steps):
        now = skewed.place(time)
        sums = torch.bmm(matrix, skewed.past(time)).unflatten(-1, now.shape[2:])
        now.sub_(sums if skewed.valid is None else sums * skewed.valid[time])
    return skewed.result()


def scanned(r: Tensor, taps: Tensor, offsets: Offsets) -> Tensor:
    """The same recurrence: a wavefront over all axes but the last; along that one a linear recurrence of constant coefficients.

    Its states are the last positions side by side; after j doublings each has heard of the 2^j before it.
    """
    along = [t for t, o in enumerate(offsets) if not any(o[:-1])]
    across = [t for t in range(len(offsets)) if t not in along]
    reach = max((offsets[t][-1] for t in along), default=0)
    skewed = _Skewed(r, tuple(offsets[t] for t in across) or ((0,) * (r.ndim - 3),), r.ndim - 4)
    step = _companion(taps[:, along], [offsets[t][-1] for t in along], reach) if along else None
    matrix = taps[:, across].transpose(1, 2).flatten(2)
    for time in range(skewed.steps):
        now = skewed.place(time)
        if across:
            sums = torch.bmm(matrix, skewed.past(time)).unflatten(-1, now.shape[2:])
            now.sub_(sums if skewed.valid is None else sums * skewed.valid[time])
        if step is not None:
            now.copy_(_doubled(now, step))
    return skewed.result()


def _companion(taps: Tensor, back: list[int], reach: int) -> Tensor:
    """The matrix (groups, channels · reach, same) that takes the last `reach` positions, newest first, one position on."""
    groups, _, channels = taps.shape[:3]
    step = taps.new_zeros(groups, reach, channels, reach, channels)
    for t, b in enumerate(back):
        step[:, 0, :, b - 1] = -taps[:, t]
    for b in range(1, reach):
        step[:, b, :, b - 1] = torch.eye(channels).to(taps)
    return step.flatten(3).flatten(1, 2)


def _doubled(u: Tensor, step: Tensor) -> Tensor:
    """The recurrence x[w] = u[w] + (first rows of step)·(x[w−1], x[w−2], ...) along the second-last axis of (g, c, ..., w, n)."""
    channels, length = u.shape[1], u.shape[-2]
    state = torch.cat([u, u.new_zeros(u.shape[0], step.shape[1] - channels, *u.shape[2:])], 1)
    hop = 1
    while hop < length:
        earlier = state[..., : length - hop, :]
        moved = torch.bmm(step, earlier.flatten(2)).unflatten(-1, earlier.shape[2:])
        state = torch.cat([state[..., :hop, :], state[..., hop:, :] + moved], -2)
        step, hop = step @ step, 2 * hop
    return state[:, :channels]


def newton(polynomial: Tensor, size: tuple[int, ...], doublings: int) -> Tensor:
    """The inverse (groups, c, c, *size) of a matrix polynomial (groups, c, c, *k) modulo zᵢ^sizeᵢ, `B ← 2B − B·A·B`.

    Before the j-th doubling B is right below total degree 2^(j−1), so 2^j coefficients along an axis are enough for it.
    """
    axes, inverse = tuple(range(3, 3 + len(size))), polynomial.new_zeros(*polynomial.shape[:3], *size)
    inverse[(..., *[slice(0, 1)] * len(size))] = torch.linalg.inv(polynomial[(..., *[0] * len(size))])[
        (..., *[None] * len(size))
    ]
    for j in range(1, doublings + 1):
        kept = tuple(min(2**j, n) for n in size)
        box = (..., *(slice(0, n) for n in kept))
        lengths = [next_fast_len(2 * n - 1, real=True) for n in kept]

        def spectrum(a: Tensor, lengths: list[int] = lengths) -> Tensor:
            return torch.fft.rfftn(a, lengths, axes).movedim((1, 2), (-2, -1)).contiguous()

        def product(a: Tensor, b: Tensor, lengths: list[int] = lengths, box: tuple = box) -> Tensor:
            return torch.fft.irfftn((a @ b).movedim((-2, -1), (1, 2)), lengths, axes)[box]

        before = spectrum(inverse[box])
        whole = polynomial[(..., *(slice(0, n) for n in kept))]
        inverse[box] = 2 * inverse[box] - product(before, spectrum(product(spectrum(whole), before)))
    return inverse
