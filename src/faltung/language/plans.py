"""What a language was compiled to, for people to read: method, states, cost, and why other methods were refused."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faltung.language.grammar import Grammar
from faltung.language.matching import Match, Matcher
from faltung.language.semirings import Semiring
from faltung.language.weighing import Weigher


@dataclass(frozen=True)
class Plan:
    """A language over one semiring: call it with a word for the word's weight; print it to see how that is done."""

    language: Any
    semiring: Semiring
    method: str
    states: str
    cost: str
    refusals: tuple[tuple[str, str], ...]

    @property
    def over(self) -> str:
        """The semiring's name."""
        return self.semiring.name

    def __call__(self, word: Any) -> Any:
        return self.language.weight(word, self.semiring)

    def weight(self, word: Any) -> Any:
        """The weight of a word over the plan's semiring."""
        return self(word)

    # A plan is used as what `re.compile` returns; whether and where there is a match is a matter of truth, over any semiring.

    def match(self, text: Any) -> Match | None:
        """The longest word of the language at the beginning of the text."""
        return self.language.match(text)

    def fullmatch(self, text: Any) -> Match | None:
        """The text, where all of it is a word."""
        return self.language.fullmatch(text)

    def search(self, text: Any) -> Match | None:
        """The leftmost word in the text, the longest of these."""
        return self.language.search(text)

    def finditer(self, text: Any) -> Iterator[Match]:
        """One word after the other, none overlapping."""
        return self.language.finditer(text)

    def derivative(self, word: Any) -> Any:
        """What may follow after a word: the language of the rest."""
        return self.language.derivative(word)

    def __str__(self) -> str:
        lines = [
            f"language over {self.over}",
            f"  method  {self.method}",
            f"  states  {self.states}",
            f"  cost    {self.cost}",
        ]
        return "\n".join([*lines, *(f"  refused {name}: {reason}" for name, reason in self.refusals)])


DERIVATIVES, POSITIONS, FOREST = "derivatives", "position automaton", "parse forest"


def planned(language: Any, semiring: Semiring, form: Matcher | Weigher | Grammar | None) -> Plan:
    """The plan of a language's compiled form."""
    has = language.term.has
    refusals = []
    if semiring.name != "boolean":
        refusals.append((DERIVATIVES, "sets of residuals know truth only"))
    if "ref" in has:
        refusals.append((POSITIONS, "a recursion has no finite automaton"))
        refusals += [(DERIVATIVES, "a recursion has no finite table")] if semiring.name == "boolean" else []
    if isinstance(form, Matcher):
        made = len(form.forward.tables.states)
        states = f"{made} of at most {form.forward.tables.most} made so far, {form.forward.residuals.classes} classes of letters"
        return Plan(
            language, semiring, "lazy automaton of derivatives, compiled scan", states, "one table entry a symbol",
            (*refusals, (POSITIONS, "truth needs no weights: derivatives do less work"),
             (FOREST, "the language is regular")),
        )  # fmt: skip
    if isinstance(form, Weigher):
        p = form.positions
        return Plan(
            language, semiring, form.method, f"{p.states} ({len(p.letters)} letters and the start), {p.moves} moves",
            f"at most {p.moves} products a symbol", (*refusals, (FOREST, "the language is regular")),
        )  # fmt: skip
    if form is None:
        return Plan(language, semiring, "part by part, then one product", "those of the parts", "the sum of the parts'",
                    tuple(refusals))  # fmt: skip
    count = sum(symbol is not None for symbol in form.after)
    return Plan(
        language, semiring, "parse forest (Earley), then its value", f"{len(form.rules)} nonterminals, {count} symbols in rules",
        "linear in the length for deterministic grammars, at worst cubic", tuple(refusals),
    )  # fmt: skip
