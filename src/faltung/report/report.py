"""The report: rows, findings and facts, as text, JSON or a page."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faltung.errors import ArgumentError
from faltung.report.fixes import Check, checked, fix
from faltung.report.section import Section
from faltung.report.words import shown
from faltung.version import __version__

FORMAT = 1
GRADES = ("bad", "warn", "info")


@dataclass(frozen=True)
class Finding:
    """One broken rule and where.

    Fields: rule, title, grade, expected, meaning, fix: as in `faltung.report.section.Rule`.   where: (layer, value) each.
        rewrite: name of the rewriting that `Report.fix` takes, or "".
    """

    rule: str
    title: str
    grade: str
    expected: str
    meaning: str
    fix: str
    where: tuple[tuple[str, Any], ...]
    rewrite: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """All that was found about a network.

    Fields:
        source: what was read, and how.   level: "fast", "standard" or "full".   layers: by name, values by column.
        facts: numbers of the whole network.   findings: the worst first.   notes: what could not be found out.
        sections: the columns' meanings.   pictures: (body, words) each.   model, example: what was given, for `fix`.
        checks: by rule, what came of the fixes that were tried: by `fix`, and from level "standard" on by `inspect`.
    """

    source: str
    level: str
    layers: Mapping[str, Mapping[str, Any]]
    facts: Mapping[str, Any]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    pictures: tuple[tuple[str, str], ...] = ()
    model: Any = field(default=None, repr=False)
    example: Any = field(default=None, repr=False)
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def worst(self) -> str:
        """The grade of the worst finding, "good" without any."""
        return self.findings[0].grade if self.findings else "good"

    def to_text(self) -> str:
        """Facts, findings and the most important columns, for a terminal."""
        lines = [self.source, "  ".join(f"{name} {shown(value)}" for name, value in self.facts.items()), ""]
        for f in self.findings:
            places = ", ".join(f"{layer} ({shown(value)})" for layer, value in f.where[:4])
            more = f" and {len(f.where) - 4} more" if len(f.where) > 4 else ""
            lines += [f"[{f.grade}] {f.rule} {f.title}: {places}{more}; expected {f.expected}", f"       {f.fix}"]
            lines += [f"       checked: {self.checks[f.rewrite]}"] if f.rewrite in self.checks else []
        lines += [] if self.findings else ["no rule is broken"]
        return "\n".join([*lines, "", *(f"note: {note}" for note in self.notes)]).rstrip()

    def to_dict(self) -> dict[str, Any]:
        """What `to_json` writes; numbers that are not finite become words."""
        return {
            "format": FORMAT,
            "faltung": __version__,
            "source": self.source,
            "level": self.level,
            "facts": {name: _plain(value) for name, value in self.facts.items()},
            "layers": {name: {key: _plain(value) for key, value in row.items()} for name, row in self.layers.items()},
            "findings": [
                {
                    "rule": f.rule,
                    "title": f.title,
                    "grade": f.grade,
                    "expected": f.expected,
                    "meaning": f.meaning,
                    "fix": f.fix,
                    "where": [[layer, _plain(value)] for layer, value in f.where],
                }
                for f in self.findings
            ],
            "checks": {
                rule: {key: _plain(value) for key, value in vars(check).items()} for rule, check in self.checks.items()
            },
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """All numbers, for programs and for `faltung compare`."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)

    def to_html(self) -> str:
        """One page that needs nothing else: table, findings, pictures; it can be sorted, searched and printed."""
        from faltung.report.page import page

        return page(self)

    def save(self, path: str | Path) -> None:
        """Write .html, .json or .txt.

        Raises:
            ArgumentError: for another ending.
        """
        path = Path(path)
        writers = {".html": self.to_html, ".htm": self.to_html, ".json": self.to_json, ".txt": self.to_text}
        if path.suffix.lower() not in writers:
            raise ArgumentError.of(
                "Report.save", "a path ending in .html, .json or .txt", repr(path.name), "say report.html"
            )
        path.write_text(writers[path.suffix.lower()](), encoding="utf-8")

    def fix(self, *rules: str) -> tuple[Any, list[str]]:
        """A rewritten copy of the model and what the rewriting changed, measured on the example and on noise.

        Args:
            rules: ids of findings that have a rewriting, such as "E3". Default: all that keep the results.

        Raises:
            ArgumentError: without a module and an example, or for a rule without a rewriting.
            VerificationError: a rewritten model that does not run, or whose results are another's.
        """
        return fix(self, rules)

    def check(self, *rules: str) -> Mapping[str, Check]:
        """Try fixes, each alone, and keep what came of them, for the page too; one that fails says so and raises nothing.

        Args:
            rules: ids of findings that have a rewriting. Default: all.

        Cost: that of each rewriting, one copy of the model and four calls of it.
        """
        checked(self, rules or tuple(f.rewrite for f in self.findings if f.rewrite))
        return self.checks


def found_by(
    sections: Sequence[Section], layers: Mapping[str, Mapping[str, Any]], wanted: Sequence[str] | None
) -> tuple[Finding, ...]:
    """The broken rules, worst first; all of them, or those whose ids are wanted."""
    findings = []
    for section in sections:
        for rule in section.rules:
            if wanted is not None and rule.id not in wanted:
                continue
            measured = [(name, row.get(rule.column)) for name, row in layers.items()]
            where = tuple((name, value) for name, value in measured if value is not None and rule.broken(value))
            if where:
                findings.append(
                    Finding(rule.id, rule.title, rule.grade, rule.expected, rule.meaning, rule.fix, where, rule.rewrite)
                )
    return tuple(sorted(findings, key=lambda f: GRADES.index(f.grade)))


def _plain(value: Any) -> Any:
    """For JSON, which knows no infinity."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
