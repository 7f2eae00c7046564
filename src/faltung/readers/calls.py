"""From calls of torch's operators to nodes: one translation for captured modules, scripts and exported files."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faltung.readers.network import Network, Node, Shape, read_only
from faltung.readers.words import ACTIVATIONS, BINARY, KINDS, MERGES, SAME, VIEWS


@dataclass(frozen=True)
class Ref:
    """A tensor in a graph, by name."""

    name: str


@dataclass(frozen=True)
class Constant:
    """An array that depends on parameters only: its values where they are known, its shape, the parameters' names."""

    value: Any
    shape: Shape
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """One result of a call: its name in the graph, shape and dtype; no name where nothing reads it."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Call:
    """A call of one of torch's operators, arguments by their names in its schema, tensors as `Ref`.

    Fields:
        word: `aten.conv2d`.   results: what it gives.   scope: the module that it stands in.   leaf: whether that is torch's own.
        written: the arguments that the operator writes to.   views: whether the result shares memory with its first argument.
        fold: computes the result from constant arguments; None where that must not be done.
    """

    word: str
    arguments: Mapping[str, Any]
    results: tuple[Result, ...]
    scope: str = ""
    leaf: bool = False
    written: tuple[str, ...] = ()
    views: bool = False
    fold: Callable[[Mapping[str, Any]], Any] | None = field(default=None, repr=False)

    @property
    def base(self) -> str:
        """The word without its library and the sign for writing in place."""
        return self.word.rpartition(".")[2].rstrip("_") or self.word


FOLDED = 1 << 27  # elements of the largest constant that is computed while a graph is read


class Translator:
    """Builds a network from calls in their order."""

    def __init__(self, constants: Mapping[str, Constant]) -> None:
        self.constants: dict[str, Constant] = dict(constants)
        self.producer: dict[str, str] = {}  # tensor -> the node whose result it is
        self.made: dict[str, str] = {}  # the same, of those results alone that are the node's own
        self.shapes: dict[str, Shape] = {}
        self.viewed: dict[str, str] = {}  # a view -> the tensor that it looks into
        self.nodes: dict[str, Node] = {}
        self.notes: list[str] = []

    # -- what the translation of each kind asks -------------------------------------------------------------------------

    def given(self, call: Call, name: str, default: Any = None) -> Any:
        """An argument that is no signal: a constant as such, else the value."""
        value = call.arguments.get(name, default)
        return self.constants.get(value.name, value) if isinstance(value, Ref) else value

    def add(self, call: Call, op: str, signals: Sequence[Ref], result: Result | None = None, **fields: Any) -> Node:
        """A node for a call, named after its parameters, its layer or the operator."""
        result = result or call.results[0]
        inputs = tuple(self.producer[s.name] for s in signals)
        owner = self._owner(fields.get("parameters", ()), call)
        name, count = owner, 1
        while name in self.nodes:
            count += 1
            name = f"{owner}:{count}"
        node = Node(
            name, op, call.word, inputs, tuple(self.shapes.get(s.name) for s in signals), result.shape, result.dtype, **fields
        )  # fmt: skip
        self.nodes[name] = node
        self.producer[result.name], self.shapes[result.name] = name, result.shape
        if call.word != "write":
            self.made[result.name] = name
        return node

    def _owner(self, parameters: tuple[str, ...], call: Call) -> str:
        owners = {re.sub(r"(\.parametrizations)?\.[^.]+(\.original\d*)?$", "", "." + p)[1:] for p in parameters}
        if len(owners) == 1 and (owner := owners.pop()):
            return owner
        if call.leaf and call.scope and call.base != "pad":  # the layer's name is for its convolution
            return call.scope
        return f"{call.scope}.{call.base}" if call.scope else call.base

    def parts(self, *constants: Any) -> tuple[str, ...]:
        """The parameters behind constants, each once."""
        return tuple(dict.fromkeys(p for c in constants if isinstance(c, Constant) for p in c.parameters))

    # -- reading --------------------------------------------------------------------------------------------------------

    def enter(self, result: Result) -> None:
        """An input of the whole network."""
        name = result.name
        self.nodes[name] = Node(name, "input", "input", (), (), result.shape, result.dtype)
        self.producer[name], self.shapes[name], self.made[name] = name, result.shape, name

    def read(self, call: Call) -> None:
        """Translate one call."""
        refs = _refs(call.arguments.values())
        signals = [ref for ref in refs if ref.name in self.producer]
        if not signals:
            self._fold(call)
        elif call.results:
            self._node(call, signals)
        if call.views and refs and call.results and refs[0].name in self.shapes:
            self.viewed[call.results[0].name] = refs[0].name
        self._written(call)

    def _fold(self, call: Call) -> None:
        given = {name: self.given(call, name) for name in call.arguments}
        flat = [self.constants.get(ref.name) for ref in _refs(call.arguments.values())]
        for result in call.results:
            shape, value = result.shape, None
            sizes = [n for n in shape or () if n is not None]
            sized = shape is not None and len(sizes) == len(shape) and math.prod(sizes) <= FOLDED
            known = all(c is not None and c.value is not None for c in flat)
            if call.fold is not None and known and sized and len(call.results) == 1:
                value = call.fold(_valued(call.arguments, self.constants))
            self.constants[result.name] = Constant(value, shape, self.parts(*flat, *given.values()))

    def _node(self, call: Call, signals: list[Ref]) -> None:
        from faltung.readers.aten import TRANSLATIONS

        base, first = call.base, call.results[0]
        translate = TRANSLATIONS.get(call.word) or TRANSLATIONS.get(base)
        if translate is not None:
            node = translate(self, call, signals)
        elif base in SAME:
            node = self.add(call, "same", signals[:1])
        elif base in ACTIVATIONS:
            extra = self.parts(*(self.given(call, a) for a in call.arguments))
            settings = {
                k: v for k, v in call.arguments.items() if isinstance(v, (int, float, str)) and not isinstance(v, bool)
            }
            slope = self.given(call, "weight")
            values = (
                {"slope": read_only(slope.value)} if isinstance(slope, Constant) and slope.value is not None else {}
            )
            node = self.add(call, "activation", signals[:1], parameters=extra, values=values, settings=settings)
        elif base in BINARY:
            node = self._binary(call, signals)
        elif base in KINDS or base in VIEWS or base in MERGES:
            op = KINDS.get(base) or VIEWS.get(base) or "merge"
            settings = {k: v for k, v in call.arguments.items() if not _refs([v]) and v is not None}
            node = self.add(
                call,
                op,
                signals,
                parameters=self.parts(*(self.given(call, a) for a in call.arguments)),
                settings=settings,
            )
        else:
            parameters = self.parts(*(self.constants.get(r.name) for r in _refs(call.arguments.values())))
            node = self.add(call, "unknown", signals, parameters=parameters, note=f"no rule for {call.word}")
        for index, other in enumerate(call.results[1:], 1):
            if not other.name:
                continue
            if node.op == "slice":  # one part of a split
                self.add(call, "slice", signals, other, settings={**node.settings, "index": index})
            else:  # indices of a pool, statistics of a norm: not the signal that the node is about
                side = Call(f"{call.word}.{index}", {}, (other,), call.scope)
                self.add(side, "unknown", [Ref(first.name)], other, note=f"result {index} of {node.name}")

    def _binary(self, call: Call, signals: list[Ref]) -> Node:
        """A sum or product of two signals, or of one and a constant."""
        base, op = call.base, BINARY[call.base]
        others = [self.given(call, a) for a in ("self", "other")]
        fixed = next((o for o in others if not isinstance(o, Ref)), None)
        values, settings = (
            {},
            {k: v for k, v in call.arguments.items() if k in ("alpha", "rounding_mode") and v not in (None, 1)},
        )
        if len(signals) < 2 and fixed is not None:
            if isinstance(fixed, Constant):
                values = {"operand": read_only(fixed.value)} if fixed.value is not None else {}
            else:
                values = {"operand": np.asarray(fixed)}
            settings["operand_first"] = not isinstance(others[0], Ref)
        return self.add(
            call, op, signals, parameters=self.parts(*others), values=values, settings={"function": base, **settings}
        )  # fmt: skip

    def _written(self, call: Call) -> None:
        """After an operator wrote into a tensor, that tensor and what it is a view of hold the new values."""
        for name in call.written:
            target = call.arguments.get(name)
            if not isinstance(target, Ref) or not call.results:
                continue
            result = call.results[0].name
            if result not in self.producer:
                continue
            self.constants.pop(target.name, None)
            self.producer[target.name], self.shapes[target.name] = self.producer[result], self.shapes.get(result)
            seen = target.name
            while seen in self.viewed:
                base = seen = self.viewed[seen]
                before = [Ref(base)] if base in self.producer else []
                whole = Result(base, self.shapes.get(base), "")
                self.constants.pop(base, None)
                self.add(
                    Call("write", {}, (whole,), call.scope),
                    "unknown",
                    [*before, Ref(result)],
                    whole,
                    note="written in parts",
                )

    def network(self, outputs: Sequence[Ref], source: str, parameters: Mapping[str, tuple[int, ...]]) -> Network:
        """All that was read."""
        ends = tuple(self.producer[o.name] for o in outputs if o.name in self.producer)
        inputs = tuple(n.name for n in self.nodes.values() if n.op == "input")
        return Network(tuple(self.nodes.values()), inputs, ends, source, tuple(self.notes), dict(parameters))


def _refs(values: Any) -> list[Ref]:
    """The tensors among arguments, inside lists too."""
    found: list[Ref] = []
    for value in values:
        if isinstance(value, Ref):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _refs(value)
        elif isinstance(value, dict):
            found += _refs(value.values())
    return found


def _valued(value: Any, constants: Mapping[str, Constant]) -> Any:
    if isinstance(value, Ref):
        return constants[value.name].value
    if isinstance(value, (list, tuple)):
        return type(value)(_valued(v, constants) for v in value)
    if isinstance(value, Mapping):
        return {k: _valued(v, constants) for k, v in value.items()}
    return value
