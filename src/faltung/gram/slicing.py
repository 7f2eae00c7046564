"""Radial sums in high dimensions by slicing: averages of one-dimensional sums along random directions.

`f(‖x‖) = E g(|⟨ξ, x⟩|)`, ξ uniform on the sphere. The distance has g(t) = c_d |t| with c_d = √π Γ((d+1)/2) / Γ(d/2), and its lines
are summed by sorting. The Gaussian has g(t) = ₁F₁(d/2; ½; −t²/2) = E cos(ρt), ρ the length of a normal vector: a function without
frequencies beyond √d + 8, so that a line is summed on a grid, by polynomials of degree nine between cells and one Fourier
transform.
"""

import math

import numpy as np
import scipy.fft

from faltung.gram.sorting import by_sorting

POINTS = 10  # cells of the interpolation
TOP = 8.5  # lengths of normal vectors beyond √d ± TOP are as good as impossible: exp(−TOP²) is below rounding
FINE = 0.2  # spacing times largest frequency: interpolation is then good to 2.4e-4 · FINE^10


def by_slices(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, kernel: str, directions: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of bandwidth 1, averaged over that many directions, and the standard error of each."""
    d = x.shape[1]
    total, squares = np.zeros(len(y)), np.zeros(len(y))
    spacing = FINE / (math.sqrt(d) + TOP)
    if kernel == "gaussian":  # the longest line that there can be
        reach = float(np.linalg.norm(x, axis=1).max() + np.linalg.norm(y, axis=1).max())
        profile = sliced_gaussian(np.arange(math.ceil(2 * reach / spacing) + 3 * POINTS) * spacing, d)
    for _ in range(directions):
        normal = random.standard_normal(d)
        xi = normal / np.linalg.norm(normal)
        if kernel == "distance":
            line = by_sorting((x @ xi)[:, None], (y @ xi)[:, None], w)[0]
            line *= math.sqrt(math.pi) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
        else:
            line = _line(x @ xi, y @ xi, w, spacing, profile)
        total += line
        squares += line * line
    mean = total / directions
    variance = np.maximum(squares / directions - mean * mean, 0) / max(directions - 1, 1)
    return mean, np.sqrt(variance)


def sliced_gaussian(t: np.ndarray, dim: int) -> np.ndarray:
    """g(t) = ₁F₁(d/2; ½; −t²/2), by Gauss's quadrature over the length ρ of a normal vector in `dim` dimensions."""
    low, high = max(0.0, math.sqrt(dim) - TOP), math.sqrt(dim) + TOP
    nodes, weights = np.polynomial.legendre.leggauss(48 + int(0.5 * (high - low) * float(np.abs(t).max(initial=0.0))))
    rho = low + (high - low) * (nodes + 1) / 2
    log = (dim - 1) * np.log(rho) - rho**2 / 2 - (dim / 2 - 1) * math.log(2) - math.lgamma(dim / 2)
    density = weights * (high - low) / 2 * np.exp(log)
    out = np.empty(t.shape)
    for start in range(0, len(t), 256):
        out[start : start + 256] = np.cos(np.multiply.outer(t[start : start + 256], rho)) @ density
    return out


def _line(p: np.ndarray, q: np.ndarray, w: np.ndarray, spacing: float, profile: np.ndarray) -> np.ndarray:
    """`Σ_i w_i g(p_i − q)` for every q: scattered to a grid, convolved with g (`profile` by cells), gathered."""
    low = min(p.min(), q.min()) - POINTS * spacing
    cells = math.ceil(float(max(p.max(), q.max()) - low) / spacing) + POINTS
    grid = np.zeros(cells)
    for cell, share in _shares(p, low, spacing):
        grid += np.bincount(cell, w * share, cells)
    size = scipy.fft.next_fast_len(2 * cells, real=True)
    g = np.zeros(size)
    g[:cells] = profile[:cells]
    g[size - cells + 1 :] = profile[cells - 1 : 0 : -1]
    smooth = scipy.fft.irfft(scipy.fft.rfft(grid, size) * scipy.fft.rfft(g), size)
    sums = np.zeros(len(q))
    for cell, share in _shares(q, low, spacing):
        sums += share * smooth[cell]
    return sums


def _shares(p: np.ndarray, low: float, spacing: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lagrange's weights of the POINTS cells around each place."""
    place = (p - low) / spacing
    first = np.floor(place).astype(np.int64) - (POINTS // 2 - 1)
    u = place - first
    shares = []
    for j in range(POINTS):
        weight = np.ones_like(u)
        for i in range(POINTS):
            if i != j:
                weight *= (u - i) / (j - i)
        shares.append((first + j, weight))
    return shares
