"""Automata over arrays of symbols, compiled: a table of transitions, one load that waits for the one before a symbol.

In a state that leads back to itself the next address does not wait for the last load, so such stretches run several times as
fast; the state's LOOP flag says where that is worth trying.
"""

from collections.abc import Callable

from faltung.algebras.algebra import Algebra, operation
from faltung.kernels import native
from faltung.kernels.automaton.contract import ACCEPT, LOOP, SINK


def build_scan(symbol: str, label: str) -> tuple[Callable, str]:
    """The scanning loop for one type of symbols and one type of class numbers."""

    def scan(x, classes, table, at, start, stop, step, until, special, final):
        # Symbol number `special` is of class `final`, whatever it is.
        state, last, i = at[0], at[2], start
        interesting = until | ACCEPT | LOOP
        shift = 0 if step > 0 else -1
        while i != stop:
            c = final if i + shift == special else int(classes[x[i + shift]])
            to = table[state + 1 + c]
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
                    while i != stop and i + shift != special and table[state + 1 + classes[x[i + shift]]] == state:
                        i += step
                    if flags & ACCEPT:
                        last = i
        at[0], at[1], at[2] = state, i, last

    return scan, f"p:{symbol},p:{label},p:int32,p:int64,i,i,i,i,i,i"


def scan(symbol: str, label: str) -> Callable[..., None]:
    """The compiled scan; see `contract.scan`. `at` holds state, place and last accepting place, in and out."""
    return native.load(f"scan-{symbol}", build_scan, symbol, label)


# What `find` keeps in `at` when it stops for an answer, and goes on from.
PHASE, STATE, PLACE, LAST, FROM, COUNT, ASKED = range(7)
START_OF_END, END, START_OF_START, START = range(4)  # phases: the first state, the run forward, the same backward


def build_find(symbol: str, label: str) -> tuple[Callable, str]:
    """All matches of a text, for one type of symbols and one of class numbers."""

    def find(x, classes, ends, starts, ends_first, starts_first, at, spans, n, special, final, edge, late, room):
        # A run that meets a move or first state that nobody knows stops: at[ASKED] is the class it asked for, else -1.
        phase, state, i, last, place, count = at[PHASE], at[STATE], at[PLACE], at[LAST], at[FROM], at[COUNT]
        asked = -1
        while count < room and place <= n and asked < 0:
            if phase == START_OF_END:
                c = edge if place == 0 else (final if place - 1 == special else int(classes[x[place - 1]]))
                state = ends_first[c]
                if state < 0:
                    asked = c
                    break
                i, last = place, -1
                if late == 0 and ends[state] & ACCEPT:
                    last = place
                phase = END
            if phase == END:
                while True:
                    if i == n and late == 0:
                        break
                    c = edge if i == n else (final if i == special else int(classes[x[i]]))
                    to = ends[state + 1 + c]
                    if to < 0:
                        asked = c
                        break
                    if i == n:
                        if ends[to] & ACCEPT:
                            last = n
                        break
                    state = to
                    i += 1
                    flags = ends[state]
                    if flags:
                        if flags & ACCEPT:
                            last = i - late
                        if flags & SINK:
                            break
                        if flags & LOOP:
                            while i < n and i != special and ends[state + 1 + classes[x[i]]] == state:
                                i += 1
                            if flags & ACCEPT:
                                last = i - late
                if asked >= 0:
                    break
                if last < 0:
                    place = n + 1
                    break
                phase = START_OF_START
            if phase == START_OF_START:
                c = edge if last == n else (final if last == special else int(classes[x[last]]))
                state = starts_first[c]
                if state < 0:
                    asked = c
                    break
                i = last
                spans[2 * count] = last if late == 0 and starts[state] & ACCEPT else -1
                phase = START
            while True:
                if i == place and late == 0:
                    break
                c = edge if i == 0 else (final if i - 1 == special else int(classes[x[i - 1]]))
                to = starts[state + 1 + c]
                if to < 0:
                    asked = c
                    break
                if i == place:
                    if starts[to] & ACCEPT:
                        spans[2 * count] = i
                    break
                state = to
                i -= 1
                flags = starts[state]
                if flags:
                    if flags & ACCEPT:
                        spans[2 * count] = i + late
                    if flags & SINK:
                        break
                    if flags & LOOP:
                        while i > place and i - 1 != special and starts[state + 1 + classes[x[i - 1]]] == state:
                            i -= 1
                        if flags & ACCEPT:
                            spans[2 * count] = i + late
            if asked >= 0:
                break
            spans[2 * count + 1] = last
            place = last + 1 if spans[2 * count] == last else last
            count += 1
            phase = START_OF_END
        at[PHASE], at[STATE], at[PLACE], at[LAST], at[FROM], at[COUNT], at[ASKED] = (
            phase,
            state,
            i,
            last,
            place,
            count,
            asked,
        )

    return find, ",".join([f"p:{symbol}", f"p:{label}", *["p:int32"] * 4, "p:int64", "p:int64", *"iiiiii"])


def find(symbol: str, label: str) -> Callable[..., None]:
    """The compiled search; see `contract.find`. Its state is kept in `at`, so that it can stop and go on anywhere."""
    return native.load(f"find-{symbol}", build_find, symbol, label)


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
