"""Words of a boolean language in texts: whole texts, beginnings, and leftmost-longest matches.

A text is read by the scanning kernel. `str` is read as Latin-1 or UTF-32 symbols, bytes-like objects in place. Finding a match
takes one pass forward, which ends at the end of the leftmost-longest match, and one backward from there to its start.
"""

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.kernels import native
from faltung.kernels.automaton import on_numba
from faltung.kernels.automaton.contract import ACCEPT, SINK
from faltung.language import charset, terms
from faltung.language.residuals import Residuals, lowered
from faltung.language.tables import BUDGET, Automaton
from faltung.language.terms import Term

PIECE = 1 << 26  # symbols that one call of the kernel reads at most, so that interrupts are heard
SHORT = 48  # letters of a word that is read without a kernel
LEARNED = 512  # letters that one state keeps for such words
ROOM = 512  # matches that one call of the kernel finds at most


class _Kept(threading.local):
    """Where kernels keep their state and matches between calls: one for each thread."""

    def __init__(self) -> None:
        self.at = (ctypes.c_int64 * 8)()
        self.spans = (ctypes.c_int64 * (2 * ROOM))()


_kept = _Kept()


class Match:
    """A word of the language within a text: `text[begin:stop]`. Answers to the names that `re.Match` has."""

    __slots__ = ("begin", "stop", "text")

    def __init__(self, text: Any, begin: int, stop: int) -> None:
        self.text, self.begin, self.stop = text, begin, stop

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

    __slots__ = ("_symbols", "address", "held", "length", "symbol", "text")

    def __init__(self, text: Any, binary: bool) -> None:
        self.text = text
        self._symbols: np.ndarray | None = None
        self.held: bytes | memoryview
        self.address: Any
        if isinstance(text, str):
            if binary:
                raise ArgumentError.of("language", "bytes for a language of bytes", "str", "encode the text")
            self.held, self.symbol = _encoded(text)
            self.length = len(text)
        else:
            if not binary:
                raise ArgumentError.of("language", "a str", type(text).__name__, "decode it, or use a bytes pattern")
            self.held, self.symbol = _bytes(text), "uint8"
            self.length = len(self.held)
        # bytes are their own address to a kernel
        self.address = self.held if isinstance(self.held, bytes) else native.address(self.symbols)

    @property
    def symbols(self) -> np.ndarray:
        """The symbols as numbers."""
        if self._symbols is None:
            self._symbols = np.frombuffer(self.held, self.symbol) if self.length else np.empty(0, self.symbol)
        return self._symbols


