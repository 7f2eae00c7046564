"""Parallel convolutions, with batch norms, into one convolution."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from faltung.errors import ArgumentError, DtypeError, FaltungError
from faltung.nn.base import ConvLayer, Layer
from faltung.nn.branches.merging import Filter, add_filters, chain_filters, join_filters

_REDUCE: dict[str, Callable[[list[Filter]], Filter]] = {
    "sum": add_filters,
    "mean": lambda filters: add_filters(filters).scaled(1 / len(filters)),
    "cat": join_filters,
}
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_CONVOLUTIONS = (ConvLayer, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_KNOWN = (Layer, _BatchNorm, *_IDLE, *_CONVOLUTIONS)


@torch.no_grad()
def merge_parallel(module: Any, reduce: str = "sum") -> nn.Module:
    """One plain convolution that equals a sum, mean or concatenation of parallel convolutions with batch norms.

    Formula: dilated kernels become sparse ones, all kernels are framed by zeros up to one size, norms are folded into kernels and
    biases, shortcuts become kernels of a single one; then kernels and biases are added or put one after the other.

    Args:
        module: a module whose call adds, subtracts, scales, averages or concatenates (along the channels) what convolutions make
            of its input, in any nesting; on each way there may be one convolution, further ones of a single tap, batch norms,
            shortcuts and dropout. Its call is traced (torch.fx). Or a list of such branches.
        reduce: what becomes of a list of branches: sum, mean or cat. Default sum.

    Returns:
        A layer of torch where torch has one (its state dict loads into nn.Conv2d, say), else `faltung.nn.Conv`; in evaluation
        mode, with parameters of its own. The module is left as it is.

    Raises:
        ArgumentError: a norm in training mode, branches whose strides or sizes differ, or a call that does something else.
        DtypeError: no module.

    Error: rounding of the sums, relative 1e-6 in float32.
    Cost: once; merged, a result takes Π size multiplications for a channel pair instead of the sum over branches.
    Source: Ding et al., RepVGG: making VGG-style ConvNets great again (2021).

    Example:
        >>> branches = [nn.Conv1d(2, 3, 5, padding=2), nn.Conv1d(2, 3, 3, padding=2, dilation=2), nn.Conv1d(2, 3, 1)]
        >>> merge_parallel(branches)
        Conv1d(2, 3, kernel_size=(5,), stride=(1,), padding=(2,))
    """
    many = isinstance(module, (list, tuple, nn.ModuleList))
    if many and (reduce not in _REDUCE or not module):
        raise ArgumentError.of(
            "merge_parallel", "at least one branch, and reduce as sum, mean or cat", f"{len(module)} and {reduce!r}",
            "give the branches and one of these words",
        )  # fmt: skip
    branches = [_Branch(branch) for branch in (module if many else [module])]
    first = next((f for branch in branches if (f := branch.first()) is not None), None)
    if first is None:
        raise ArgumentError.of("merge_parallel", "at least one convolution", "none", "there is nothing to merge")
    signal = Filter.identity(first.in_channels, first.ndim, first.weight)
    return _REDUCE[reduce]([branch.filter(signal) for branch in branches]).layer()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _KNOWN) or super().is_leaf_module(m, module_qualified_name)


class _Branch:
    """A module and the steps of its call."""

    def __init__(self, module: Any) -> None:
        if not isinstance(module, nn.Module):
            raise DtypeError.of(
                "merge_parallel", "a module or a list of modules", type(module).__name__, "pass modules"
            )
        self.module = nn.Sequential(module) if isinstance(module, _KNOWN) else module
        try:
            self.graph = _Tracer().trace(self.module)
        except FaltungError:
            raise
        except Exception as error:  # whatever a module's code does with the tracer's stand-ins
            raise ArgumentError.of(
                "merge_parallel", "a call that torch.fx can trace", f"{type(error).__name__}: {error}", "pass a list of branches"
            ) from error  # fmt: skip

    def first(self) -> Filter | None:
        """The convolution that is called first, and so on the input's channels."""
        for node in self.graph.nodes:
            if node.op == "call_module" and isinstance(self.module.get_submodule(node.target), _CONVOLUTIONS):
                return Filter.of(self.module.get_submodule(node.target))
        return None

    def filter(self, signal: Filter) -> Filter:
        """What the call makes of the signal."""
        values: dict[fx.Node, Any] = {}
        for node in self.graph.nodes:
            found, options = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            if node.op == "placeholder":
                if values:
                    raise _unknown(f"a second input {node.target!r}")
                values[node] = signal
            elif node.op == "call_module":
                values[node] = _through(self.module.get_submodule(node.target), *found)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(self.module)
            elif node.op == "output":
                values[node] = found[0]
            else:
                name = node.target if isinstance(node.target, str) else node.target.__name__
                if name not in _CALLS:
                    raise _unknown(f"{name}()")
                values[node] = _CALLS[name](*found, **options)
        result = values[node]
        if not isinstance(result, Filter):
            raise _unknown(f"a result of {type(result).__name__}")
        return result


