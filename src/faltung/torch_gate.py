"""The torch gate: one operator, `faltung::solve`, through which every convolution of tensors goes.

The three maps of a bilinear convolution, out(x, k), x(k, y) and k(x, y), are the partial derivatives of one trilinear form
`T(x, k, y) = Σ y · (x ∗ k)`. The derivative of each is therefore again one of the three: a gradient is another `Problem`, it
gets its own plan, and derivatives of any order need no further formula.

torch sees an operator with a kernel for each of its layers: the computation, shapes without values (fake and meta tensors),
reverse and forward derivatives, batching, autocast. Nothing else here knows of torch.compile, torch.export or torch.func.

The problem travels as its one line of text, so its sizes are constants of a compiled or exported graph: another size compiles
another graph. Layers that torch.export is asked to keep open go by `faltung.nn.functional.open_sizes`; elsewhere such a dimension
is refused by torch with the name of the input.
"""

import operator
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from faltung import arrays
from faltung.domains import Boundary
from faltung.errors import RefusedError
from faltung.planner import Policy, plan_problem
from faltung.planner.policy import DEFAULT
from faltung.problem import Problem

_SLOTS = ("x", "k", "y")
_SLOT_OF = {"x": "x", "k": "k", "out": "y"}
_UNKNOWN_OF = {slot: unknown for unknown, slot in _SLOT_OF.items()}
_ORDINARY = (Tensor, torch.nn.Parameter)
_NARROW = ("float16", "bfloat16", "float32")

_library = torch.library.Library("faltung", "DEF")
_library.define(
    "solve(Tensor? x, Tensor? k, Tensor? y, str problem, str policy) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
_OP = torch.ops.faltung.solve.default

# -- entering -----------------------------------------------------------------------------------------------------------


def solve(
    problem: str, policy: str = "", x: Tensor | None = None, k: Tensor | None = None, y: Tensor | None = None
) -> Tensor:
    """The unknown of a problem from the tensors that are known, differentiable: out from (x, k), x from (k, y), k from (x, y).

    Shapes: `x_shape`, `k_shape` and `out_shape` of the problem; returns its `result_shape`.

    Args:
        problem: `Problem.text`, with host `torch` and the tensors' device.   policy: `Policy.text`, empty for no limits.
        x, k, y: the operands in the problem's dtypes; ordered algebras take all three for a gradient.

    Raises:
        ArgumentError, DtypeError: a tensor is missing or is not what the problem says.
        RefusedError: nothing fits the policy, or a derivative that the algebra does not have is asked for.
    """
    if plain(x, k, y):
        return _compute(x, k, y, problem, policy)
    return _OP(x, k, y, problem, policy)


def plain(*operands: Tensor | None) -> bool:
    """Whether these are ordinary tensors in the processor's memory that nobody watches.

    No derivative can be asked for, nothing is traced, batched or cast: then none of the operator's layers has anything to do, and
    the computation is called directly, because the way through them takes longer than a small convolution.
    """
    if torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in operands):
        return False
    return ordinary(*operands)


def ordinary(*operands: Tensor | None) -> bool:
    """Whether these are ordinary tensors in the processor's memory, and nothing but reverse derivatives can be asked for."""
    if torch.compiler.is_compiling() or torch._C._is_any_autocast_enabled() or forward_ad._current_level >= 0:
        return False
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack() or torch._C._get_tracing_state():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    return not any(a is not None and (type(a) not in _ORDINARY or not a.is_cpu) for a in operands)


def facts(tensor: Tensor) -> tuple[tuple[int, ...], str, str]:
    """Shape, dtype and device of a tensor as plain values.

    The symbolic sizes of a dynamic graph become numbers here, which the graph is then guarded by.
    """
    return tuple([operator.index(n) for n in tensor.shape]), arrays.dtype_name(tensor), str(tensor.device)


