"""What a section of the report is made of: columns that every layer gets, and rules about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from faltung.readers import Network, Replay, first_tensor

LEVELS = ("fast", "standard", "full")
WHOLE = "(network)"  # the row of what is said of the network and not of a layer
Values = Mapping[str, Mapping[str, Any]]  # by layer, by column


@dataclass(frozen=True)
class Column:
    """A number or word for every layer.

    Fields: key: its name in JSON.   title: its heading.   says: what it means.   by: the public function that computes it.
    """

    key: str
    title: str
    says: str
    by: str


@dataclass(frozen=True)
class Rule:
    """A bound on a column, and what it means when it is broken.

    Fields:
        id: a letter of the section and a number.   column: the key of what is measured.   broken: of a value that is known.
        expected: the bound in words.   meaning: what follows for the user.   fix: what to do.
        grade: "bad" (results are wrong or lost), "warn" (probably not meant), "info" (worth knowing).
        rewrite: the name of a rewriting in `faltung.report.fixes`, or "".
    """

    id: str
    title: str
    column: str
    broken: Callable[[Any], bool]
    expected: str
    meaning: str
    fix: str
    grade: str = "warn"
    rewrite: str = ""


@dataclass
class Subject:
    """What is inspected: the graph, and where they are at hand the module, one input, and many inputs with labels.

    Fields:
        network: the graph; kernels with NaN or infinity are None in it, and `broken` counts such weights by layer.
        model: the torch module, if it is one.   example: one input.   replay: what runs the network on such inputs, from level
            "standard".   batch, labels: samples and their classes for level "full", drawn noise where no data were given.
        object_size: places that an object takes, if said.
    """

    network: Network
    level: str
    model: Any = None
    example: Any = None
    replay: Replay | None = None
    batch: Any = None
    labels: Any = None
    object_size: int | None = None
    broken: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)

    def call(self, x: Any) -> Any:
        """The first result for samples, of the module, or of the graph in batches of its own size."""
        import torch

        if self.model is not None:
            return first_tensor(self.model(x))
        assert self.replay is not None
        size = (self.network[self.network.inputs[0]].shape or (None,))[0] or len(x)
        parts = []
        for start in range(0, len(x), size):
            part = x[start : start + size]
            count = len(part)
            part = torch.cat([part, part[-1:].expand(size - count, *part.shape[1:])])
            parts.append(self.replay.run(part)[0][:count])
        return torch.cat(parts)


@dataclass(frozen=True)
class Section:
    """A group of columns that one function fills.

    Fields:
        name: as the page shows it.   level: the least level at which it is filled.   fill: the values by layer and column; it may
        add facts, notes and pictures to its subject. A layer that it leaves out, and None, stand for what is not known.
    """

    name: str
    level: str
    columns: tuple[Column, ...]
    fill: Callable[[Subject], Values]
    rules: tuple[Rule, ...] = ()