def _bytes(text: Any) -> bytes | memoryview:
    """Whatever holds bytes, as it lies in memory."""
    if type(text) is bytes:
        return text
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
        self.classes, self._classes_at, label = table, native.address(table), str(table.dtype)
        self._scan = {s: on_numba.scan(s, label) for s in ("uint8", "uint32")}
        self._find = {s: on_numba.find(s, label) for s in ("uint8", "uint32")}
        self._late = bool(self.forward.residuals.needs)

    @property
    def searching(self) -> tuple[Automaton, Automaton]:
        """The automata that find ends from the left and starts from the right."""
        if self._searching is None:
            residuals = self.forward.residuals.fresh()
            backward = Residuals(terms.reverse(self._simple), self.size, like=residuals)
            self._searching = (
                Automaton(residuals, search=True, budget=self._budget),
                Automaton(backward, budget=self._budget),
            )
        return self._searching

    # -- questions --------------------------------------------------------------------------------------------------------

    def fullmatch(self, text: Any) -> Match | None:
        """The whole text, if it is a word of the language."""
        return Match(text, 0, len(text)) if self.accepts(text) else None

    def accepts(self, text: Any) -> bool:
        """Whether the whole text is a word of the language."""
        if not self._late and type(text) is (bytes if self.binary else str) and len(text) <= SHORT:
            return self._short(text)
        view = View(text, self.binary)
        return self._run(self.forward, view, 0, SINK)[1]

    def _short(self, word: Any) -> bool:
        tables = self.forward.tables
        n = tables.home
        if n < 0:
            tables, n = self.forward.begun(tables, 0)
        rows = tables.rows
        for c in word:
            to = rows[n].get(c)
            if to is None:
                letter = int(self.classes[c if self.binary else ord(c)])
                tables, n = self.forward.known(tables, n, letter)
                rows = tables.rows
                to = int(tables.table[n, letter + 1]) // tables.stride
                if len(rows[n]) < LEARNED:
                    rows[n][c] = to
            n = to
        return bool(tables.flags[n] & ACCEPT)

    def match(self, text: Any, start: int = 0) -> Match | None:
        """The longest word that begins at `start`."""
        view = View(text, self.binary)
        last, _ = self._run(self.forward, view, _place(start, view), SINK)
        return Match(text, start, last) if last >= 0 else None

    def search(self, text: Any, start: int = 0) -> Match | None:
        """The longest of the words that begin leftmost from `start` on."""
        view = View(text, self.binary)
        for begin, stop in self.spans(view, _place(start, view), 1):
            return Match(text, begin, stop)
        return None

    def contains(self, text: Any) -> bool:
        """Whether some part of the text is a word; reads no further than the end of the first."""
        return self._run(self.searching[0], View(text, self.binary), 0, SINK | ACCEPT)[0] >= 0

    def finditer(self, text: Any) -> Iterator[Match]:
        """All matches from left to right, none within another; an empty one may touch the one before."""
        for start, stop in self.spans(View(text, self.binary)):
            yield Match(text, start, stop)

    # -- the loops between kernels and tables -------------------------------------------------------------------------------

    def _beside(self, automaton: Automaton, view: View, place: int) -> int:
        """The class of the symbol at a place, of the text's edge beyond it."""
        r = automaton.residuals
        if not r.needs or not 0 <= place < view.length:
            return automaton.tables.edge if r.needs else 0
        symbol = int(view.symbols[place])
        return r.final if symbol == 10 and place == view.length - 1 and r.final >= 0 else int(r.table[symbol])

    def _special(self, automaton: Automaton, view: View) -> int:
        """The number of the symbol that is a final newline; -2 if there is none or nobody asks."""
        return view.length - 1 if automaton.residuals.final >= 0 and view.length and view.symbols[-1] == 10 else -2

    def _run(self, automaton: Automaton, view: View, start: int, until: int) -> tuple[int, bool]:
        """Read forward from a place.

        Returns:
            (the last place at which a word may end or -1, whether the end of the text was reached and is one).
        """
        stop, scan, at = view.length, self._scan[view.symbol], _kept.at
        tables = automaton.tables
        number = tables.home
        if tables.late or number < 0:
            tables, number = automaton.begun(tables, self._beside(automaton, view, start - 1))
        late, special, final = tables.late, self._special(automaton, view), automaton.residuals.final
        last = start if tables.flags[number] & ACCEPT and not late else -1
        if last >= 0 and until & ACCEPT:
            return last, start == stop
        at[0], at[1], at[2] = number * tables.stride, start, -1
        where, i = ctypes.addressof(at), start
        while i != stop:
            held = tables.held  # a larger one may take its place while the kernel reads
            scan(view.address, self._classes_at, held[1], where, i, min(stop, i + PIECE), 1, until, special, final)
            came, i, number = i, at[1], at[0] // tables.stride
            if i != came and tables.flags[number] & until:
                break
            if i - came < PIECE and i != stop:
                tables, number = automaton.known(tables, number, self._beside_or(final, special, view, i))
                at[0] = number * tables.stride
        if at[2] >= 0:
            last = at[2] - late
        if i != stop or not late:
            return last, last == stop
        tables, number = automaton.known(tables, number, tables.edge)
        ends = bool(tables.flags[int(tables.table[number, tables.edge + 1]) // tables.stride] & ACCEPT)
        return (stop if ends else last), ends

    def _beside_or(self, final: int, special: int, view: View, place: int) -> int:
        return final if place == special else int(self.classes[view.symbols[place]])

    def spans(self, view: View, start: int = 0, most: int = 0) -> Iterator[tuple[int, int]]:
        """(start, stop) of the matches from a place on; `most` 0: all of them."""
        ends, starts = self.searching
        a, b = ends.tables, starts.tables
        find, special, final = self._find[view.symbol], self._special(ends, view), ends.residuals.final
        state: list[Any] = [0, 0, 0, 0, start, 0, 0]
        while True:
            at, spans = _kept.at, _kept.spans  # other searches of this thread may come between two matches
            at[:7], room = state, most or ROOM
            held = a.held, b.held
            find(
                view.address, self._classes_at, held[0][1], held[1][1], a.first_at, b.first_at,
                ctypes.addressof(at), ctypes.addressof(spans), view.length, special, final, a.edge, a.late, room,
            )  # fmt: skip
            state = at[:7]
            phase, place, count, asked = state[0], state[4], state[5], state[6]
            if asked < 0:
                found = spans[: 2 * count]
                yield from zip(found[::2], found[1::2], strict=True)
                if place > view.length or most:
                    return
                state[5] = 0
            elif phase == on_numba.START_OF_END:
                a, _ = ends.begun(a, asked)
            elif phase == on_numba.START_OF_START:
                b, _ = starts.begun(b, asked)
            elif phase == on_numba.END:
                a, number = ends.known(a, state[1] // a.stride, asked)
                state[1] = number * a.stride
            else:
                b, number = starts.known(b, state[1] // b.stride, asked)
                state[1] = number * b.stride


def _place(start: int, view: View) -> int:
    if not 0 <= start <= view.length:
        raise ArgumentError.of(
            "language", f"a start within 0 to {view.length}", f"{start}", "choose a place in the text"
        )
    return start