def _unknown(came: str) -> ArgumentError:
    return ArgumentError.of(
        "merge_parallel", "a call that adds, scales, averages or joins what convolutions make of one input", came,
        "merge the parallel part alone",
    )  # fmt: skip


def _through(module: nn.Module, value: Any) -> Filter:
    """A filter with a module behind it."""
    if not isinstance(value, Filter):
        raise _unknown(f"{type(module).__name__} of {type(value).__name__}")
    if isinstance(module, _IDLE):
        if module.training and not isinstance(module, nn.Identity):
            raise ArgumentError.of(
                "merge_parallel", "dropout in evaluation mode", "training mode", "call .eval() first"
            )
        return value
    return value.normed(module) if isinstance(module, _BatchNorm) else chain_filters(value, Filter.of(module))


def _add(a: Any, b: Any, alpha: Any = 1) -> Any:
    """a + alpha·b of filters and numbers."""
    b = _mul(b, alpha)
    if isinstance(a, Filter) and isinstance(b, Filter):
        return add_filters([a, b])
    if isinstance(a, Filter) or isinstance(b, Filter):
        made, constant = (a, b) if isinstance(a, Filter) else (b, a)
        return made if isinstance(constant, (int, float)) and constant == 0 else made.shifted(_column(constant, made))
    return a + b


def _mul(a: Any, b: Any) -> Any:
    """The product of two numbers, or of a filter and a number for all channels or for each."""
    if isinstance(a, Filter) and isinstance(b, Filter):
        raise _unknown("a product of two results")
    if not isinstance(a, Filter) and not isinstance(b, Filter):
        return a * b
    made, factor = (a, b) if isinstance(a, Filter) else (b, a)
    return made.scaled(_column(factor, made))


def _div(a: Any, b: Any) -> Any:
    if isinstance(b, Filter):
        raise _unknown("a division by a result")
    return _mul(a, 1 / b)


def _column(number: Any, made: Filter) -> Any:
    """A number, or numbers for the channels (out) that stood as (out, 1, ...) beside the result."""
    if isinstance(number, (int, float)) or (isinstance(number, Tensor) and number.numel() == 1):
        return float(number)
    shape = tuple(number.shape)[-made.ndim - 1 :] if isinstance(number, Tensor) else ()
    if number.numel() != made.weight.shape[0] or shape != (made.weight.shape[0], *[1] * made.ndim):
        raise _unknown(f"a factor or summand of shape {shape}, which is no number for each channel")
    return number.flatten()


class _Stack(list):
    """Filters stacked along a new first axis."""


def _stack(tensors: Any, dim: int = 0) -> Any:
    if dim != 0:
        raise _unknown(f"a stack along axis {dim}")
    return _Stack(tensors)


def _reduced(word: str) -> Callable[..., Filter]:
    def call(stacked: Any, dim: Any = None, axis: Any = None) -> Filter:
        along = dim if axis is None else axis
        if not isinstance(stacked, _Stack) or along not in (0, (0,), [0]):
            raise _unknown(f"{word}() along axis {along}")
        return _REDUCE[word](stacked)

    return call


def _cat(tensors: Any, dim: int = 0) -> Filter:
    if not all(isinstance(t, Filter) for t in tensors) or dim not in (1, -tensors[0].ndim - 1):
        raise _unknown(f"cat() along axis {dim}")
    return join_filters(tensors)


_CALLS: dict[str, Callable[..., Any]] = {
    "add": _add, "iadd": _add, "add_": _add, "sub": lambda a, b, alpha=1: _add(a, _mul(b, -alpha)), "neg": lambda a: _mul(a, -1),
    "mul": _mul, "imul": _mul, "div": _div, "truediv": _div, "stack": _stack, "sum": _reduced("sum"), "mean": _reduced("mean"),
    "cat": _cat, "concat": _cat,
}  # fmt: skip
