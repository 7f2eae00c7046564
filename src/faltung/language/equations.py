"""The value of a parse forest over a semiring: parts first; parts that depend on themselves by solving their equations.

A node's equation is x = ⊕ of terms with one or two factors. Within a strongly connected component it is linear if no term has two
factors there: then elimination with stars solves it. Otherwise it is iterated from zero until nothing changes, which is the least
solution; over counts such a node has infinitely many parses and its value is ∞.

Source: Tarjan (1972) for components; Lehmann (1977) for elimination with stars; Goodman (1999).
"""

import math
from typing import Any

from faltung.errors import RefusedError
from faltung.language.semirings import Semiring

ROUNDS = 10_000


def solved(forest: Any, semiring: Semiring) -> Any:
    """The value of the forest's root."""
    system = _System(forest, semiring)
    for component in components(forest.ways, forest.root):
        if len(component) == 1 and not system.loops(component[0]):
            system.values[component[0]] = system.value(component[0])
        else:
            system.solve(component)
    return system.values[forest.root]


def components(ways: list[list[tuple[int, int]]], root: int) -> list[list[int]]:
    """Strongly connected components of what the root depends on, dependencies first."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    closed: set[int] = set()
    path: list[int] = []
    found: list[list[int]] = []
    work: list[tuple[int, Any]] = [(root, None)]
    while work:
        node, below = work[-1]
        if below is None:
            index[node] = low[node] = len(index)
            path.append(node)
            below = iter([n for way in ways[node] for n in way if n >= 0])
            work[-1] = node, below
        for n in below:
            if n not in index:
                work.append((n, None))
                break
            if n not in closed:
                low[node] = min(low[node], index[n])
        else:
            work.pop()
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
            if low[node] == index[node]:
                component = []
                while True:
                    n = path.pop()
                    closed.add(n)
                    component.append(n)
                    if n == node:
                        break
                found.append(component)
    return found


class _System:
    def __init__(self, forest: Any, semiring: Semiring) -> None:
        self.forest, self.s = forest, semiring
        self.values: dict[int, Any] = {}
        g = forest.grammar
        self.letter = semiring.one if semiring.letter is None else semiring.letter
        self._left: dict[int, Any] = {}
        self._right: dict[int, Any] = {}
        self._sides = ((self._left, g.left), (self._right, g.right))

    def side(self, slot: int, which: int) -> Any:
        """A rule's weight on one side, None for one."""
        kept, given = self._sides[which]
        rule = self.forest.grammar.rule[slot]
        if rule not in kept:
            kept[rule] = self.forest.value(slot, self.s, given)
        return kept[rule]

    def loops(self, node: int) -> bool:
        """Whether a node depends directly on itself."""
        return any(node in way for way in self.forest.ways[node])

    def factors(self, node: int, way: tuple[int, int]) -> tuple[Any, int, Any, int, Any]:
        """One term as constant, node, constant, node, constant; −1 for no node, None for no constant."""
        first, second = way
        if second == -2:  # a finished rule stands for its nonterminal
            return None, first, self.side(self.forest.slot[first], 1), -1, None
        slot = self.forest.slot[node]
        if first < 0 and second < 0 and self.starts(slot):
            return self.side(slot, 0), -1, None, -1, None
        before = self.side(slot, 0) if first < 0 else None
        if second < 0:
            return before, first, self.letter, -1, None
        return before, first, None, second, None

    def starts(self, slot: int) -> bool:
        """Whether nothing stands before the dot."""
        g = self.forest.grammar
        return slot == 0 or g.rule[slot - 1] != g.rule[slot]

    def term(self, node: int, way: tuple[int, int]) -> Any:
        a, x, b, y, c = self.factors(node, way)
        mul, total = self.s.mul, None
        for factor in (a, self.values.get(x, self.s.zero) if x >= 0 else None, b,
                       self.values.get(y, self.s.zero) if y >= 0 else None, c):  # fmt: skip
            if factor is not None:
                total = factor if total is None else mul(total, factor)
        return self.s.one if total is None else total

    def value(self, node: int) -> Any:
        """The sum of a node's terms, from the values known."""
        add, ways = self.s.add, self.forest.ways[node]
        total = self.term(node, ways[0])
        for way in ways[1:]:
            total = add(total, self.term(node, way))
        return total

    # -- nodes that depend on themselves --------------------------------------------------------------------------------------

    def solve(self, component: list[int]) -> None:
        inside = set(component)
        within = [[sum(n in inside for n in way) for way in self.forest.ways[node]] for node in component]
        if self.s.name == "count":
            self.values |= dict.fromkeys(component, math.inf)
        elif self.s.commutative and max(max(row) for row in within) < 2:
            self._eliminate(component, inside)
        else:
            self._iterate(component)

    def _eliminate(self, component: list[int], inside: set[int]) -> None:
        """x = A x ⊕ b by Gauss–Jordan elimination, each pivot by its star."""
        s = self.s
        number = {node: n for n, node in enumerate(component)}
        size = len(component)
        matrix: list[dict[int, Any]] = [{} for _ in component]
        constant = [s.zero] * size
        for i, node in enumerate(component):
            for way in self.forest.ways[node]:
                a, x, b, y, c = self.factors(node, way)
                unknown, factor = -1, s.one
                for have in (a, b, c):
                    factor = s.mul(factor, have) if have is not None else factor
                for n in (x, y):
                    if n in inside:
                        unknown = number[n]
                    elif n >= 0:
                        factor = s.mul(factor, self.values[n])
                if unknown < 0:
                    constant[i] = s.add(constant[i], factor)
                else:
                    row = matrix[i]
                    row[unknown] = s.add(row[unknown], factor) if unknown in row else factor
        for k in range(size):
            again = s.star(matrix[k].pop(k, s.zero))
            matrix[k] = {j: s.mul(again, v) for j, v in matrix[k].items()}
            constant[k] = s.mul(again, constant[k])
            for i in range(size):
                if i != k and k in matrix[i]:
                    factor = matrix[i].pop(k)
                    constant[i] = s.add(constant[i], s.mul(factor, constant[k]))
                    for j, v in matrix[k].items():
                        term = s.mul(factor, v)
                        matrix[i][j] = s.add(matrix[i][j], term) if j in matrix[i] else term
        self.values |= {node: constant[n] for n, node in enumerate(component)}

    def _iterate(self, component: list[int]) -> None:
        if self.s.exact and not self.s.idempotent:  # nothing comes near a limit there
            raise RefusedError.of(
                f"a grammar over {self.s.name}", "parses that end", "rules that return to themselves twice without a letter",
                "use over='real', or remove such rules",
            )  # fmt: skip
        self.values |= dict.fromkeys(component, self.s.zero)
        for _ in range(ROUNDS):
            after = {node: self.value(node) for node in component}
            same = all(self.s.same(after[node], self.values[node]) for node in component)
            self.values |= after
            if not self.s.idempotent and any(isinstance(v, float) and not math.isfinite(v) for v in after.values()):
                break
            if same:
                return
        raise RefusedError.of(
            f"a grammar over {self.s.name}", "parses whose sum settles", f"none within {ROUNDS} rounds",
            "remove rules that return to themselves without a letter",
        )  # fmt: skip
