"""The network of a torch module, from the graph that torch itself captures: torch.export, or torch.fx where that cannot."""

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from faltung.errors import ArgumentError
from faltung.readers.calls import Call, Constant, Ref, Result, Translator
from faltung.readers.network import Network
from faltung.readers.undisturbed import undisturbed


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile`'s and the data-parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = model.module
        if inner is None:
            return model
        model = inner


def arguments(example: Any) -> tuple[Any, ...]:
    """The arguments of a call: a tuple as such, anything else as the only one."""
    return example if isinstance(example, tuple) else (example,)


def capture(model: nn.Module, example: Any, keywords: Mapping[str, Any] | None = None) -> Network:
    """The network that a module is for one example, as torch.export sees it; the module is left as it was.

    Where torch.export gives up (the way depends on values, an operator has no rule), torch.fx records the operators of one real
    run instead, and `source` says why: then the graph is that of this example only.

    Args:
        model: any module; wrappers of `torch.compile` are taken off.   example: a tensor, or a tuple of all arguments.

    Raises:
        ArgumentError: the module cannot be called with the example; the message is its own.

    Cost: one call without values, or one call.

    Example:
        >>> print(capture(nn.Sequential(nn.Conv1d(2, 3, 5, stride=2), nn.ReLU()), torch.zeros(1, 2, 16)))
        read from torch.export
        input  input  1 × 2 × 16
        0  conv  1 × 3 × 6  kernel 3 × 2 × 5  stride 2
        1  activation  1 × 3 × 6
    """
    return traced(model, example, keywords).network


@dataclass(frozen=True, eq=False)
class Traced:
    """A network that can be run, node by node, without the module: on arguments of the shapes of the example.

    Fields:
        network: the nodes.   graph: torch's own.   constants: the arrays that it reads.   nodes: which node of the network a
            name of torch's graph stands for.
    """

    network: Network
    graph: fx.Graph
    constants: Mapping[str, Any]
    nodes: Mapping[str, str]

    def run(self, example: Any, see: Callable[[str, Tensor], Tensor] | None = None) -> list[Tensor]:
        """The results for an example.

        Args:
            see: called with the name of each node and its value; what it gives back goes on. A value that it keeps stays as it is
                if it gives back a copy, since operators may write in place.

        Raises:
            ArgumentError: arguments of other shapes than those of the graph.
        """
        leaves = [leaf for leaf in pytree.tree_leaves(arguments(example)) if isinstance(leaf, Tensor)]
        wanted = [self.network[name].shape for name in self.network.inputs]
        if [tuple(leaf.shape) for leaf in leaves] != wanted:
            came = f"{[tuple(a.shape) for a in leaves]}"
            raise ArgumentError.of("run", f"tensors of shapes {wanted}", came, "read the model with these")
        given, entered = iter(leaves), {*self.network.inputs}
        held: dict[str, Any] = {}

        def value(argument: Any) -> Any:
            return fx.map_arg(argument, lambda n: held[n.name])

        for node in self.graph.nodes:
            if node.op == "placeholder":
                own = self.nodes.get(node.name) in entered
                held[node.name] = next(given) if own else self.constants.get(node.name)
            elif node.op == "output":
                return [t for t in pytree.tree_leaves(value(node.args)) if isinstance(t, Tensor)]
            else:
                held[node.name] = node.target(*value(node.args), **value(node.kwargs))
            name = self.nodes.get(node.name)
            if see is not None and name is not None and isinstance(held[node.name], Tensor):
                held[node.name] = see(name, held[node.name])
        return []

    def values(self, example: Any, names: Iterable[str]) -> dict[str, Tensor]:
        """The values of some nodes for an example, without gradients."""
        wanted, found = set(names), {}

        def see(name: str, value: Tensor) -> Tensor:
            if name in wanted:
                found[name] = value.clone()
            return value

        with torch.no_grad():
            self.run(example, see)
        return found


def traced(model: nn.Module, example: Any, keywords: Mapping[str, Any] | None = None) -> Traced:
    """As `capture`, with what is needed to run the graph: for looks at values inside a model, without hooks.

    Raises: as `capture`.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU(inplace=True))
        >>> x = torch.ones(1, 1, 5)
        >>> found = traced(net, x).values(x, ["0"])["0"]
        >>> torch.equal(found, net[0](x))
        True
    """
    model = unwrapped(model)
    given, named = arguments(example), dict(keywords or {})
    with warnings.catch_warnings(), undisturbed(model), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")  # what torch says of its own ways while it traces
        try:
            program = torch.export.export(model, given, named, strict=False)
            return exported(program, model)
        except Exception as error:
            reason = _sentence(error)
        recorder = _Recorder(model)
        try:
            recorder.run(model, given, named)
        except Exception as error:
            came = ", ".join(f"{tuple(a.shape)}" if isinstance(a, Tensor) else type(a).__name__ for a in given)
            expected, remedy = "a model that can be called with the example", "pass arguments that it takes"
            raise ArgumentError.of("read", expected, f"{came}: {_sentence(error)}", remedy) from error
        source = f"torch.fx, a record of one run (torch.export could not: {reason})"
        return _translated(recorder.graph, recorder.constants, recorder.inputs, source, _learnt(model))


def _sentence(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]


def _learnt(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Parameters by name, each once."""
    return {_plain(name): tuple(p.shape) for name, p in model.named_parameters()}


def _plain(name: str) -> str:
    return name.replace("_orig_mod.", "")


def exported(program: torch.export.ExportedProgram, model: nn.Module | None = None) -> Traced:
    """An exported program as a network that can be run; where its module is given, with the numbers that this has now."""
    signature = program.graph_signature
    stored: dict[str, Tensor] = {**program.constants, **program.state_dict}
    if model is None:
        known: dict[str, Tensor] = {}
        canonical: dict[int, str] = {}
        for name in signature.parameters:
            canonical.setdefault(id(stored[name]), _plain(name))
        learnt = {
            name: tuple(stored[key].shape) for key in signature.parameters if (name := canonical[id(stored[key])])
        }
    else:
        known = {
            **dict(model.named_parameters(remove_duplicate=False)),
            **dict(model.named_buffers(remove_duplicate=False)),
        }
        canonical = {id(p): _plain(name) for name, p in model.named_parameters()}
        learnt = _learnt(model)
    constants, inputs = {}, []
    targets = {
        **signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants
    }  # fmt: skip
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        if node.name in targets:
            name = targets[node.name]
            value = known.get(name, stored.get(name))
            parameters = (canonical[id(value)],) if id(value) in canonical else ()
            constants[node.name] = _constant(value, parameters)
        elif isinstance(node.meta.get("val"), Tensor):
            inputs.append(node)
    return _translated(program.graph, constants, inputs, "torch.export", learnt)


class _Recorder(TorchDispatchMode):
    """Writes the operators of one run into a graph of torch.fx, as they reach the dispatcher from Python or a script."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, Constant] = {}
        self.inputs: list[fx.Node] = []
        self.nodes: dict[int, fx.Node] = {}
        self.held: list[Tensor] = []  # so that no tensor takes another's place in memory
        # Storage finds what a script module wraps anew at each look.
        self.names = {(p.data_ptr(), tuple(p.shape)): _plain(name) for name, p in model.named_parameters() if p.numel()}

    def run(self, model: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Record one call."""
        for index, value in enumerate((*given, *named.values())):
            for tensor in pytree.tree_leaves(value):
                if isinstance(tensor, Tensor):
                    self.inputs.append(self._enter(tensor, f"input{index or ''}"))
        with self:
            result = model(*given, **named)
        ends = [self.nodes[id(t)] for t in pytree.tree_leaves(result) if isinstance(t, Tensor) and id(t) in self.nodes]
        self.graph.output(tuple(ends))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, named = pytree.tree_map(self._node, (args, kwargs or {}))
        result = func(*args, **(kwargs or {}))
        node = self.graph.call_function(func, given, named)
        node.meta["val"] = result
        parts = [result] if isinstance(result, Tensor) else result if isinstance(result, (tuple, list)) else []
        for index, part in enumerate(parts):
            if isinstance(part, Tensor):
                self.held.append(part)
                self.nodes[id(part)] = (
                    node if part is result else self.graph.call_function(operator.getitem, (node, index))
                )
        return result

    def _enter(self, tensor: Tensor, name: str) -> fx.Node:
        node = self.graph.placeholder(name)
        node.meta["val"] = tensor
        self.nodes[id(tensor)] = node
        self.held.append(tensor)
        return node

    def _node(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.nodes:
            name = self.names.get((value.data_ptr(), tuple(value.shape)))
            node = self._enter(value, "constant")
            self.constants[node.name] = _constant(value, (name,) if name else ())
        return self.nodes[id(value)]


def _constant(value: Any, parameters: tuple[str, ...]) -> Constant:
    if not isinstance(value, Tensor):
        return Constant(None, None, parameters)
    held = None if value.is_meta or value.is_sparse else value.detach()
    return Constant(held, tuple(value.shape), parameters)


def _translated(
    graph: fx.Graph,
    constants: dict[str, Constant],
    inputs: list[fx.Node],
    source: str,
    learnt: dict[str, tuple[int, ...]],
) -> Traced:
    stored = dict(constants)
    translator = Translator(constants)
    for node in inputs:
        translator.enter(Result(node.name, *_facts(node.meta["val"])))
    for node in graph.nodes:
        if node.op == "call_function" and node.target is not operator.getitem:
            translator.read(_call(node))
    ends = [n for n in graph.nodes if n.op == "output"][-1]
    found: list[Ref] = []
    fx.map_arg(ends.args, lambda n: found.append(Ref(n.name)))
    held = {name: constant.value for name, constant in stored.items()}
    return Traced(translator.network(found, source, learnt), graph, held, dict(translator.made))


def _call(node: fx.Node) -> Call:
    """A node of torch's graph as a call."""
    target = node.target
    stack = [(path, kind) for path, kind in (node.meta.get("nn_module_stack") or {}).values()]
    scope = _plain(stack[-1][0] if stack else "").partition("@")[0]
    leaf = bool(stack) and is_leaf(str(stack[-1][1]))
    results = _results(node)
    if not isinstance(target, torch._ops.OpOverload):
        given = {str(i): _refs(a) for i, a in enumerate(node.args)}
        return Call(f"torch.{getattr(target, '__name__', target)}", given, results, scope, leaf)
    schema = target._schema
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    given |= {a.name: _refs(v) for a, v in zip(schema.arguments, node.args, strict=False)}
    given |= {name: _refs(v) for name, v in node.kwargs.items()}
    ordered = {a.name: given[a.name] for a in schema.arguments if a.name in given}
    written = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    views = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
    random = torch.Tag.nondeterministic_seeded in target.tags

    def fold(values: Mapping[str, Any]) -> Any:
        return target(**values)

    word = f"{target.namespace}.{target.overloadpacket.__name__}"
    return Call(word, ordered, results, scope, leaf, written, views, None if random or written else fold)


def is_leaf(kind: str) -> bool:
    """Whether a module's type is one of torch's own layers that are one operation."""
    own = kind.removeprefix("<class '").startswith("torch.nn.modules.")
    return own and not any(word in kind for word in (".container.", ".transformer.", "MultiheadAttention"))


def _results(node: fx.Node) -> tuple[Result, ...]:
    value = node.meta.get("val")
    if isinstance(value, Tensor):
        return (Result(node.name, *_facts(value)),)
    if not isinstance(value, (tuple, list)):
        return ()
    read = {user.args[1]: user.name for user in node.users if user.target is operator.getitem}
    names = [read.get(i, "" if i else f"{node.name}_0") for i in range(len(value))]
    return tuple(Result(n, *_facts(v)) for n, v in zip(names, value, strict=True) if isinstance(v, Tensor))


def _facts(value: Tensor) -> tuple[tuple[int | None, ...], str]:
    shape = tuple(n if type(n) is int else _hint(n) for n in value.shape)
    return shape, str(value.dtype).removeprefix("torch.")


def _hint(size: Any) -> int | None:
    """A size that the graph leaves open is not known."""
    try:
        return int(size.node.expr)
    except (AttributeError, TypeError, ValueError):
        return None


def _refs(argument: Any) -> Any:
    """The argument with nodes as references, torch's own types as their words."""
    if isinstance(argument, fx.Node):
        return Ref(argument.name)
    if isinstance(argument, (list, tuple)):
        return [_refs(a) for a in argument]
    if isinstance(argument, dict):
        return {k: _refs(v) for k, v in argument.items()}
    return argument
