"""Words of a boolean language in texts: whole texts, beginnings, and leftmost-longest matches.

A text is read by the scanning kernel. `str` is read as Latin-1 or UTF-32 symbols, bytes-like objects in place. Finding a match
takes one pass forward, which ends at the end of the leftmost-longest match, and one backward from there to its start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels import native
from faltung.kernels.automaton import on_numba
from faltung.kernels.automaton.contract import ACCEPT, SINK
from faltung.language import charset, terms
from faltung.language.residuals import Residuals, lowered, neighbour
from faltung.language.tables import BUDGET, Automaton
from faltung.language.terms import Term

PIECE = 1 << 26  # symbols that one call of the kernel reads at most, so that interrupts are heard


@dataclass(frozen=True, repr=False)
class Match:
    """A word of the language within a text: `text[begin:stop]`. Answers to the names that `re.Match` has."""

    text: Any
    begin: int
    stop: int

    def start(self) -> int:
        """Where the word begins."""
        return self.begin

    def end(self) -> int:
        """Where the word has ended."""
        return self.stop

    def span(self) -> tuple[int, int]:
        """(start, end)."""
        return self.begin, self.stop

    def group(self) -> Any:
        """The matching part of the text."""
        part = self.text[self.begin : self.stop]
        return bytes(part) if isinstance(part, memoryview) else part

    def __repr__(self) -> str:
        return f"<Match span={self.span()}, match={self.group()!r}>"


class View:
    """A text as an array of symbols."""

    __slots__ = ("address", "held", "length", "symbol", "symbols", "text")

    def __init__(self, text: Any, binary: bool) -> None:
        self.text = text
        self.held: bytes | memoryview
        if isinstance(text, str):
            if binary:
                raise ArgumentError.of("language", "bytes for a language of bytes", "str", "encode the text")
            self.held, self.symbol = _encoded(text)
        else:
            if not binary:
                raise ArgumentError.of("language", "a str", type(text).__name__, "decode it, or use a bytes pattern")
            self.held, self.symbol = _bytes(text), "uint8"
        self.symbols = np.frombuffer(self.held, self.symbol) if len(self.held) else np.empty(0, self.symbol)
        self.length = len(self.symbols)
        self.address = native.address(self.symbols)


def _bytes(text: Any) -> memoryview:
    """Whatever holds bytes, as it lies in memory."""
    try:
        held = memoryview(text)
    except TypeError:
        held = None
    if held is None or held.itemsize != 1 or not held.c_contiguous:
        raise ArgumentError.of("language", "a text as str, or contiguous bytes", type(text).__name__, "pass its bytes")
    return held


def _encoded(text: str) -> tuple[bytes, str]:
    if text.isascii():
        return text.encode("ascii"), "uint8"
    try:
        return text.encode("latin-1"), "uint8"
    except UnicodeEncodeError:
        return text.encode("utf-32-le", "surrogatepass"), "uint32"


class Matcher:
    """A language compiled for reading texts. Immutable to its users and safe to share among threads."""

    def __init__(self, term: Term, binary: bool, budget: int = BUDGET) -> None:
        self.binary = binary
        self.size = charset.BYTES if binary else charset.UNICODE
        simple = lowered(term)
        self.forward = Automaton(Residuals(simple, self.size), budget=budget)
        self._simple, self._budget = simple, budget
        self._searching: tuple[Automaton, Automaton] | None = None
        table = self.forward.residuals.table
        self.classes, self._classes_at, self.label = table, native.address(table), str(table.dtype)
        self._scan = {s: on_numba.scan(s, self.label) for s in ("uint8", "uint32")}

    @property
    def searching(self) -> tuple[Automaton, Automaton]:
        """The automata that find ends from the left and starts from the right."""
        if self._searching is None:
            residuals = self.forward.residuals.fresh()
            # the mirrored language has the same letters and places, so both number their classes alike
            backward = Residuals(terms.reverse(self._simple), self.size)
            backward.table, backward.letters, backward.bits = residuals.table, residuals.letters, residuals.bits
            self._searching = (
                Automaton(residuals, search=True, budget=self._budget),
                Automaton(backward, budget=self._budget),
            )
        return self._searching

    # -- questions --------------------------------------------------------------------------------------------------------

    def fullmatch(self, text: Any) -> Match | None:
        """The whole text, if it is a word of the language."""
        view = View(text, self.binary)
        return Match(text, 0, view.length) if self._run(self.forward, view, 0, view.length, SINK)[1] else None

    def match(self, text: Any, start: int = 0) -> Match | None:
        """The longest word that begins at `start`."""
        view = View(text, self.binary)
        last, _ = self._run(self.forward, view, start, view.length, SINK)
        return Match(text, start, last) if last >= 0 else None

    def search(self, text: Any, start: int = 0) -> Match | None:
        """The longest of the words that begin leftmost from `start` on."""
        return self.found(View(text, self.binary), start)

    def contains(self, text: Any) -> bool:
        """Whether some part of the text is a word; reads no further than the end of the first."""
        view = View(text, self.binary)
        return self._run(self.searching[0], view, 0, view.length, SINK | ACCEPT)[0] >= 0

    def finditer(self, text: Any) -> Iterator[Match]:
        """All matches from left to right, none within another; an empty one may touch the one before."""
        view = View(text, self.binary)
        start = 0
        while start <= view.length and (found := self.found(view, start)) is not None:
            yield found
            start = found.stop if found.stop > found.begin else found.stop + 1

    def found(self, view: View, start: int) -> Match | None:
        """`search` in a text that is an array already."""
        ends, starts = self.searching
        stop, _ = self._run(ends, view, start, view.length, SINK)
        if stop < 0:
            return None
        begin, _ = self._run(starts, view, stop, start, SINK, -1)
        return Match(view.text, begin, stop)

    # -- the loop between the kernel and the tables -----------------------------------------------------------------------

    def _bits(self, automaton: Automaton, view: View, place: int) -> int:
        """The bits of the symbol at a place, of the text's edge beyond it."""
        r = automaton.residuals
        if not r.needs or not 0 <= place < view.length:
            return neighbour(r.bits, r.table, None, r.needs)
        symbol = int(view.symbols[place])
        if symbol == 10 and place == view.length - 1 and r.final >= 0:
            return r.bits[r.final]
        return neighbour(r.bits, r.table, symbol, r.needs)

    def _run(
        self, automaton: Automaton, view: View, start: int, stop: int, until: int, step: int = 1
    ) -> tuple[int, bool]:
        """Read from start to stop, forward (step 1) or backward (−1).

        Returns:
            (the last place at which a word may end or -1, whether the place `stop` was reached and is one).
        """
        if not 0 <= start <= view.length:
            raise ArgumentError.of(
                "language", f"a start within 0 to {view.length}", f"{start}", "choose a place in the text"
            )
        r = automaton.residuals
        behind = start - 1 if step > 0 else start
        tables, number = automaton.started(self._bits(automaton, view, behind) if r.needs else 0)
        late, stride = tables.late, tables.stride
        at = np.empty(3, np.int64)
        last = start if tables.table[number, 0] & ACCEPT else -1
        if last >= 0 and until & ACCEPT:
            return last, start == stop
        at[0], at[1], at[2] = number * stride, start, -1
        where, scan = native.address(at), self._scan[view.symbol]
        special = view.length - 1 if r.final >= 0 and view.length and view.symbols[-1] == 10 else -1
        i, flags = start, 0
        while i != stop and not flags & until:
            if (i if step > 0 else i - 1) != special:
                bound = stop if abs(stop - i) <= PIECE else i + step * PIECE
                bound = min(bound, special) if special >= 0 and step > 0 else bound
                held, came = tables.table, i
                # a backward scan reads the symbol before its place
                address = view.address if step > 0 else view.address - view.symbols.itemsize
                scan(address, self._classes_at, native.address(held), where, i, bound, step, until)
                i = int(at[1])
                if i != came:
                    flags = int(held.flat[int(at[0])])
                if i == bound or flags & until:
                    continue
            read = i if step > 0 else i - 1
            letter = r.final if read == special else int(self.classes[view.symbols[read]])
            tables, number = automaton.moved(tables, int(at[0]) // stride, letter)
            i += step
            at[0], at[1] = number * stride, i
            flags = int(tables.table[number, 0])
            if flags & ACCEPT:
                at[2] = i
        if at[2] >= 0:
            last = int(at[2]) - step * late
        return self._finish(automaton, tables, view, int(at[0]) // stride, i, stop, step, last, late)

    def _finish(
        self,
        automaton: Automaton,
        tables: Any,
        view: View,
        number: int,
        i: int,
        stop: int,
        step: int,
        last: int,
        late: bool,
    ) -> tuple[int, bool]:
        if i != stop:
            return last, False
        if not late:
            return last, last == stop
        groups, _, before, _ = tables.states[number]
        behind = self._bits(automaton, view, stop if step > 0 else stop - 1)
        ends = any(tables.residuals.ends(g, before, behind) for g in groups)
        return (stop if ends else last), ends
