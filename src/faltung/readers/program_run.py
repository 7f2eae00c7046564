"""Files of torch.export as graphs that can run: only operators of a list, which compute and touch nothing else."""

import operator
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import fx

from faltung.errors import ArgumentError, FaltungError
from faltung.readers.archive import broken, opened
from faltung.readers.aten import TRANSLATIONS
from faltung.readers.capture import Traced
from faltung.readers.program import DTYPES, Described, described
from faltung.readers.words import ACTIVATIONS, BINARY, KINDS, MERGES, SAME, VIEWS

COMPUTING = {*ACTIVATIONS, *BINARY, *KINDS, *MERGES, *SAME, *VIEWS, *(word.rpartition(".")[2] for word in TRANSLATIONS)}


def program_run(path: Path) -> Traced:
    """The program of a file of torch.export.save, rebuilt from its description as a graph of known operators.

    Raises:
        FileError: as `faltung.readers.read`.   ArgumentError: an operator that is not on the list, arrays that were not opened,
        or sizes that are left open.
    """
    with opened(path) as archive:
        try:
            found = described(archive, path)
            return Traced(found.translator.network(found.outputs, found.source, found.learnt), *_graph(found))
        except FaltungError:
            raise
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, zipfile.BadZipFile) as error:
            raise broken(path, "torch.export", f"{type(error).__name__}: {error}") from None


def _graph(found: Described) -> tuple[fx.Graph, dict[str, Any], dict[str, str]]:
    """The graph, the arrays that it reads, and which node of the network each of its nodes is."""
    graph, held = fx.Graph(), {}
    nodes: dict[str, fx.Node] = {}
    stored = {}
    for name, constant in found.constants.items():
        if constant.value is None:
            raise _unable(f"{name}, an array that was not opened")
        stored[name] = constant.value
    for name in [*stored, *found.inputs]:
        nodes[name] = graph.create_node("placeholder", name, name=name)
        held[name] = nodes[name].name
    for call in found.calls:
        if not call["outputs"] and call["target"].startswith("torch.ops.aten._assert_"):
            continue  # conditions that the exporter wrote down: they compute nothing
        target = _operator(call["target"])
        arguments = {entry["name"]: _value(entry["arg"], nodes) for entry in call["inputs"]}
        schema = [a for a in target._schema.arguments if not a.kwarg_only]
        last = max((n for n, a in enumerate(schema) if a.name in arguments), default=-1)
        given = tuple(arguments.pop(a.name) if a.name in arguments else a.default_value for a in schema[: last + 1])
        names = [
            t["name"] for o in call["outputs"] for t in ([o["as_tensor"]] if "as_tensor" in o else o["as_tensors"])
        ]
        several = len(names) > 1 or any("as_tensors" in o for o in call["outputs"])
        made = graph.create_node("call_function", target, given, arguments, None if several else names[0])
        for index, name in enumerate(names):
            part = graph.create_node("call_function", operator.getitem, (made, index), {}, name) if several else made
            nodes[name], held[name] = part, part.name
    graph.output(tuple(nodes[o.name] for o in found.outputs))
    # torch.fx may have had to change a name that another node has.
    made_names = {held[name]: node for name, node in found.translator.made.items() if name in held}
    return graph, {held[name]: value for name, value in stored.items()}, made_names


def _operator(words: str) -> Any:
    parts = words.removeprefix("torch.ops.").split(".")
    base = parts[1].rstrip("_") if len(parts) == 3 else ""
    if len(parts) != 3 or parts[0] != "aten" or (base not in COMPUTING and parts[1] not in COMPUTING):
        raise _unable(words)
    packet = getattr(torch.ops.aten, parts[1], None)
    if packet is None or parts[2] not in packet.overloads():
        raise _unable(words)
    return getattr(packet, parts[2])


def _value(argument: Mapping[str, Any], nodes: Mapping[str, fx.Node]) -> Any:
    """An argument of the description with nodes in the places of tensors."""
    ((kind, value),) = argument.items()
    if kind == "as_none" or kind in ("as_memory_format", "as_layout"):
        return None
    if kind == "as_tensor":
        return nodes[value["name"]]
    if kind == "as_tensors":
        return [nodes[t["name"]] for t in value]
    if kind == "as_optional_tensors":
        return [nodes[t["as_tensor"]["name"]] if "as_tensor" in t else None for t in value]
    if kind == "as_scalar_type":
        return DTYPES[int(value)]
    if kind == "as_device":
        return torch.device("cpu")
    if kind in ("as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools"):
        return value
    if kind == "as_sym_int" and "as_int" in value:
        return value["as_int"]
    if kind == "as_sym_ints" and all("as_int" in v for v in value):
        return [v["as_int"] for v in value]
    raise _unable(f"an argument of kind {kind}")


def _unable(what: str) -> ArgumentError:
    return ArgumentError.of(
        "replay",
        "operators that only compute, with known sizes",
        what,
        "load it with torch.export.load if you trust it",
    )
