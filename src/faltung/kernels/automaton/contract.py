"""What the automaton kernels compute, in plain NumPy: the reference that every tool's version equals."""

from typing import Any

import numpy as np

from faltung.algebras import Algebra

ACCEPT, SINK, LOOP = 1, 2, 4  # flags of a state: a word may end here; no letter leads away; most letters lead back


def scan(
    x: np.ndarray, classes: np.ndarray, table: np.ndarray, state: int, start: int, stop: int, step: int, until: int
) -> tuple[int, int, int]:
    """Run a table of transitions over symbols until it has no answer, or a state has a flag of `until`.

    Args:
        x: symbols, shape (n,).   classes: the class of each symbol.
        table: rows of states one behind the other, int32; a row's first entry holds the flags of its state, entry 1 + c the
            place where the row of the next state starts, or a negative number where nobody knows it yet.
        state: where the row of the first state starts.   start, stop, step: positions start, start + step, ..., before stop.

    Returns:
        (place of the state reached, position of the first symbol not read, last position at which a state was ACCEPT or -1).
        The first state's flags are not looked at.
    """
    i, last = start, -1
    while i != stop:
        to = int(table[state + 1 + int(classes[x[i]])])
        if to < 0:
            break
        state, i = to, i + step
        flags = int(table[state])
        if flags & ACCEPT:
            last = i
        if flags & until:
            break
    return state, i, last


def weighed(
    x: np.ndarray,
    classes: np.ndarray,
    reads: np.ndarray,
    follow: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    algebra: Algebra,
) -> Any:
    """The weight of a word that is not empty: a vector of states times one matrix a letter, over an algebra.

    Formula: `v₁ = first`, `vₜ₊₁(j) = ⊕ᵢ vₜ(i) ⊗ follow(i, j)`, each only where j reads the letter; `⊕ⱼ vₙ(j) ⊗ last(j)`.

    Args:
        x: symbols, shape (n,), n ≥ 1.   classes: the class of each symbol.   reads: which states read which class, shape
        (classes, states).   follow: shape (states, states).   first, last: shape (states,).
    """
    zero = algebra.zero(first.dtype)
    v = np.where(reads[classes[x[0]]], first, zero)
    for symbol in x[1:]:
        sums = np.full_like(v, zero)
        for i in np.flatnonzero(v != zero):
            moves = np.where(follow[i] == zero, zero, algebra.mul(v[i], follow[i]))
            sums = algebra.add(sums, moves)
        v = np.where(reads[classes[symbol]], sums, zero)
    total = zero
    for j in np.flatnonzero((v != zero) & (last != zero)):
        total = algebra.add(total, algebra.mul(v[j], last[j]))
    return total
