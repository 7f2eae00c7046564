"""Weights of words over any semiring: a vector of states times one sparse matrix a letter.

Where the semiring's values are machine numbers the loop is a compiled kernel, and batches are spread over threads. Counts run in
float64 as long as every number met is below 2⁵³, where such sums are exact, and in Python's integers from there on.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from faltung import algebras
from faltung.kernels import native, threads
from faltung.kernels.automaton import on_numba
from faltung.language import charset
from faltung.language.matching import View
from faltung.language.positions import Positions
from faltung.language.semirings import Semiring
from faltung.language.terms import FINAL, Term

EXACT = 2.0**53  # sums of whole numbers below it are exact in float64
GRAIN = 64  # words worth handing to another thread


class Weigher:
    """An expression compiled for weights over one semiring. Immutable and safe to share among threads."""

    def __init__(self, term: Term, semiring: Semiring, binary: bool) -> None:
        self.semiring, self.binary = semiring, binary
        self.positions = p = Positions(term, semiring, charset.BYTES if binary else charset.UNICODE)
        newline = [((10, 10),)] if p.needs & FINAL else []
        self.table, parts = charset.classes([*p.letters, *newline], p.size)
        self.letters = [part[0][0] for part in parts]
        # one class more, where somebody asks: a newline that is the text's last symbol
        self.final = len(self.letters) if p.needs & FINAL else -1
        if self.final >= 0:
            self.letters.append(10)
        self.reads = [[j for j in range(len(p.letters)) if self._reads(j, c)] for c in range(len(self.letters))]

    def _reads(self, state: int, c: int) -> bool:
        p = self.positions
        if p.needs & FINAL and self.letters[c] == 10 and bool(p.bits[state] & FINAL) != (c == self.final):
            return False
        return charset.contains(p.letters[state], self.letters[c])

    @property
    def method(self) -> str:
        """How weights are computed."""
        if self._machine is not None:
            return "position automaton, compiled vector steps" + (
                " in float64 while counts are below 2^53, then integers" if self.semiring.name == "count" else "")  # fmt: skip
        return "position automaton, vector steps on Python values"

    # -- Python values ------------------------------------------------------------------------------------------------------

    @cached_property
    def _moves(self) -> list[list[list[tuple[int, Any]]]]:
        """For each class and state, the moves to states that read the class; filled for one class at a time."""
        return [[] for _ in self.letters]

    def _into(self, c: int) -> list[list[tuple[int, Any]]]:
        if not self._moves[c] and self.positions.letters:
            reads = set(self.reads[c])
            self._moves[c] = [[(j, w) for j, w in row.items() if j in reads] for row in self.positions.follow]
        return self._moves[c]

    def weight(self, word: Any) -> Any:
        """The weight of one word."""
        view = View(word, self.binary)
        if not view.length:
            return self.positions.empty
        if self._machine is not None:
            out, exact = self._compiled([view])
            if exact:
                return out[0]
        return self._stepped(view)

    def _stepped(self, view: View) -> Any:
        s, p = self.semiring, self.positions
        labels = self.table[view.symbols].tolist()
        if self.final >= 0 and view.symbols[-1] == 10:
            labels[-1] = self.final
        state = {j: p.first[j] for j in self.reads[labels[0]] if j in p.first}
        for c in labels[1:]:
            moves, after = self._into(c), dict[int, Any]()
            for i, v in state.items():
                for j, w in moves[i]:
                    term = s.mul(v, w)
                    after[j] = s.add(after[j], term) if j in after else term
            state = after
            if not state:
                break
        total = s.zero
        for j in sorted(state):
            if j in p.last:
                total = s.add(total, s.mul(state[j], p.last[j]))
        return total

    def weights(self, words: Sequence[Any], workers: int | None = None) -> list[Any]:
        """The weights of many words."""
        views = [View(word, self.binary) for word in words]
        if self._machine is not None and views:
            out, exact = self._compiled(views, workers)
            if exact:
                return out
        return [self._stepped(v) if v.length else self.positions.empty for v in views]

    # -- machine numbers ----------------------------------------------------------------------------------------------------

    @cached_property
    def _machine(self) -> dict[str, Any] | None:
        s, p = self.semiring, self.positions
        algebra, dtype = s.algebra, s.dtype
        if s.name == "count":
            algebra, dtype = algebras.named("real"), "float64"
        if algebra is None or dtype not in ("float64", "int64", "complex128") or not p.letters or self.final >= 0:
            return None
        into: list[list[tuple[int, Any]]] = [[] for _ in p.letters]
        for i, row in enumerate(p.follow):
            for j, w in row.items():
                into[j].append((i, w))
        every = [w for row in p.follow for w in row.values()] + [*p.first.values(), *p.last.values(), p.empty]
        if s.name == "count" and any(not w < EXACT for w in every):
            return None
        first, last = (np.full(len(p.letters), s.zero, dtype) for _ in range(2))
        for side, have in ((first, p.first), (last, p.last)):
            for j, w in have.items():
                side[j] = w
        flat = [pair for row in into for pair in row]
        return {
            "algebra": algebra,
            "dtype": dtype,
            "reads_at": np.cumsum([0, *map(len, self.reads)]),
            "reads": np.array([j for row in self.reads for j in row], np.int64),
            "into_at": np.cumsum([0, *map(len, into)]),
            "into": np.array([i for i, _ in flat], np.int64),
            "weight": np.array([w for _, w in flat], dtype),
            "first": first,
            "last": last,
            "zero": np.array([s.zero], dtype),
        }

    def _compiled(self, views: list[View], workers: int | None = None) -> tuple[list[Any], bool]:
        """Weights by the kernel, and whether they are exact enough to be the answer."""
        m = self._machine
        assert m is not None
        full = [v for v in views if v.length]
        kinds = {v.symbol for v in full}
        if len(full) == 1:
            symbols = full[0].symbols
        else:
            kind = "uint32" if "uint32" in kinds else "uint8"
            symbols = np.concatenate([v.symbols.astype(kind, copy=False) for v in full] or [np.empty(0, kind)])
        bounds = np.cumsum([0, *(v.length for v in full)])
        dtype = m["dtype"]
        out, states = np.empty(len(full), dtype), len(self.positions.letters)
        kernel = on_numba.weighed(str(symbols.dtype), str(self.table.dtype), m["algebra"], dtype)
        fixed = [native.address(a) for a in (symbols, self.table, bounds, *(m[n] for n in (
            "reads_at", "reads", "into_at", "into", "weight", "first", "last", "zero")))]  # fmt: skip
        peaks: list[float] = []

        def piece(start: int, stop: int) -> None:
            v, y, peak = np.full(states, self.semiring.zero, dtype), np.empty(states, dtype), np.zeros(1, dtype)
            kernel(*fixed, *map(native.address, (v, y, out, peak)), start, stop)
            peaks.append(peak[0])

        threads.spread(piece, len(full), workers or threads.available(), GRAIN)
        if self.semiring.name == "count" and any(not peak < EXACT for peak in peaks):
            return [], False
        values = [int(v) for v in out] if self.semiring.name == "count" else out.tolist()
        found = iter(values)
        return [next(found) if v.length else self.positions.empty for v in views], True