@lru_cache(maxsize=256)
def _policy(text: str) -> Policy:
    return Policy.parse(text) if text else DEFAULT


# -- computing ----------------------------------------------------------------------------------------------------------


def _compute(x: Tensor | None, k: Tensor | None, y: Tensor | None, problem: str, policy: str) -> Tensor:
    last = _innermost(problem, x, y)
    if last is None:
        return plan_problem(Problem.parse(problem), _policy(policy))(x, k, y)
    x, y = (a if a is None else a.permute(order) for a, order in ((x, last.x), (y, last.y)))
    result = plan_problem(last.problem, _policy(policy))(x, k, y)
    return result.permute(last.back) if last.back else result


def _shaped(x: Tensor | None, k: Tensor | None, y: Tensor | None, problem: str, policy: str) -> Tensor:
    """The result without values, in the same memory layout: for fake tensors while tracing, and for meta tensors."""
    last = _innermost(problem, x, y)
    stated = Problem.parse(problem) if last is None else last.problem
    known = next(a for a in (x, k, y) if a is not None)
    result = known.new_empty(stated.result_shape, dtype=getattr(torch, stated.result_dtype))
    return result.permute(last.back) if last is not None and last.back else result


@dataclass(frozen=True)
class _Last:
    """A problem stated for memory with channels innermost, the orders that bring signal and result there, and the way back."""

    problem: Problem
    x: tuple[int, ...]
    y: tuple[int, ...]
    back: tuple[int, ...]


def _innermost(problem: str, x: Tensor | None, y: Tensor | None) -> _Last | None:
    """The problem for channels innermost where the tensors lie so (torch.channels_last); None where they do not."""
    signal = y if x is None else x
    if signal is None or signal.is_contiguous():
        return None
    last = stated_last(problem)
    return last if signal.permute(last.y if x is None else last.x).is_contiguous() else None


