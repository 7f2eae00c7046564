"""One call that looks at everything."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import ArgumentError
from faltung.readers import Network, read, undisturbed
from faltung.report.report import Report, found_by
from faltung.report.section import LEVELS, Subject
from faltung.report.sections import ALL
from faltung.report.sections.identity import rows


def inspect(
    source: Any,
    example: Any = None,
    *,
    data: Any = None,
    level: str = "fast",
    rules: Sequence[str] | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Everything that can be said about a convolutional network, layer by layer, and which rules it breaks.

    Args:
        source: a torch module, a path, or a `faltung.readers.Network`; see `faltung.readers.read` for the files that can be read.
        example: one input, a tensor or a tuple of all arguments. Without it a module's weights are inspected, not its graph.
        data: batches for what needs many inputs, used at level "full".
        level: "fast": weights and graph, nothing runs; "standard": also what one input shows; "full": also what many show.
        rules: ids of the rules to check. Default all.
        progress: called with the name of each part and the share that is done.

    Returns:
        a `Report`. The model is as it was: parameters, buffers, mode, hooks, random numbers.

    Raises:
        ArgumentError: for an unknown level or rule, or a level that lacks what it needs.
        FileError: for files that cannot be read; no code of theirs runs.

    Cost: fast, some seconds for 25 million weights.

    Example:
        >>> import torch
        >>> print(inspect(torch.nn.Conv2d(1, 4, 3, stride=4), torch.zeros(1, 1, 32, 32)).findings[0].title)
        The stride jumps over samples
    """
    if level not in LEVELS:
        raise ArgumentError.of("inspect", f"a level: {', '.join(LEVELS)}", repr(level), "name one of them")
    known = [rule.id for section in ALL for rule in section.rules]
    for rule in rules or ():
        if rule not in known:
            raise ArgumentError.of("inspect", f"rules among {', '.join(known)}", repr(rule), "name some of them")
    if level == "full" and data is None:
        raise ArgumentError.of("inspect", "data for level 'full'", "None", "pass batches, or use level 'standard'")
    model = source if hasattr(source, "state_dict") else None
    start = time.perf_counter()
    tell = progress or (lambda part, share: None)
    tell("reading", 0.0)
    network = read(source, example)
    broken = not_finite(network)
    subject = Subject(broken.network, level, model, example, data, broken=broken.counts)
    subject.notes += network.notes
    subject.notes += [f"{name} has weights that are no numbers: only counted" for name in broken.counts]
    layers: dict[str, dict[str, Any]] = {node.name: {} for node in rows(network)}
    used = [section for section in ALL if LEVELS.index(section.level) <= LEVELS.index(level)]
    for n, section in enumerate(used):
        tell(section.name, (n + 1) / (len(used) + 1))
        if model is not None:
            with undisturbed(model):
                values = section.fill(subject)
        else:
            values = section.fill(subject)
        for name, row in values.items():
            layers.setdefault(name, {}).update({key: value for key, value in row.items() if value is not None})
    tell("done", 1.0)
    facts = {"layers": len(layers), **subject.facts, "level": level, "took": f"{time.perf_counter() - start:.1f} s"}
    title = (
        type(model).__name__ if model is not None else Path(source).name if not hasattr(source, "nodes") else "network"
    )
    return Report(
        f"{title}, read from {network.source}", level, layers, facts, found_by(used, layers, rules), tuple(subject.notes),
        tuple(used), tuple(subject.pictures), model, example,
    )  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """A network whose kernels with NaN or infinity count as not known, and how many such weights each layer has."""

    network: Network
    counts: dict[str, int]


def not_finite(network: Network) -> Broken:
    """Set aside what no look could be right about."""
    counts = {
        node.name: int(node.kernel.size - np.isfinite(node.kernel).sum())
        for node in network.nodes
        if node.kernel is not None and node.kernel.dtype.kind in "fc" and not np.isfinite(node.kernel).all()
    }
    if not counts:
        return Broken(network, counts)
    nodes = tuple(
        replace(node, kernel=None, note="weights that are no numbers") if node.name in counts else node
        for node in network.nodes
    )
    return Broken(replace(network, nodes=nodes), counts)
