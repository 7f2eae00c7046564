"""Automata over arrays of symbols, compiled: a table of transitions, one load that waits for the one before a symbol.

In a state that leads back to itself the next address does not wait for the last load, so such stretches run several times as
fast; the state's LOOP flag says where that is worth trying.
"""

from collections.abc import Callable

from faltung.algebras.algebra import Algebra, operation
from faltung.kernels import native
from faltung.kernels.automaton.contract import ACCEPT, LOOP


def build_scan(symbol: str, label: str) -> tuple[Callable, str]:
    """The scanning loop for one type of symbols and one type of class numbers."""

    def scan(x, classes, table, at, start, stop, step, until):
        state, last, i = at[0], at[2], start
        interesting = until | ACCEPT | LOOP
        while i != stop:
            to = table[state + 1 + classes[x[i]]]
            if to < 0:
                break
            state = to
            i += step
            flags = table[state]
            if flags & interesting:
                if flags & ACCEPT:
                    last = i
                if flags & until:
                    break
                if flags & LOOP:
                    while i != stop and table[state + 1 + classes[x[i]]] == state:
                        i += step
                    if flags & ACCEPT:
                        last = i
        at[0], at[1], at[2] = state, i, last

    return scan, f"p:{symbol},p:{label},p:int32,p:int64,i,i,i,i"


def scan(symbol: str, label: str) -> Callable[..., None]:
    """The compiled scan; see `contract.scan`. `at` holds state, position and last accepting position, in and out."""
    return native.load(f"scan-{symbol}", build_scan, symbol, label)


def build_weighed(symbol: str, label: str, dtype: str, plus: str, times: str) -> tuple[Callable, str]:
    """Weights of words for one type of symbols, of class numbers and of weights, and two scalar operations."""
    add, mul = native.inner(operation(plus)), native.inner(operation(times))
    sized = dtype in ("float64", "int64")

    def weighed(x, classes, bounds, reads_at, reads, into_at, into, weight, first, last, zero, v, y, out, peak, w0, w1):
        # Words w0 ... w1 − 1 are x[bounds[w] : bounds[w + 1]], none empty; v and y have room for all states.
        # States that read class c are reads[reads_at[c] : reads_at[c + 1]]; moves into j are into[into_at[j] : into_at[j + 1]].
        # v is zero but for the states that read the last letter, and is so again afterwards.
        nothing = zero[0]
        for w in range(w0, w1):
            c = classes[x[bounds[w]]]
            for r in range(reads_at[c], reads_at[c + 1]):
                v[reads[r]] = first[reads[r]]
            alive = True
            t = bounds[w] + 1
            while alive and t < bounds[w + 1]:
                d = classes[x[t]]
                alive = False
                for r in range(reads_at[d], reads_at[d + 1]):
                    j = reads[r]
                    total = nothing
                    for e in range(into_at[j], into_at[j + 1]):
                        value = v[into[e]]
                        if value != nothing:
                            total = add(total, mul(value, weight[e]))
                    y[j] = total
                    if total != nothing:
                        alive = True
                        if sized and total > peak[0]:
                            peak[0] = total
                for r in range(reads_at[c], reads_at[c + 1]):
                    v[reads[r]] = nothing
                for r in range(reads_at[d], reads_at[d + 1]):
                    v[reads[r]] = y[reads[r]]
                c = d
                t += 1
            total = nothing
            for r in range(reads_at[c], reads_at[c + 1]):
                j = reads[r]
                if alive and v[j] != nothing and last[j] != nothing:
                    total = add(total, mul(v[j], last[j]))
                v[j] = nothing
            if sized and total > peak[0]:
                peak[0] = total
            out[w] = total

    weights = f"p:{dtype}"
    return weighed, ",".join([f"p:{symbol}", f"p:{label}", *["p:int64"] * 5, *[weights] * 8, "i", "i"])


def weighed(symbol: str, label: str, algebra: Algebra, dtype: str) -> Callable[..., None]:
    """The compiled weights of words; see `contract.weighed`. `peak` collects the largest number met: sums of counts stay exact
    in float64 as long as it is below 2⁵³."""
    plus, times = algebra.scalar_add, algebra.scalar_mul
    return native.load(f"weighed-{algebra.name}", build_weighed, symbol, label, dtype, plus, times)
