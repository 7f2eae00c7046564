"""Irreducible unitary representations of any small group, found in its regular one."""

from functools import lru_cache
from itertools import pairwise

import numpy as np

from faltung.domains.group import Group
from faltung.errors import ArgumentError

MOST = 1024  # elements: eigenvectors of a matrix of that size
TRIES = 4


@lru_cache(maxsize=16)
def irreducibles(G: Group) -> tuple[np.ndarray, ...]:
    """One unitary matrix representation of each class, (|G|, d, d) complex, the trivial one first, then by dimension.

    A random Hermitian matrix that commutes with all left translations has, for each irreducible representation of dimension d, d
    eigenvalues of multiplicity d; translations act on each eigenspace as that representation. The widest gaps between
    eigenvalues of a few random matrices, always the same ones, decide which is used.

    Raises:
        ArgumentError: more than 1024 elements.

    Error: about |G| roundings over the smallest gap, checked: a result that is off by more than 1e-9 is not returned.
    Cost: |G|³ for the eigenvectors.
    Source: Dixon (1970), the idea of random elements of the commutant.

    Example:
        >>> from faltung.domains.group import symmetric
        >>> [r.shape[1] for r in irreducibles(symmetric(3))]
        [1, 1, 2]
    """
    if G.order > MOST:
        raise ArgumentError.of("irreducibles", f"a group of at most {MOST} elements", repr(G), "use a smaller group")
    order = np.arange(G.order)
    quotient = G.table[G.inverses]  # quotient[a, g] = a⁻¹ g
    best: tuple[float, np.ndarray, list[np.ndarray]] | None = None
    for seed in range(TRIES):
        random = np.random.default_rng(seed)
        h = random.normal(size=G.order) + 1j * random.normal(size=G.order)
        h = h + h[G.inverses].conj()
        values, vectors = np.linalg.eigh(h[quotient])
        scale = np.abs(values).max() * 1e-9
        pieces = np.split(order, np.flatnonzero(np.diff(values) > scale) + 1)
        gap = min((values[b[0]] - values[a[-1]] for a, b in pairwise(pieces)), default=np.inf)
        if best is None or gap > best[0]:
            best = gap, vectors, pieces
    assert best is not None
    _, vectors, pieces = best
    found: list[np.ndarray] = []
    for piece in pieces:
        v = vectors[:, piece]
        rho = np.einsum("gi,agj->aij", v.conj(), v[quotient], optimize=True)
        character = np.trace(rho, axis1=1, axis2=2)
        if all(abs(np.vdot(np.trace(r, axis1=1, axis2=2), character)) < 0.5 * G.order for r in found):
            found.append(rho)
    found.sort(key=lambda r: (r.shape[1], float(np.abs(r - 1).max()) > 1e-6))
    g, s = order[:, None], order[: min(G.order, 8)][None]
    wrong = max(float(np.abs(r[g] @ r[s] - r[G.table[g, s]]).max()) for r in found)
    if sum(r.shape[1] ** 2 for r in found) != G.order or wrong > 1e-9:
        raise ArgumentError.of("irreducibles", "a group whose regular representation comes apart", repr(G), "report it")
    return tuple(found)
