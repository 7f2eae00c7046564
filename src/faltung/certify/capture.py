"""A model as a list of steps with their values on one sample: what certificates read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from faltung.errors import ArgumentError, DtypeError
from faltung.readers import Traced, traced, undisturbed

EXPORTED = "torch.export"


@dataclass(eq=False)
class Step:
    """One call of an operator of torch that depends on the input.

    Fields: `op` such as `aten.conv2d`; `args` and `kwargs` with steps in the places of what depends on the input and plain values
    elsewhere; `value` on the sample; `module`, the path of the module whose forward made the call.
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any
    module: str = ""
    call: Any = None
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list["Step"]:
        """The steps among the arguments."""
        return [part for part in _parts((self.args, self.kwargs)) if isinstance(part, Step)]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the operator's schema."""
        return self.given.get(name, default)


@dataclass(eq=False)
class Graph:
    """The steps in order; the first is the input, `result` the step that is returned."""

    steps: list[Step]
    result: Step

    @property
    def source(self) -> Step:
        """The step that is the input."""
        return self.steps[0]


def capture(model: nn.Module, example: Any, who: str) -> Graph:
    """The graph of a model in evaluation mode for one sample of the shape of the example's first.

    The model is left as it was: its mode, numbers and gradients.

    Raises:
        DtypeError: an example that is no tensor of real numbers.
        ArgumentError: a model that torch.export cannot trace, or that does not return one tensor.
    """
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.ndim < 2 or not len(example):
        came = (
            f"shape {tuple(example.shape)} of {example.dtype}"
            if isinstance(example, Tensor)
            else type(example).__name__
        )
        raise DtypeError.of(who, "an example (batch, ...), a tensor of real numbers", came, "pass a batch of inputs")
    example = example[:1].detach().clone()
    try:
        found = traced(model, example)
    except ArgumentError as error:
        raise _untraced(who, str(error)) from error
    if found.network.source != EXPORTED:  # a record of one run says nothing about other inputs
        raise _untraced(who, found.network.source)
    with undisturbed(model), torch.no_grad():
        return _read(found, example, who)


def _untraced(who: str, came: str) -> ArgumentError:
    expected = "a model that torch.export can trace"
    return ArgumentError.of(who, expected, came, "remove what depends on the values of tensors from its forward")


def _read(traced_: Traced, example: Tensor, who: str) -> Graph:
    held = dict(traced_.constants)
    nodes = traced_.graph.nodes
    if any(_mutates(node.target) for node in nodes):  # the model's own numbers are not to be changed
        held = {name: value.clone() if isinstance(value, Tensor) else value for name, value in held.items()}
    found: dict[Any, Any] = {}
    steps: list[Step] = []
    stale: set[Step] = set()
    for node in nodes:
        if node.op == "placeholder":
            if node.name in traced_.network.inputs:
                found[node] = Step(node.name, "input", (), {}, example)
                steps.append(found[node])
            else:
                found[node] = held.get(node.name)
        elif node.op == "call_function":
            args, kwargs = _mapped((node.args, node.kwargs), found)
            made = Step(
                node.name,
                _operator(node.target),
                args,
                kwargs,
                None,
                _module(node),
                node.target,
                _named(node.target, args, kwargs),
            )
            _refuse_stale(made.inputs, stale, node.name, who)
            positional, named = _mapped((args, kwargs), None)
            made.value = node.target(*positional, **named)
            if made.inputs:
                steps.append(made)
                if _mutates(node.target):
                    _replace(made, args[0], found, stale)
            found[node] = made if made.inputs else made.value
        elif node.op == "get_attr":
            found[node] = getattr(traced_.graph.owning_module, node.target)
        elif node.op == "output":
            results = _mapped(node.args, found)[0]
            if len(results) != 1 or not isinstance(results[0], Step):
                came = f"{len(results)} results" if len(results) != 1 else "one that does not depend on it"
                raise ArgumentError.of(who, "a model that returns one tensor made of its input", came, "wrap it")
            _refuse_stale(results, stale, "the result", who)
            return Graph(steps, results[0])
    raise ArgumentError.of(who, "a graph with an output", "none", "pass a model with a forward")


def _refuse_stale(used: list[Step], stale: set[Step], where: str, who: str) -> None:
    for part in used:
        if part in stale:
            raise ArgumentError.of(
                who, "no use of a tensor after a view of it was changed in place", f"{part.name} in {where}",
                "write the operation out of place",
            )  # fmt: skip


def _mutates(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _replace(made: Step, old: Any, found: dict[Any, Any], stale: set[Step]) -> None:
    """After an operation in place its result stands wherever its first argument stood; other views of it may not be used."""
    memory = made.value.untyped_storage().data_ptr()
    for node, kept in found.items():
        if kept is old:
            found[node] = made
        elif (
            isinstance(kept, Step)
            and isinstance(kept.value, Tensor)
            and kept.value.untyped_storage().data_ptr() == memory
        ):
            stale.add(kept)


def _operator(target: Any) -> str:
    return str(getattr(target, "overloadpacket", getattr(target, "__name__", target)))


def _named(target: Any, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, with the defaults of the schema."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return dict(kwargs)
    known = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return {**known, **{a.name: v for a, v in zip(schema.arguments, args, strict=False)}, **kwargs}


def _module(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    path = next(iter(reversed(stack.values())), ("", None))[0]
    return str(path).removeprefix("L['self']").lstrip(".")


def _mapped(given: Any, found: dict[Any, Any] | None) -> Any:
    """Nodes replaced by what is known of them; with None, steps by their values."""
    if isinstance(given, (tuple, list)):
        parts = [_mapped(part, found) for part in given]
        return tuple(parts) if isinstance(given, tuple) else parts
    if isinstance(given, dict):
        return {key: _mapped(part, found) for key, part in given.items()}
    if found is None:
        return given.value if isinstance(given, Step) else given
    return found[given] if isinstance(given, torch.fx.Node) else given


def _parts(given: Any) -> Iterator[Any]:
    if isinstance(given, (tuple, list)):
        for part in given:
            yield from _parts(part)
    elif isinstance(given, dict):
        yield from _parts(list(given.values()))
    else:
        yield given
