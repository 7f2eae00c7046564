"""How much the whole network can amplify, step by step."""

import math
from contextlib import suppress
from typing import Any

from faltung.certify import Lipschitz, lipschitz, local_lipschitz, radius
from faltung.errors import FaltungError
from faltung.report.section import WHOLE, Column, Rule, Section, Subject, Values
from faltung.report.sections.identity import plain

COLUMNS = (
    Column(
        "factor",
        "factor",
        "certified factor of the step, its margin included; of a norm behind a convolution that of both together",
        "certify.lipschitz",
    ),
    Column("running", "up to here", "certified factor from the input to this step", "certify.lipschitz"),
)
NEAR = 0.01  # of the example's spread: the box of the local bound


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
    if subject.level == "full":
        local(subject, example[:1])
    subject.notes += [f"no bound is known for {name}: the network's is infinite" for name in bound.unknown]
    return by_layer(bound, subject)


def local(subject: Subject, x: Any) -> None:
    """The bound of how much the strongest result can move near the example, place by place: a fact of the network."""
    assert subject.model is not None
    eps = NEAR * (float(x.double().std(correction=0)) or 1.0)
    try:
        scores = subject.call(x)
        (bound,) = local_lipschitz(subject.model, x, eps, outputs=[int(scores[0].argmax())])
    except FaltungError as error:
        subject.notes.append(f"a local bound is not known: {error}")
        return
    subject.facts["local l∞ bound"] = bound.upper
    subject.notes.append(
        f"the local l∞ bound is of the largest result, for inputs within {eps:.2g} of the example, place by place"
    )


def by_layer(bound: Lipschitz, subject: Subject) -> Values:
    """The rows of a bound under the names of the network's layers: of a module its kernel's step, which counts the pad before it.

    A step without a bound stands under its own name, whatever else its module does.
    """
    known = {node.name: node.op for node in subject.network.nodes}
    found: dict[str, dict[str, Any]] = {}
    for row in bound.rows:
        module, word = plain(row.module), row.op.rpartition(".")[2].rstrip("_")
        own = f"{module}.{word}" if module else word
        if math.isinf(row.factor):
            name = next((n for n in (own, module) if n in known), WHOLE)
            found[name] = {"factor": row.factor, "running": row.bound}
        elif known.get(module) in ("conv", "linear"):
            if any(part in word for part in ("conv", "linear", "mm")):
                found.setdefault(module, {"factor": row.factor, "running": row.bound})
        elif module in known:
            found[module] = {"factor": row.factor, "running": row.bound}
    return found


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
