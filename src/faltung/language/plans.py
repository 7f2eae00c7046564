"""What a language was compiled to, for people to read: method, states, cost, and why other methods were refused."""

from dataclasses import dataclass
from typing import Any

from faltung.language.grammar import Grammar
from faltung.language.matching import Matcher
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
