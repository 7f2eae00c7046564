"""The report as one HTML page: no network, no fonts, no scripts from elsewhere."""

import math
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from faltung.errors import MissingExtraError
from faltung.report.words import shown

if TYPE_CHECKING:
    from faltung.report.report import Report

WORDS = {"bad": "Fault", "warn": "Warning", "info": "Note"}
LISTED = 12  # places of a finding that are named
NAME = "layer"


def page(report: "Report") -> str:
    """The page's text.

    Raises:
        MissingExtraError: without Jinja2.
    """
    try:
        from jinja2 import Environment
    except ImportError:
        raise MissingExtraError("the page of a report needs Jinja2: pip install 'faltung[report]'") from None

    template = files("faltung.report").joinpath("page.html").read_text(encoding="utf-8")
    columns = [(section.name, column) for section in report.sections for column in section.columns]
    anchors = {name: f"layer-{n}-{re.sub(r'[^A-Za-z0-9]+', '-', name)}" for n, name in enumerate(report.layers)}
    filled = {key for row in report.layers.values() for key, value in row.items() if value is not None}
    known = {section.name for section in report.sections if filled & {column.key for column in section.columns}}
    heads = [{"section": "", "title": NAME, "says": "its name in the model", "by": "faltung.readers.read"}]
    heads += [{"section": s, "title": c.title, "says": c.says, "by": c.by} for s, c in columns if s in known]
    rows = [
        {"anchor": anchors[name], "cells": [{"text": name}, *(cell(row.get(c.key)) for s, c in columns if s in known)]}
        for name, row in report.layers.items()
    ]
    findings = [
        {
            "rule": f.rule, "title": f.title, "grade": f.grade, "meaning": f.meaning, "expected": f.expected, "fix": f.fix,
            "code": f'better, proof = report.fix("{f.rule}")' if f.rewrite and report.model is not None else "",
            "proof": str(report.checks[f.rewrite]) if f.rewrite in report.checks else "",
            "where": [{"layer": layer, "value": shown(value)} for layer, value in f.where[:LISTED]],
            "more": max(0, len(f.where) - LISTED),
        }
        for f in report.findings
    ]  # fmt: skip
    counts = {grade: sum(f.grade == grade for f in report.findings) for grade in WORDS}
    facts = [(name, shown(value)) for name, value in report.facts.items()]
    facts.append(
        (
            "findings",
            ", ".join(f"{n} {WORDS[g].lower()}{'s' if n > 1 else ''}" for g, n in counts.items() if n) or "none",
        )
    )
    sections = [s.name for s in report.sections if s.name in known]
    return Environment(autoescape=True).from_string(template).render(
        title=f"Report on {report.source.partition(', read from')[0]}", source=report.source, facts=facts, findings=findings,
        words=WORDS, anchors=anchors, sections=sections, shown=sections[:3], columns=heads, rows=rows,
        pictures=[{"body": body, "caption": words} for body, words in report.pictures],
        notes=[f"level {report.level}", *report.notes],
    )  # fmt: skip


def cell(value: Any) -> dict[str, Any]:
    """What a cell shows, and what it is sorted by."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    unknown = value is None or (number and math.isnan(value))
    return {"text": shown(value), "value": "" if unknown else value, "word": isinstance(value, str)}
