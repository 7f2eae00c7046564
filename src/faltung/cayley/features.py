"""Group arithmetic as a task for networks, and the features that they find: convolution's singular vectors.

A hidden unit with weights u for the first factor and p for the second, and the activation t², climbs an energy that is the norm
of a convolution on the group. Its maxima are single irreducible representations.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from faltung.cayley.fourier import energies, group_fourier, order, real_names
from faltung.domains.group import Group
from faltung.door import convolve, correlate
from faltung.errors import ArgumentError


class Arithmetic(NamedTuple):
    """Pairs of elements and their products: `pairs` (N, 2) and `labels` (N,) to learn from, the others to be asked."""

    pairs: np.ndarray
    labels: np.ndarray
    other_pairs: np.ndarray
    other_labels: np.ndarray


class Energies(NamedTuple):
    """`energy` (units, names): how much of each unit's ‖w‖² lies in each irreducible representation, conjugates together."""

    names: tuple[tuple[Hashable, ...], ...]
    energy: np.ndarray


def group_arithmetic(G: Group, fraction: float = 0.5, rng: int | np.random.Generator = 0) -> Arithmetic:
    """The task (g₁, g₂) ↦ g₁ · g₂: a random part of the group's multiplication table to learn from, and the rest.

    Args:
        G: from `faltung.domains.group`.   fraction: of all |G|² pairs that are to be learned from, above 0, at most 1.
        rng: a seed or a generator of random numbers.

    Source: Power et al. (2022), grokking; Tian (2025).

    Example:
        >>> from faltung.domains.group import cyclic
        >>> task = group_arithmetic(cyclic(5), 0.4)
        >>> task.pairs.shape, bool((task.pairs.sum(axis=1) % 5 == task.labels).all())
        ((10, 2), True)
    """
    if not 0 < fraction <= 1:
        raise ArgumentError.of("group_arithmetic", "a fraction above 0, at most 1", repr(fraction), "choose one")
    pairs = np.stack(np.divmod(np.random.default_rng(rng).permutation(G.order**2), G.order), axis=1)
    labels = G.table[pairs[:, 0], pairs[:, 1]]
    n = max(1, round(fraction * len(pairs)))
    return Arithmetic(pairs[:n], labels[:n], pairs[n:], labels[n:])


def group_spectrum(weights: np.ndarray, G: Group | str) -> Energies:
    """How much of each hidden unit lies in each irreducible representation.

    Formula: `d_ρ ‖F(w)(ρ)‖² / |G|`, complex conjugate representations added; the sum over all is ‖w‖².

    Shapes: weights (|G|,) or (units, |G|), real; energy (units, names).
    """
    w = np.atleast_2d(np.asarray(weights, np.float64))
    if w.ndim != 2 or w.shape[1] != order(G):
        raise ArgumentError.of(
            "group_spectrum", f"units of {order(G)} weights", f"shape {w.shape}", "one for each element"
        )
    names = real_names(G)
    found = [energies(group_fourier(unit, G), G) for unit in w]
    return Energies(names, np.array([[sum(e[name] for name in group) for group in names] for e in found]))


def feature_energy(u: np.ndarray, p: np.ndarray, G: Group) -> float:
    """The energy that a hidden unit with activation t² climbs while it is alone.

    Formula: `E = ½ Σ_h (Σ_{g₁g₂=h} (u(g₁) + p(g₂))² − mean)² = 2 ‖u ∗ p − mean(u ∗ p)‖²`. Under ‖u‖² + ‖p‖² = 1 its local maxima
    lie in one irreducible representation each and have the value |G| / (2d), d its dimension over the real numbers where it is
    of real type; a pair of conjugate characters counts as d = 2.

    Shapes: u, p (|G|,).

    Cost: one convolution on the group.
    Source: Tian (2025); the identity with the convolution is ours.

    Example:
        >>> from faltung.domains.group import cyclic
        >>> wave = np.cos(2 * np.pi * np.arange(7) / 7) / 7**0.5
        >>> round(feature_energy(wave, wave, cyclic(7)), 12)
        1.75
    """
    y = convolve(*_pair(u, p, G), on=_on(G))
    return float(2 * np.sum((y - y.mean()) ** 2))


def feature_gradient(u: np.ndarray, p: np.ndarray, G: Group) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives of `feature_energy` by u and by p: correlations of the centred convolution with the other factor.

    Formula: `∂E/∂u(h) = 4 Σ_g c(g) p(h⁻¹ g)`, `∂E/∂p(h) = 4 Σ_g u(g h⁻¹) c(g)`, with c = u ∗ p − mean.
    """
    u, p = _pair(u, p, G)
    y = convolve(u, p, on=_on(G))
    c = y - y.mean()
    # Sums over c(g) p(h⁻¹ g) are c correlated with p; those over u(g h⁻¹) c(g) the convolution of u, read at inverses, with c.
    return 4 * correlate(c, p, on=_on(G)), 4 * convolve(u[G.inverses], c, on=_on(G))


def climb(
    u: np.ndarray, p: np.ndarray, G: Group, *, steps: int = 2000, rate: float = 0.1
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Gradient ascent of the energy on the sphere ‖u‖² + ‖p‖² = 1.

    Args:
        u, p: where to start.   steps: at most; it stops where the energy has stopped.   rate: of a step, relative to the
            gradient of the largest maximum, |G|; larger steps than about 1 jump to and fro.

    Returns:
        u, p and the energy after each step.
    """
    z = np.concatenate(_pair(u, p, G))
    z /= np.linalg.norm(z)
    n = G.order
    history = [feature_energy(z[:n], z[n:], G)]
    for _ in range(steps):
        z = z + rate / n * np.concatenate(feature_gradient(z[:n], z[n:], G))
        z /= np.linalg.norm(z)
        history.append(feature_energy(z[:n], z[n:], G))
        if len(history) > 50 and abs(history[-1] - history[-50]) < 1e-13 * history[-1]:
            break
    return z[:n], z[n:], history


def _on(G: Group) -> Any:
    """The group as the door's `on`."""
    return G


def _pair(u: np.ndarray, p: np.ndarray, G: Group) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(u, np.float64), np.asarray(p, np.float64)
    if a.shape != (G.order,) or b.shape != (G.order,):
        raise ArgumentError.of(
            "feature_energy",
            f"two arrays of {G.order} weights",
            f"shapes {a.shape} and {b.shape}",
            "one for each element",
        )
    return a, b
