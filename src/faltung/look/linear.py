"""A network as the linear system that it is around one input: rows, columns, singular vectors, and what its biases add."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor, fx, nn

from faltung.errors import ArgumentError
from faltung.look.norms import NORMS, affine_of
from faltung.readers import Traced, traced, undisturbed
from faltung.readers.words import ACTIVATIONS

# What maps signals linearly, up to a constant, whatever they are.
_LINEAR = frozenset(
    """conv linear norm avg_pool adaptive_pool reduce add mul concat upsample pixel_shuffle pixel_unshuffle pad same reshape permute
    slice expand""".split()
)


@dataclass(eq=False)
class LinearMap:
    """y = A u + r, what a model does to a signal u while everything that it decides is decided as for x₀.

    Fields:
        x, y: the input x₀ and f(x₀).   residual: r, what biases add.   mode: "tangent" (A the Jacobian) or "secant".
    """

    x: Tensor
    y: Tensor
    residual: Tensor
    mode: str
    _map: "_Tangent | _Frozen" = field(repr=False)

    def matvec(self, u: Tensor) -> Tensor:
        """A u.   Shapes: u as x; returns as y.   Cost: one call of the model, about."""
        return self._map.matvec(u.reshape(self.x.shape))

    def rmatvec(self, v: Tensor) -> Tensor:
        """Aᵀ v.   Shapes: v as y; returns as x.   Cost: one gradient of the model, about."""
        return self._map.rmatvec(v.reshape(self.y.shape))

    def row(self, index: int | tuple[int, ...]) -> Tensor:
        """What one element of the result reads: a row of A, shaped as x."""
        return self.rmatvec(_unit(self.y, index))

    def column(self, index: int | tuple[int, ...]) -> Tensor:
        """What one element of the input paints: a column of A, shaped as y."""
        return self.matvec(_unit(self.x, index))

    def svd(self, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The k largest singular values of A, with vectors, without ever having A: (left (k, *y), values (k), right (k, *x)).

        Error: of ARPACK, about the square root of the precision of the model's numbers.   Cost: some tens of products for each.
        """
        size = prod(self.y.shape), prod(self.x.shape)
        if not 0 < k < min(size):
            raise ArgumentError.of("svd", f"1 to {min(size) - 1} singular values", str(k), "ask for fewer")

        def forward(u: np.ndarray) -> np.ndarray:
            return self.matvec(torch.from_numpy(u.ravel()).to(self.x)).double().reshape(-1).numpy()

        def backward(v: np.ndarray) -> np.ndarray:
            return self.rmatvec(torch.from_numpy(v.ravel()).to(self.y)).double().reshape(-1).numpy()

        operator = LinearOperator(size, forward, backward, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(min(size))
        left, values, right = svds(operator, k, v0=start)
        order = np.argsort(-values)
        return (
            torch.from_numpy(left.T[order].copy()).reshape(k, *self.y.shape),
            torch.from_numpy(values[order].copy()),
            torch.from_numpy(right[order].copy()).reshape(k, *self.x.shape),
        )

    def contribution(self) -> Tensor:
        """The share of the biases in every element of the result: |r| / (|A x₀| + |r|), 0 where both are nothing."""
        signal = (self.y - self.residual).abs()
        total = signal + self.residual.abs()
        return torch.where(total > 0, self.residual.abs() / total.clamp(min=torch.finfo(total.dtype).tiny), 0)


def _unit(like: Tensor, index: int | tuple[int, ...]) -> Tensor:
    made = torch.zeros_like(like)
    place = torch.unravel_index(torch.tensor(index), like.shape) if isinstance(index, int) else index
    made[place] = 1
    return made


def linearize(model: nn.Module, x: Tensor, mode: str = "tangent") -> LinearMap:
    """The affine map that a model is for signals that meet the same masks, selections and slopes as x.

    Formula: tangent: A = ∂f/∂x, r = f(x) − A x. secant: every function h of one element becomes h(0) + (h(z) − h(0)) / z · v for
    the z that x brings there (its slope where z = 0), every maximum the element that x selects, every norm one with the
    mean and variance that x brings there; then f(x) = A x + r, r the image of 0. For rectifiers and maxima both are the same.

    Args:
        mode: "tangent", any differentiable model; or "secant", models of convolutions, norms, functions, pools and sums.

    Raises:
        ArgumentError: another mode, or an operation that has no secant (attention, products of signals).

    Source: Navarrete Michelini, Liu, Lu and Jiang, A tour of convolutional networks guided by linear interpreters (2019).

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3, bias=False), nn.ReLU())
        >>> x = torch.randn(1, 1, 9)
        >>> a = linearize(net, x)
        >>> torch.allclose(a.matvec(x), net(x), atol=1e-6), bool(a.residual.abs().max() < 1e-6)
        (True, True)
    """
    if mode not in ("tangent", "secant"):
        raise ArgumentError.of("linearize", "mode 'tangent' or 'secant'", repr(mode), "choose one")
    with undisturbed(model):
        found = traced(model, x)
    x = x.detach().clone()
    if mode == "secant":
        frozen = _Frozen(found, x)
        return LinearMap(x, frozen.result, frozen.residual, mode, frozen)
    tangent = _Tangent(found, x)
    y = tangent.result.detach()
    return LinearMap(x, y, y - tangent.matvec(x), mode, tangent)


class _Tangent:
    """The Jacobian by the graph of one call: Aᵀ v is its gradient, and A u the gradient of Aᵀ v with respect to v."""

    def __init__(self, found: Traced, x: Tensor) -> None:
        with torch.enable_grad():
            self.x = x.clone().requires_grad_()
            self.result = found.run(self.x.clone())[0]  # operators that write in place write into the copy
            self.v = torch.zeros_like(self.result).requires_grad_()
            (self.back,) = torch.autograd.grad(self.result, self.x, self.v, create_graph=True)

    def rmatvec(self, v: Tensor) -> Tensor:
        return torch.autograd.grad(self.result, self.x, v, retain_graph=True)[0]

    def matvec(self, u: Tensor) -> Tensor:
        if not self.back.requires_grad:  # the result does not depend on the input
            return torch.zeros_like(self.result)
        return torch.autograd.grad(self.back, self.v, u, retain_graph=True)[0]


class _Frozen:
    """The model replayed with the slopes and selections of one input."""

    def __init__(self, found: Traced, x: Tensor) -> None:
        self.found = found
        self.shape = x.shape
        self.kept: dict[str, Any] = {}
        with torch.no_grad():
            self.result = self._run(x.clone(), first=True)
            self.residual = self._run(torch.zeros_like(x), first=False)

    def matvec(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            return self._run(u.clone(), first=False) - self.residual

    def rmatvec(self, v: Tensor) -> Tensor:
        with torch.enable_grad():
            u = self.residual.new_zeros(self.shape).requires_grad_()
            return torch.autograd.grad(self._run(u.clone(), first=False), u, v)[0]

    def _run(self, u: Tensor, first: bool) -> Tensor:
        held: dict[str, Any] = {}
        entered = set(self.found.network.inputs)

        def value(argument: Any) -> Any:
            return fx.map_arg(argument, lambda n: held[n.name])

        for node in self.found.graph.nodes:
            if node.op == "placeholder":
                own = self.found.nodes.get(node.name) in entered
                held[node.name] = u if own else self.found.constants.get(node.name)
            elif node.op == "output":
                results = list(_tensors(value(node.args)))
                return results[0]
            else:
                held[node.name] = self._node(node, value(node.args), value(node.kwargs), first)
        raise ArgumentError.of("linearize", "a model with a result", "none", "wrap it")

    def _node(self, node: fx.Node, args: Any, kwargs: Any, first: bool) -> Any:
        base = str(getattr(node.target, "_opname", getattr(node.target, "__name__", ""))).rstrip("_")
        signals = [a for a in node.all_input_nodes if a.name in self.found.nodes]
        if base in ACTIVATIONS and signals:
            return self._function(node, args, kwargs, first)
        if base.startswith("max_pool"):
            return self._maximum(node, base, args, kwargs, first)
        name = self.found.nodes.get(node.name)
        op = self.found.network[name].op if name else "same"
        known = self.found.network[name] if name else None
        products = known is not None and op == "mul" and len(known.inputs) > 1
        unsteady = known is not None and op == "norm" and not known.settings.get("frozen")
        if unsteady and base in NORMS:
            return self._norm(node, args, kwargs, first)
        if (
            op not in _LINEAR
            or products
            or unsteady
            or (op == "adaptive_pool" and known and known.settings["function"] == "max")
        ):
            raise ArgumentError.of(
                "linearize", "operations that have a secant", f"{name} ({base})", "use mode='tangent'"
            )
        args = tuple(a.clone() if isinstance(a, Tensor) and i == 0 else a for i, a in enumerate(args))
        return node.target(*args, **kwargs)

    def _function(self, node: fx.Node, args: Any, kwargs: Any, first: bool) -> Tensor:
        z, *rest = args
        if first:
            with torch.enable_grad():
                free = z.detach().clone().requires_grad_()
                y = node.target(free.clone(), *rest, **kwargs)
                (slope,) = torch.autograd.grad(y.sum(), free)
                zero = node.target(torch.zeros_like(z), *rest, **kwargs)
            ratio = (y.detach() - zero) / torch.where(z == 0, 1, z)
            self.kept[node.name] = torch.where(z == 0, slope, ratio), zero
            return y.detach()
        ratio, zero = self.kept[node.name]
        return zero + ratio * z

    def _norm(self, node: fx.Node, args: Any, kwargs: Any, first: bool) -> Tensor:
        if first:
            self.kept[node.name] = affine_of(node, args, kwargs)
        held = self.kept[node.name]
        if first or held is None:
            return node.target(*args, **kwargs)
        return held[0] * args[0] + held[1]

    def _maximum(self, node: fx.Node, base: str, args: Any, kwargs: Any, first: bool) -> Any:
        z, *rest = args
        ndim = int(next(c for c in base if c.isdigit()))
        if first:
            pool = getattr(torch.nn.functional, f"max_pool{ndim}d")
            names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            settings = {**dict(zip(names, rest, strict=False)), **kwargs}
            settings["stride"] = settings.get("stride") or None
            y, where = pool(z, return_indices=True, **settings)
            self.kept[node.name] = where
        else:
            where = self.kept[node.name]
            y = z.flatten(-ndim).gather(-1, where.flatten(-ndim)).reshape(where.shape)
        return (y, where) if "indices" in base else y


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (tuple, list)) else []
