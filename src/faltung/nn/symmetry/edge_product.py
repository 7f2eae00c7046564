"""The tensor product of spherical features with the harmonics of an edge, path by path, and as small blocks along the edge."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from faltung.errors import ArgumentError
from faltung.nn.symmetry.so3 import align, coupling, rotate, spherical_harmonics, wigner

ROUTES = ("aligned", "cg")


def harmonic_paths(l_in: int, l_out: int, mirrors: bool = False) -> list[tuple[int, int, int]]:
    """All (degree of the features, of the edge's harmonics, of the result) that couple, in the order that weights have.

    With `mirrors` those whose sum is even: for features of which a mirror through the origin negates odd degrees.

    Example:
        >>> harmonic_paths(1, 1)
        [(0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1), (1, 2, 1)]
    """
    found = [(i, f, o) for i in range(l_in + 1) for o in range(l_out + 1) for f in range(abs(i - o), i + o + 1)]
    return [path for path in found if not mirrors or sum(path) % 2 == 0]


@lru_cache(maxsize=128)
def path_blocks(l_in: int, l_out: int, m: int, mirrors: bool = False) -> np.ndarray:
    """What each path does to the orders m and −m in the frame of the edge, (paths, 2, l_out + 1 − m, l_in + 1 − m): A, then B.

    Formula: `y_{±m} = A x_{±m} ∓ B x_{∓m}`. At the pole of the edge only order 0 of Y_f is not 0, it is √((2f + 1)/4π), so a path
    (i, f, o) joins degree i to degree o by one number of `coupling(i, f, o)`, within A if i + f + o is even, within B if it is odd.
    These are Clebsch–Gordan coefficients: `(−1)^(i − f + ⌊(i + f + o)/2⌋)·√((2f + 1)/(4π (2o + 1)))·⟨i m; f 0 | o m⟩`.

    Example:
        >>> path_blocks(1, 1, 1)[:, :, 0, 0].round(4).tolist()[-3:]  # of (1, 0, 1), (1, 1, 1), (1, 2, 1)
        [[0.1629, 0.0], [0.0, -0.1995], [-0.1152, 0.0]]
    """
    paths = harmonic_paths(l_in, l_out, mirrors)
    found = np.zeros((len(paths), 2, max(l_out + 1 - m, 0), max(l_in + 1 - m, 0)))
    for n, (i, f, o) in enumerate(paths):
        if m > min(i, o):
            continue
        table, odd = coupling(i, f, o)[:, f], (i + f + o) % 2
        found[n, odd, o - m, i - m] = table[i + m, o - m if odd else o + m] * math.sqrt((2 * f + 1) / (4 * math.pi))
    return found


def tensor_product_with_sh(
    x: Tensor, vec: Tensor, l_out: int | None = None, weights: Tensor | None = None, path: str = "aligned"
) -> Tensor:
    """Features times all harmonics of a direction, coupled: the linear maps of x that turn with x and an edge.

    Formula: `y^o = Σ over paths (i, f, o) of h·Σ C_(i, f, o) x^i Y^f(vec / ‖vec‖)`, C = `so3.coupling` of norm 1, orthonormal Y.
    "cg" does this path by path; "aligned" turns x so that the direction is the polar axis, where a path is one number for each
    order, and turns the result back.

    Shapes: x (n, (l_in + 1)², channels), vec (n, 3) of any length but 0; returns (n, (l_out + 1)², channels).

    Args:
        l_out: highest degree of the result. Default: l_in.
        weights: h, (paths) or (paths, channels), by `harmonic_paths(l_in, l_out)`. Default: 1 for all.
        path: "aligned" (default) or "cg".

    Raises:
        ArgumentError: other shapes, weights for other paths, another way.

    Error: rounding; the two ways agree to 1e-12 of the largest result in float64, 1e-6 in float32, for degrees to 6.
    Cost: for each edge and channel "cg" Σ over paths of (2i + 1)(2f + 1)(2o + 1), O(L⁶); "aligned" two turns of Σ (2l + 1)² and
        Σ over m of 4·(L + 1 − m)², O(L³), besides the matrices D once for an edge.
    Source: Passaro and Zitnick, Reducing SO(3) convolutions to SO(2) for efficient equivariant GNNs (2023).

    Example:
        >>> x, edge = torch.randn(5, 9, 4), torch.randn(5, 3)
        >>> both = [tensor_product_with_sh(x, edge, 3, path=path) for path in ("aligned", "cg")]
        >>> both[0].shape, torch.allclose(*both, atol=1e-5)
        (torch.Size([5, 16, 4]), True)
    """
    who = "tensor_product_with_sh"
    l_in = math.isqrt(x.shape[1]) - 1 if x.ndim == 3 else -1
    last = l_in if l_out is None else l_out
    if x.ndim != 3 or (l_in + 1) ** 2 != x.shape[1] or vec.shape != (x.shape[0], 3) or l_in < 0 or last < 0:
        raise ArgumentError.of(
            who, "x (n, (l + 1)², channels), vec (n, 3) and l_out at least 0",
            f"{tuple(x.shape)}, {tuple(vec.shape)} and {l_out}", "match them",
        )  # fmt: skip
    if path not in ROUTES:
        raise ArgumentError.of(who, f"path among {', '.join(ROUTES)}", repr(path), "choose one of these")
    paths = harmonic_paths(l_in, last)
    h = x.new_ones(len(paths)) if weights is None else weights
    if h.shape not in ((len(paths),), (len(paths), x.shape[2])):
        raise ArgumentError.of(
            who, f"weights ({len(paths)}) or ({len(paths)}, {x.shape[2]})", f"{tuple(h.shape)}", "give one for each path"
        )  # fmt: skip
    h = h.reshape(len(paths), -1)
    return _aligned(x, vec, last, h) if path == "aligned" else _path_by_path(x, vec, last, h, paths)


def _aligned(x: Tensor, vec: Tensor, l_out: int, h: Tensor) -> Tensor:
    l_in = math.isqrt(x.shape[1]) - 1
    matrices = wigner(max(l_in, l_out), align(vec))
    turned = rotate(x, matrices[: l_in + 1])
    mixed = x.new_zeros(x.shape[0], (l_out + 1) ** 2, x.shape[2])
    for m in range(min(l_in, l_out) + 1):
        a, b = torch.einsum("hpoi,hc->poic", torch.from_numpy(path_blocks(l_in, l_out, m)).to(x), h)
        read, written = (
            [torch.tensor([k * k + k + s for k in range(m, l + 1)], device=x.device) for s in (m, -m)]
            for l in (l_in, l_out)
        )
        plus, minus = (turned.index_select(1, places) for places in read)
        up = torch.einsum("oic,nic->noc", a, plus)
        if m == 0:
            mixed = mixed.index_copy(1, written[0], up)
            continue
        up = up - torch.einsum("oic,nic->noc", b, minus)
        down = torch.einsum("oic,nic->noc", a, minus) + torch.einsum("oic,nic->noc", b, plus)
        mixed = mixed.index_copy(1, written[0], up).index_copy(1, written[1], down)
    return rotate(mixed, matrices[: l_out + 1], back=True)


def _path_by_path(x: Tensor, vec: Tensor, l_out: int, h: Tensor, paths: list[tuple[int, int, int]]) -> Tensor:
    l_in = math.isqrt(x.shape[1]) - 1
    around = spherical_harmonics(l_in + l_out, normalize(vec, dim=-1))
    rows = [x.new_zeros(x.shape[0], 2 * o + 1, x.shape[2]) for o in range(l_out + 1)]
    for weight, (i, f, o) in zip(h, paths, strict=True):
        table = torch.from_numpy(coupling(i, f, o)).to(x)
        own, harmonics = x[:, i * i : (i + 1) ** 2], around[:, f * f : (f + 1) ** 2]
        rows[o] = rows[o] + weight * torch.einsum("abo,nac,nb->noc", table, own, harmonics)
    return torch.cat(rows, 1)