@lru_cache(maxsize=4096)
def stated_last(text: str) -> _Last:
    """The same problem for tensors with channels innermost (torch.channels_last), batch axes in front."""
    problem = Problem.parse(text)
    layout = problem.layout

    def moved(axes: tuple[str, ...], ndim: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
        batch = tuple(a for a in axes if a in layout.roles["N"])
        names = (*batch, layout.star, *(a for a in axes if a not in batch and a != layout.star))
        return names, layout.places(axes, names, ndim)

    (x, to_x), (y, to_y) = moved(layout.x, len(problem.x_shape)), moved(layout.y, len(problem.out_shape))
    stated = replace(
        problem,
        pattern=f"{' '.join(x)}, {' '.join(layout.k)} -> {' '.join(y)}",
        x_shape=tuple(problem.x_shape[a] for a in to_x),
    )
    to = {"out": to_y, "x": to_x, "k": ()}[problem.unknown]
    return _Last(stated, to_x, to_y, tuple(to.index(a) for a in range(len(to))))


_library.impl("solve", _compute, "CompositeExplicitAutograd")
torch.library.register_fake("faltung::solve", _shaped, lib=_library)

# -- derivatives --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _partial(text: str, slot: str) -> str:
    """The problem that the reverse derivative with respect to one operand is: the same facts, that operand unknown.

    A constant beyond the edge is data: it takes part in what multiplies it (k and out) and drops out where the signal itself is
    the variable. So the maps to x, and all that is derived from them, see zeros there. A complex constant is conjugated with
    the signal that it extends.
    """
    problem = Problem.parse(text)
    if problem.over.ring:
        linear = problem.unknown == "x" or slot == "x"
        problem = _linear(problem) if linear else _conjugate_margin(problem)
    elif problem.unknown != "out":
        raise RefusedError.of(
            f"derivative of a gradient over {problem.algebra}", "a first derivative", "a second one",
            "the gradient of a maximum is a choice and has no derivative; do not differentiate it again (create_graph=True)",
        )  # fmt: skip
    return problem.gradient(_UNKNOWN_OF[slot]).text


@lru_cache(maxsize=4096)
def _tangent(text: str, slot: str) -> str:
    """The problem that maps a tangent of one operand to the tangent of the result."""
    problem = Problem.parse(text)
    if not problem.over.ring:
        raise RefusedError.of(
            f"forward derivative over {problem.algebra}", "an algebra that is a ring", problem.algebra,
            "use a reverse derivative (torch.func.vjp, backward)",
        )  # fmt: skip
    return (_linear(problem) if slot == "x" else problem).text


def _linear(problem: Problem) -> Problem:
    """The same convolution with zeros beyond the edge wherever a constant stood."""
    zeros = tuple(Boundary("constant") if b.kind == "constant" else b for b in problem.boundary)
    return replace(problem, boundary=zeros)


def _conjugate_margin(problem: Problem) -> Problem:
    conjugates = tuple(
        b._replace(value=b.value.conjugate()) if isinstance(b.value, complex) else b for b in problem.boundary
    )
    return replace(problem, boundary=conjugates)


def _conjugate(a: Tensor | None) -> Tensor | None:
    return a.conj() if a is not None and a.is_complex() else a


class _Derivatives(_SingleLevelFunction):
    """Reverse and forward derivatives at one level of torch.func; the dispatcher takes care of the others.

    A plain `torch.autograd.Function` cannot stand inside an operator under torch.func, and torch's own helper for custom operators
    knows no forward derivatives, so this is the class that torch.func itself makes for each of its levels.
    """

    @staticmethod
    def forward(ctx: Any, below: Callable[..., Tensor], x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
        ctx.texts = problem, policy
        ctx.set_materialize_grads(False)
        needs = dict(zip(_SLOTS, ctx.needs_input_grad[1:4], strict=True))
        operands = {"x": x, "k": k, "y": y}
        if Problem.parse(problem).over.ring:  # an operand is kept for the sake of the others only
            kept = [a if any(needs[o] for o in _SLOTS if o != slot) else None for slot, a in operands.items()]
        else:
            kept = [x, k, y]
        ctx.save_for_backward(*kept)
        ctx.save_for_forward(x, k, y)
        return below(x, k, y, problem, policy)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple:
        if cotangent is None:
            return (None,) * 6
        text, policy = ctx.texts
        problem = Problem.parse(text)
        known = dict(zip(_SLOTS, ctx.saved_tensors, strict=True))
        if problem.over.ring:
            known = {slot: _conjugate(a) for slot, a in known.items()}
        known[_SLOT_OF[problem.unknown]] = cotangent
        gradients = []
        for slot, needed in zip(_SLOTS, ctx.needs_input_grad[1:4], strict=True):
            given = {**known, slot: None} if problem.over.ring else known
            gradients.append(_OP(*_in_order(given), _partial(text, slot), policy) if needed else None)
        return None, *gradients, None, None

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Tensor | None:
        text, policy = ctx.texts
        total = None
        # torch switches derivatives off here, as if this were the last level; outer levels of torch.func still need them.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            known = {
                slot: None if a is None else forward_ad.unpack_dual(a, level=0).primal
                for slot, a in zip(_SLOTS, ctx.saved_tensors, strict=True)
            }
            for slot, tangent in zip(_SLOTS, tangents[:3], strict=True):
                if tangent is not None:
                    term = _OP(*_in_order({**known, slot: tangent}), _tangent(text, slot), policy)
                    total = term if total is None else total + term
        return total


def _in_order(known: Mapping[str, Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(known[slot] for slot in _SLOTS)


def _differentiate(keyset: Any, x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
    """The layer of derivatives: leaves a trace where one can be asked for, and goes on below."""
    reverse, forward = torch.is_grad_enabled(), torch._C._is_fwd_grad_enabled()
    nested = torch._C._functorch.peek_interpreter_stack() is not None
    wanted = nested or forward_ad._current_level >= 0 or (reverse and torch._C._any_requires_grad(x, k, y))
    traced = wanted and Problem.parse(problem).result_dtype.startswith(("float", "bfloat", "complex"))

    def below(*operands: Any) -> Tensor:
        # The modes are those of the caller, which outer levels of torch.func look at.
        with ExitStack() as modes:
            if traced:
                modes.enter_context(torch.set_grad_enabled(reverse))
                modes.enter_context(forward_ad._set_fwd_grad_enabled(forward))
            modes.enter_context(torch._C._AutoDispatchBelowAutograd())
            return _OP.redispatch(keyset & torch._C._after_autograd_keyset, *operands)

    if not traced:
        return below(x, k, y, problem, policy)
    with enable_single_level_autograd_function():
        return _Derivatives.apply(below, x, k, y, problem, policy)


_library.impl("solve", _differentiate, "Autograd", with_keyset=True)

# -- batching -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _batched(text: str, slots: tuple[str, ...], size: int) -> str:
    """The problem with one more axis, in front of the named arrays."""
    problem = Problem.parse(text)
    layout = problem.layout
    letter = "v"
    while letter in (*layout.x, *layout.k, *layout.y):
        letter += "v"
    x, k, y = (
        " ".join((letter, *axes) if slot in slots else axes)
        for slot, axes in (("x", layout.x), ("k", layout.k), ("y", layout.y))
    )
    return replace(
        problem,
        pattern=f"{x}, {k} -> {y}",
        x_shape=(size, *problem.x_shape) if "x" in slots else problem.x_shape,
        k_shape=(size, *problem.k_shape) if "k" in slots else problem.k_shape,
    ).text


def _vmap(info: Any, in_dims: tuple, x: Any, k: Any, y: Any, problem: str, policy: str) -> tuple[Tensor, int]:
    """One letter more in the pattern, of the operands that are batched and of the unknown."""
    stated, size = Problem.parse(problem), info.batch_size
    operands = {
        slot: a if a is None or at is None else a.movedim(at, 0)
        for slot, a, at in zip(_SLOTS, (x, k, y), in_dims[:3], strict=True)
    }
    slots = {
        slot for slot, a, at in zip(_SLOTS, (x, k, y), in_dims[:3], strict=True) if a is not None and at is not None
    }
    if not stated.over.ring and stated.unknown != "out":
        # An axis that the result lacks would be a further choice of the maximum, so all three have it.
        operands = {s: a if s in slots else a.expand(size, *a.shape) for s, a in operands.items()}
        slots = set(_SLOTS)
    slots.add(_SLOT_OF[stated.unknown])
    return _OP(*_in_order(operands), _batched(problem, tuple(sorted(slots)), size), policy), 0


torch.library.register_vmap("faltung::solve", _vmap, lib=_library)

# -- autocast -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _narrowed(text: str, dtype: str) -> str:
    """The problem in autocast's dtype if all its arrays are float32 or narrower, as torch's own convolutions; else unchanged."""
    problem = Problem.parse(text)
    if problem.algebra != "real" or not {problem.x_dtype, problem.k_dtype, problem.out_dtype} <= set(_NARROW):
        return text
    return replace(problem, x_dtype=dtype, k_dtype=dtype, out_dtype=dtype).text


def _autocast(device: str, key: Any) -> Callable[..., Tensor]:
    def kernel(_: Any, x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
        dtype = torch.get_autocast_dtype(device)
        # Everything below is beyond autocast's reach, what a method calls of torch included.
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            narrowed = _narrowed(problem, str(dtype).removeprefix("torch."))
            if narrowed != problem:
                x, k, y = (a if a is None else a.to(dtype) for a in (x, k, y))
            return _OP(x, k, y, narrowed, policy)

    return kernel


for _device, _key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
    _library.impl("solve", _autocast(_device, getattr(torch._C.DispatchKey, _key)), _key, with_keyset=True)
