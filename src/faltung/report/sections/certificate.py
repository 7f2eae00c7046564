"""How much the whole network can amplify, step by step."""

import math
from contextlib import suppress
from typing import Any

from faltung.certify import lipschitz, radius
from faltung.errors import FaltungError
from faltung.report.section import Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import plain

COLUMNS = (
    Column(
        "factor",
        "factor",
        "certified factor of the step, the norm behind it and its margin included",
        "certify.lipschitz",
    ),
    Column("running", "up to here", "certified factor from the input to this step", "certify.lipschitz"),
)


def fill(subject: Subject) -> Values:
    """Certified factors by layer."""
    if subject.model is None or subject.example is None:
        return {}
    example = subject.example[0] if isinstance(subject.example, (tuple, list)) else subject.example
    try:
        bound = lipschitz(subject.model, example, rtol=0.1)
    except FaltungError as error:
        subject.notes.append(f"the network's Lipschitz constant is not known: {error}")
        return {}
    subject.facts["Lipschitz ≤"] = float(bound)
    with suppress(FaltungError):  # results that are no classes have no radius
        subject.facts["certified radius"] = float(radius(subject.model, example[:1], rtol=0.1)[0])
    subject.notes += [f"no bound is known for {name}: the network's is infinite" for name in bound.unknown]
    found: dict[str, dict[str, Any]] = {}
    for row in bound.rows:
        name = plain(row.module)
        if name:
            found[name] = {"factor": row.factor, "running": row.bound}
    known = {node.name for node in subject.network.nodes}
    return {name: values for name, values in found.items() if name in known}


SECTION = Section(
    "certificate",
    "standard",
    COLUMNS,
    fill,
    (
        Rule("C1", "The bound is infinite from here on", "factor", math.isinf, "a step with a bound",
             "Nothing can be promised about how the network reacts to small changes of its input.",
             "replace the operation by one with a bound, such as a clamped or normalised one", "info"),
    ),
)  # fmt: skip
