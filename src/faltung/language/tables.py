"""Deterministic automata made while they run: states are sets of residuals, written into a table when a text first reaches them.

`Tables` only grows; when it is full a new one begins with the state at hand, so memory is bounded and a text is always read in
time proportional to its length. A reader keeps the tables it started with: any number of threads may read and extend them.

Two readings of one language:

- `whole`: the derivative of the language. A state accepts where a word may end.
- `search`: derivatives of the language from every start so far, the earliest first. A residual that an earlier start has too is
  dropped from the later ones, and what began after an accepting start is dropped altogether: the last accepting position is the
  end of the leftmost-longest match.
"""

import threading
from typing import Any

import numpy as np

from faltung.kernels import native
from faltung.kernels.automaton.contract import ACCEPT, LOOP, SINK
from faltung.language.residuals import Residuals, Set

BUDGET = 16 << 20  # bytes of one table
MOST = 20_000  # states: each holds Python objects of its own
State = tuple[
    tuple[Set, ...], bool, int, bool
]  # residuals by start, no more starts, bits of the symbol before, accepted


class Tables:
    """The states met so far and the moves between them, as the scanning kernel reads them."""

    def __init__(self, residuals: Residuals, search: bool, budget: int = BUDGET) -> None:
        self.residuals, self.search = residuals, search
        self.stride = residuals.classes + 1
        self.most = max(4, min(MOST, budget // (4 * self.stride)))
        self.late = bool(residuals.needs)  # acceptance depends on the next symbol: it is known one symbol later
        self.lock = threading.Lock()
        self.states: list[State] = []
        self.numbers: dict[State, int] = {}
        self.rows: list[dict[Any, int]] = []  # the same moves by letter, for words too short for a kernel
        self.flags: list[int] = []
        self.table = np.full((min(self.most, 16), self.stride), -1, np.int32)
        self.held = self.table, native.address(self.table)  # read by kernels, together
        # where the first state's row starts, by the class of the symbol beside the place; beyond the text the last entry
        self.edge = residuals.edge if self.late else residuals.classes
        self.first = np.full(residuals.classes + 1, -1, np.int32)
        self.home = -1  # the number of the first state, where it is the same everywhere
        self.first_at = native.address(self.first)
        self.share = np.bincount(
            residuals.table[:128], minlength=residuals.classes
        )  # how many ASCII letters a class holds

    def number(self, state: State) -> int:
        """The state's number, made if need be; -1 when the table is full. The lock is held."""
        found = self.numbers.get(state)
        if found is not None:
            return found
        if len(self.states) >= self.most:
            return -1
        found = len(self.states)
        if found == len(self.table):
            larger = np.full((min(self.most, 2 * found), self.stride), -1, np.int32)
            larger[:found] = self.table
            self.table = larger
            self.held = larger, native.address(larger)
        groups, closed, _, accepted = state
        dead = not any(groups) and (closed or not self.search)
        accepts = accepted if self.late else any(self.residuals.ends(g, 0, 0) for g in groups)
        self.table[found, 0] = (ACCEPT if accepts else 0) | (SINK if dead else 0)
        self.flags.append(int(self.table[found, 0]))
        self.rows.append({})
        self.states.append(state)
        self.numbers[state] = found
        return found

    def begin(self, letter: int) -> int:
        """The number of the first state beside a class of symbols; -1 when the table is full."""
        with self.lock:
            before = self.residuals.bits[letter] if self.late else 0
            found = self.number(self.cut((self.residuals.first,), False, before, False))
            if found >= 0:
                self.first[letter if self.late else slice(None)] = found * self.stride
                self.home = found
            return found

    def cut(self, groups: tuple[Set, ...], closed: bool, before: int, accepted: bool) -> State:
        """The state in its normal form: nothing that began after an accepting start, where that is known already."""
        if self.search and not self.late:
            for n, group in enumerate(groups):
                if self.residuals.ends(group, 0, 0):
                    return groups[: n + 1], True, before, accepted
        return groups, closed, before, accepted

    def next(self, state: State, letter: int) -> State:
        """The state after a class of letters."""
        groups, closed, before, _ = state
        behind, accepted = self.residuals.bits[letter], False
        if self.late:
            for n, group in enumerate(groups):
                if self.residuals.ends(group, before, behind):
                    accepted = True
                    if self.search:
                        groups, closed = groups[: n + 1], True
                    break
        if letter == self.residuals.edge:  # nothing comes behind the edge
            return (), True, 0, accepted
        if not self.search:
            return (self.residuals.step(groups[0], letter, before),), False, behind, accepted
        seen: set[int] = set()
        after = []
        for group in groups:
            step = self.residuals.step(group, letter, before) - seen
            if step:
                after.append(step)
                seen |= step
        if not closed:
            after.append(self.residuals.first - seen)
        return self.cut(tuple(after), closed, behind, accepted)

    def move(self, number: int, letter: int) -> int:
        """The number of the state after a class of letters, written into the table; -1 when the table is full."""
        with self.lock:
            known = int(self.table[number, letter + 1])
            if known >= 0:
                return known // self.stride
            found = self.number(self.next(self.states[number], letter))
            if found >= 0:
                self.table[number, letter + 1] = found * self.stride
                if found == number:
                    loops = np.flatnonzero(self.table[number, 1:] == number * self.stride)
                    if 2 * self.share[loops].sum() >= 128:
                        self.table[number, 0] |= LOOP
            return found


class Automaton:
    """One reading of a language, with its tables of the moment."""

    def __init__(self, residuals: Residuals, search: bool = False, budget: int = BUDGET) -> None:
        self.tables = Tables(residuals, search, budget)
        self.budget, self.emptied = budget, 0

    @property
    def residuals(self) -> Residuals:
        return self.tables.residuals

    def known(self, tables: Tables, number: int, letter: int) -> tuple[Tables, int]:
        """Tables that know a state's move, and the state's number there; new ones where these are full."""
        if tables.move(number, letter) >= 0:
            return tables, number
        groups, closed, before, accepted = tables.states[number]
        fresh = tables.residuals.fresh()
        carried = tuple(fresh.carried(tables.residuals, g) for g in groups)
        other = Tables(fresh, tables.search, self.budget)
        with other.lock:
            number = other.number((carried, closed, before, accepted))
        other.move(number, letter)
        self.tables = other
        self.emptied += 1
        return other, number

    def begun(self, tables: Tables, letter: int) -> tuple[Tables, int]:
        """Tables that know the first state beside a class of symbols, and its number."""
        found = tables.begin(letter)
        if found < 0:
            tables = self.tables = Tables(tables.residuals.fresh(), tables.search, self.budget)
            self.emptied += 1
            found = tables.begin(letter)
        return tables, found
