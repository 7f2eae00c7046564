"""What happens inside a model: the results of its steps, by its traced graph or by its modules, without changing it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Step:
    """One step: its name, what it is, the tensors that it took and the first that it gave; its module, None for functions.

    `sources` says for each tensor where it is from: the number of an earlier step, −1 − n for input n of the model, None for
    what is neither.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    result: Tensor
    module: nn.Module | None = None
    sources: tuple[int | None, ...] = ()


class LayerTracer(fx.Tracer):
    """torch.fx's tracer, for which a layer of faltung is one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__.startswith("faltung.nn") or super().is_leaf_module(m, module_qualified_name)


def seen_by_graph(model: nn.Module) -> Callable[..., list[Step]]:
    """What lists the steps of a model by its traced graph; raises what tracing raises."""
    graph = LayerTracer().trace(model)

    def look(model: nn.Module, *inputs: Any) -> list[Step]:
        return _Looking(model, graph).looked(*inputs)

    return look


class _Looking(fx.Interpreter):
    """An interpreter that keeps every result."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self.steps: list[Step] = []
        self.sources: dict[fx.Node, int | None] = {}

    def looked(self, *inputs: Any) -> list[Step]:
        """The steps of one call."""
        self.run(*inputs)
        return self.steps

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        pairs = [(t, self.sources.get(node)) for node in n.all_input_nodes for t in _tensors(self.env[node])]
        given = tuple(t for t, _ in pairs)
        if n.op == "placeholder":
            self.sources[n] = -1 - sum(source is not None for source in self.sources.values())
        if n.op in ("call_module", "call_function", "call_method") and given and _tensors(result):
            kind = type(self.fetch_attr(str(n.target))).__name__ if n.op == "call_module" else _name(n.target)
            name = str(n.target) if n.op == "call_module" else n.name
            if kind == "getitem":  # no step of its own: a part of what its first argument is
                self.sources[n] = self.sources.get(n.all_input_nodes[0])
                return result
            module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
            self.sources[n] = len(self.steps)
            came = tuple(source for _, source in pairs)
            self.steps.append(Step(name, kind, given, _tensors(result)[0].clone(), module, came))
        return result


def seen_by_modules(model: nn.Module, *inputs: Any) -> list[Step]:
    """The steps of one call by what modules without parts, and layers of faltung, were called with and returned.

    What a function between modules made is taken for the result of the last step of that shape, or else of as many channels.
    """
    steps: list[Step] = []
    calls: dict[str, int] = {}
    seen: list[tuple[Tensor, int]] = [(t, -1 - n) for n, given in enumerate(inputs) for t in _tensors(given)]

    def source(t: Tensor) -> int | None:
        for same in (lambda s: s is t, lambda s: s.shape == t.shape, lambda s: s.shape[1:2] == t.shape[1:2]):
            for earlier, number in reversed(seen):  # held, so that no other tensor takes its place in memory
                if same(earlier):
                    return number
        return None

    def watched(name: str) -> Callable[..., None]:
        def note(module: nn.Module, given: tuple, result: Any) -> None:
            came, went = _tensors(given), _tensors(result)
            if came and went:
                calls[name] = calls.get(name, 0) + 1
                again = f" (call {calls[name]})" if calls[name] > 1 else ""
                sources = tuple(source(t) for t in came)
                seen.extend((t, len(steps)) for t in went)
                steps.append(Step(name + again, type(module).__name__, tuple(came), went[0].clone(), module, sources))

        return note

    inside: tuple[str, ...] = ()
    hooks = []
    for name, module in model.named_modules():
        if any(name.startswith(outer) for outer in inside):
            continue
        ours = type(module).__module__.startswith("faltung.nn")
        if ours or not any(True for _ in module.children()):
            hooks.append(module.register_forward_hook(watched(name or "(the model)")))
            inside += (name + ".",) if ours and name else ()
    try:
        model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return steps


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor) and leaf.dtype != torch.bool]


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", target)).strip("_")
