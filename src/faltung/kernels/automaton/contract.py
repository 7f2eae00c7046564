"""What the automaton kernels compute, in plain NumPy: the reference that every tool's version equals."""

from typing import Any

import numpy as np

from faltung.algebras import Algebra

ACCEPT, SINK, LOOP = 1, 2, 4  # flags of a state: a word may end here; no letter leads away; most letters lead back


def scan(
    labels: np.ndarray, table: np.ndarray, state: int, start: int, stop: int, step: int, until: int
) -> tuple[int, int, int]:
    """Run a table of transitions over symbols until it has no answer, or a state has a flag of `until`.

    Args:
        labels: the class of each symbol, shape (n,). A place i lies before symbol i: a step forward reads symbol i, a step
            backward symbol i − 1.
        table: rows of states one behind the other, int32; a row's first entry holds the flags of its state, entry 1 + c the
            place where the row of the next state starts, or a negative number where nobody knows it yet.
        state: where the row of the first state starts.   start, stop, step: from place start to place stop by ±1.

    Returns:
        (place of the state reached, place at which reading stopped, last place at which a state was ACCEPT or -1). The first
        state's flags are not looked at.
    """
    i, last = start, -1
    while i != stop:
        to = int(table[state + 1 + int(labels[i if step > 0 else i - 1])])
        if to < 0:
            break
        state, i = to, i + step
        flags = int(table[state])
        if flags & ACCEPT:
            last = i
        if flags & until:
            break
    return state, i, last


def find(
    labels: np.ndarray, ends: np.ndarray, starts: np.ndarray, first: tuple, edge: int, late: bool
) -> list[tuple[int, int]]:
    """All matches of a text from left to right: the end of each by one table, then its start by another, backward from there.

    Args:
        labels: the class of each symbol.   ends, starts: tables as of `scan`, whole.
        first: for each table its first states by the class of the symbol beside the place, `edge` beyond the text.
        late: a state is ACCEPT if a word ended *before* its last symbol; a symbol of class `edge` stands behind the last one.
    """
    n, found, place = len(labels), [], 0

    def beside(i: int) -> int:
        return int(labels[i]) if 0 <= i < n else edge

    def last_accepted(table: np.ndarray, state: int, i: int, stop: int, step: int) -> int:
        last = i if not late and table[state] & ACCEPT else -1
        while True:
            if i == stop:
                beyond = table[table[state + 1 + beside(i if step > 0 else i - 1)]] if late else 0
                return stop if beyond & ACCEPT else last
            state, i = int(table[state + 1 + beside(i if step > 0 else i - 1)]), i + step
            last = i - step * late if table[state] & ACCEPT else last
            if table[state] & SINK:
                break
        return last

    while place <= n:
        stop = last_accepted(ends, first[0][beside(place - 1)], place, n, 1)
        if stop < 0:
            break
        begin = last_accepted(starts, first[1][beside(stop)], stop, place, -1)
        found.append((begin, stop))
        place = stop if stop > begin else stop + 1
    return found


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
