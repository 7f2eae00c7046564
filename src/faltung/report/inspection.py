"""One call that looks at everything."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faltung.errors import ArgumentError, MissingExtraError
from faltung.readers import Network, read, replay, undisturbed, unwrapped
from faltung.report.fixes import checked
from faltung.report.given import example_for, gathered
from faltung.report.report import Report, found_by
from faltung.report.rewritings import KEEPING, REWRITINGS
from faltung.report.section import LEVELS, WHOLE, Subject
from faltung.report.sections import ALL
from faltung.report.sections.identity import plain


def inspect(
    source: Any,
    example: Any = None,
    *,
    data: Any = None,
    level: str = "fast",
    rules: Sequence[str] | None = None,
    object_size: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Everything that can be said about a convolutional network, layer by layer, and which rules it breaks.

    Args:
        source: a torch module, an exported program, a path, or a `faltung.readers.Network`; see `faltung.readers.read` for the
            files that can be read, and `faltung.readers.replay` for those that can run (ONNX by onnxruntime).
        example: one input, a tensor or a tuple of all arguments. Without it a module's weights are inspected, not its graph.
            Files that say all sizes get noise for the levels that run.
        data: for level "full": a batch, a pair of batch and labels, or batches or pairs in turn, such as a loader; up to 512
            samples are looked at. Default: noise like the example.
        level: "fast": weights and graph, nothing runs; "standard": also what one input shows, and fixes are tried on copies of
            the model; "full": also what many show, and measured times.
        rules: ids of the rules to check. Default all.
        object_size: places that the objects to be seen take along an axis, for rule R2. Default: not said.
        progress: called with the name of each part and the share that is done.

    Returns:
        a `Report`. The model is as it was: parameters, buffers, mode, hooks, random numbers.

    Raises:
        ArgumentError: for an unknown level or rule, or a level that lacks what it needs.
        FileError: for files that cannot be read; no code of theirs runs.

    Cost: fast, some seconds for 25 million weights; standard, some minutes; full, also some hundred calls of the network.

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
    # Inside the wrappers of compilation, whose hooks and graphs are nobody's to look into.
    source = unwrapped(source) if hasattr(source, "named_modules") else source
    model = source if hasattr(source, "state_dict") and hasattr(source, "named_modules") else None
    start = time.perf_counter()
    tell = progress or (lambda part, share: None)
    tell("reading", 0.0)
    network = read(source, example)
    broken = not_finite(network)
    subject = Subject(broken.network, level, model, example, broken=broken.counts, object_size=object_size)
    subject.notes += network.notes
    subject.notes += [f"{name} has weights that are no numbers: only counted" for name in broken.counts]
    if level != "fast":
        prepare(subject, source, data)
    layers: dict[str, dict[str, Any]] = {n.name: {} for n in network.nodes if n.op in ("conv", "linear", "weights")}
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
    facts = {"layers": len({plain(name) for name in layers} - {WHOLE}), **subject.facts, "level": level}
    file = isinstance(source, (str, Path))
    title = type(model).__name__ if model is not None else Path(source).name if file else "network"
    report = Report(
        f"{title}, read from {network.source}", level, layers, facts, found_by(used, layers, rules), tuple(subject.notes),
        tuple(used), tuple(subject.pictures), model, subject.example,
    )  # fmt: skip
    if model is not None and level != "fast":
        with undisturbed(model):
            checked(report, KEEPING if level == "standard" else tuple(REWRITINGS))
    tell("done", 1.0)
    facts["took"] = f"{time.perf_counter() - start:.1f} s"
    return report


def prepare(subject: Subject, source: Any, data: Any) -> None:
    """What the levels need that run the network: an example, what runs it, and samples."""
    if subject.example is None and subject.network.connected:
        subject.example = example_for(subject.network)
        subject.notes += [] if subject.example is None else ["no example was given: noise of the shapes of the graph"]
    if subject.example is None:
        subject.notes.append(
            f"nothing ran: level {subject.level!r} needs an example and says no more than 'fast' without"
        )
        return
    try:
        subject.replay = replay(source, subject.example)
    except (MissingExtraError, ArgumentError) as error:
        subject.notes.append(f"nothing ran: {error}")
    if subject.replay is None:
        return
    if subject.level == "full" and len(subject.network.inputs) == 1:
        subject.batch, subject.labels, note = gathered(data, subject.example)
        subject.notes += [note] if note else []
    elif subject.level == "full":
        subject.notes.append("what many inputs show is not known for networks of several inputs")


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
