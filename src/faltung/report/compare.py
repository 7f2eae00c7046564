"""Two reports side by side: what got worse, for people and for a build that has to stop."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faltung.errors import ArgumentError, FileError
from faltung.report.report import FORMAT, GRADES, Report
from faltung.report.words import shown

WATCHED = ("parameters", "MACs")  # facts whose growth is told


@dataclass(frozen=True)
class Comparison:
    """What changed from one report to another.

    Fields:
        new: findings by (rule, layer) that the first does not have; its grade and value.   gone: those that it alone has.
        facts: (name, before, after) of facts that differ.   layers: names that only one of them has.
    """

    new: tuple[tuple[str, str, str, Any], ...]
    gone: tuple[tuple[str, str, str, Any], ...]
    facts: tuple[tuple[str, Any, Any], ...]
    layers: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether there is a new fault or warning."""
        return any(grade != "info" for _, _, grade, _ in self.new)

    def to_text(self) -> str:
        """For people."""
        lines = [f"{name}: {shown(a)} → {shown(b)}" for name, a, b in self.facts]
        lines += [f"new [{grade}] {rule} {layer} ({shown(value)})" for rule, layer, grade, value in self.new]
        lines += [f"gone [{grade}] {rule} {layer}" for rule, layer, grade, _ in self.gone]
        lines += [f"only in one: {', '.join(self.layers)}"] if self.layers else []
        return "\n".join(lines) or "no difference"


def compare(before: Any, after: Any) -> Comparison:
    """The difference of two reports.

    Args:
        before, after: a `Report`, what `Report.to_dict` gives, or the path of a report in JSON.

    Raises:
        FileError: for a file that is no report.   ArgumentError: for reports of different levels, or something else.
    """
    first, second = _read(before), _read(after)
    if first["level"] != second["level"]:
        raise ArgumentError.of(
            "compare",
            "two reports of the same level",
            f"{first['level']} and {second['level']}",
            "inspect again at one level",
        )
    one, other = _findings(first), _findings(second)
    facts = [(n, first["facts"].get(n), second["facts"].get(n)) for n in WATCHED]
    return Comparison(
        tuple((*key, *other[key]) for key in other if key not in one),
        tuple((*key, *one[key]) for key in one if key not in other),
        tuple(entry for entry in facts if entry[1] != entry[2]),
        tuple(sorted(set(first["layers"]) ^ set(second["layers"]))),
    )


def _findings(report: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, Any]]:
    """Grade and value by rule and layer, worst first."""
    listed = sorted(report["findings"], key=lambda f: GRADES.index(f["grade"]))
    return {(f["rule"], layer): (f["grade"], value) for f in listed for layer, value in f["where"]}


def _read(given: Any) -> Mapping[str, Any]:
    """The report as plain data."""
    if isinstance(given, Report):
        return given.to_dict()
    if isinstance(given, Mapping):
        return given
    if not isinstance(given, (str, Path)):
        raise ArgumentError.of(
            "compare", "a Report or the path of one in JSON", type(given).__name__, "use inspect(...)"
        )
    try:
        data = json.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError.of(
            "compare", "a report in JSON", f"{given}: {error}", "write one with report.save('a.json')"
        ) from None
    parts = ("level", "facts", "layers", "findings")
    if not isinstance(data, dict) or data.get("format") != FORMAT or any(part not in data for part in parts):
        raise FileError.of(
            "compare", f"a report in JSON of format {FORMAT}", str(given), "write one with report.save('a.json')"
        )
    return data
