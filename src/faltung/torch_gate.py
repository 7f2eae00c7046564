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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from faltung import arrays
from faltung.domains import Boundary
from faltung.errors import ArgumentError, RefusedError
from faltung.problem import Problem
from faltung.torch_memory import compute, compute_fitting, shaped

_SLOTS = ("x", "k", "y")
_SLOT_OF = {"x": "x", "k": "k", "out": "y"}
_UNKNOWN_OF = {slot: unknown for unknown, slot in _SLOT_OF.items()}
_ORDINARY = (Tensor, torch.nn.Parameter)
_DENSE = torch._C._dispatch_keys(torch.empty(0)).raw_repr()
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
    return _solved(compute, problem, policy, x, k, y)


def solve_fitting(
    problem: str, policy: str = "", x: Tensor | None = None, k: Tensor | None = None, y: Tensor | None = None
) -> Tensor:
    """As `solve`, for dense tensors that are known to be what the problem says: nothing is looked at again."""
    return _solved(compute_fitting, problem, policy, x, k, y)


def _solved(
    compute: Callable[..., Tensor], problem: str, policy: str, x: Tensor | None, k: Tensor | None, y: Tensor | None
) -> Tensor:
    """By the shortest way that serves whoever watches: none of the operator's layers, derivatives only, or all of them.

    The way through the layers takes longer than a small convolution.
    """
    if not unobserved(x, k, y):
        return _OP(x, k, y, problem, policy)
    if torch.is_grad_enabled() and torch._C._any_requires_grad(x, k, y) and _differentiable(problem):
        return _Recorded.apply(compute, x, k, y, problem, policy)
    return compute(x, k, y, problem, policy)


def plain(*operands: Tensor | None) -> bool:
    """Whether these are ordinary tensors in the processor's memory that nobody watches, and no derivative can be asked for."""
    return unobserved(*operands) and not (
        torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in operands)
    )


def unobserved(*operands: Tensor | None) -> bool:
    """Whether these are ordinary tensors in the processor's memory and nothing is traced, batched, cast or derived forwards.

    At most reverse derivatives can be asked for.
    """
    if torch.compiler.is_compiling() or torch._C._is_any_autocast_enabled() or forward_ad._current_level >= 0:
        return False
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack() or torch._C._get_tracing_state():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return False
    for a in operands:  # noqa: SIM110 - a generator takes twice as long
        if a is not None and (type(a) not in _ORDINARY or not a.is_cpu):
            return False
    return True


def alone(cotangent: Tensor) -> bool:
    """Whether this is one tensor, not a batch of them (is_grads_batched): torch's keys for kernels tell, nothing else does."""
    return torch._C._dispatch_keys(cotangent).raw_repr() == _DENSE


def facts(tensor: Tensor) -> tuple[tuple[int, ...], str, str]:
    """Shape, dtype and device of a tensor as plain values.

    The symbolic sizes of a dynamic graph become numbers here, which the graph is then guarded by. ArgumentError where it is sparse.
    """
    # A graph's tensors are dense, and within a derivative that is compiled torch does not let layouts be asked for.
    if not torch.compiler.is_compiling() and tensor.layout is not torch.strided:
        raise ArgumentError.of("faltung", "dense tensors", str(tensor.layout), "use .to_dense()")
    return tuple([operator.index(n) for n in tensor.shape]), arrays.dtype_name(tensor), str(tensor.device)


_library.impl("solve", compute, "CompositeExplicitAutograd")
torch.library.register_fake("faltung::solve", shaped, lib=_library)

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


def _kept(problem: str, x: Any, k: Any, y: Any, needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    """The operands that derivatives with respect to those in need are made of."""
    if not Problem.parse(problem).over.ring:
        return x, k, y
    return tuple(
        [a if any(n for other, n in enumerate(needs) if other != at) else None for at, a in enumerate((x, k, y))]
    )


def _gradients(
    solve: Callable[..., Tensor],
    text: str,
    policy: str,
    kept: Sequence[Tensor | None],
    cotangent: Tensor,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """The derivative with respect to each operand in need; a problem each."""
    problem = Problem.parse(text)
    ring = problem.over.ring
    known = [_conjugate(a) for a in kept] if ring else list(kept)
    known[_SLOTS.index(_SLOT_OF[problem.unknown])] = cotangent
    found: list[Tensor | None] = []
    for at, needed in enumerate(needs):
        given = [None if ring and other == at else a for other, a in enumerate(known)]
        found.append(solve(_partial(text, _SLOTS[at]), policy, *given) if needed else None)
    return tuple(found)


def _differentiable(problem: str) -> bool:
    return Problem.parse(problem).result_dtype.startswith(("float", "bfloat", "complex"))


class _Recorded(torch.autograd.Function):
    """Reverse derivatives for tensors that nothing else watches: a step of training without the operator's other layers."""

    @staticmethod
    def forward(ctx: Any, compute: Callable[..., Tensor], x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
        ctx.texts, ctx.needs = (problem, policy), ctx.needs_input_grad[1:4]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*_kept(problem, x, k, y, ctx.needs))
        result = compute(x, k, y, problem, policy)
        ctx.steps = result.stride()
        # What turned axes look at may not be written to later (a bias is added in place); the same memory as its own tensor may.
        # Memory alone does not say that it is to be conjugated or negated.
        return result.new_empty(0).set_(result.resolve_conj().resolve_neg()) if result._is_view() else result

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple:
        if cotangent is None:
            return (None,) * 6
        text, policy = ctx.texts
        solve = solve_fitting if alone(cotangent) else _layered
        # One value for all places (a sum's cotangent), or another layout: laid out as the result once, not for every derivative.
        if solve is solve_fitting and cotangent.stride() != ctx.steps:
            cotangent = cotangent.new_empty_strided(cotangent.shape, ctx.steps).copy_(cotangent)
        return None, *_gradients(solve, text, policy, ctx.saved_tensors, cotangent, ctx.needs), None, None


class _Derivatives(_SingleLevelFunction):
    """Reverse and forward derivatives at one level of torch.func; the dispatcher takes care of the others.

    A plain `torch.autograd.Function` cannot stand inside an operator under torch.func, and torch's own helper for custom operators
    knows no forward derivatives, so this is the class that torch.func itself makes for each of its levels.
    """

    @staticmethod
    def forward(ctx: Any, below: Callable[..., Tensor], x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
        ctx.texts = problem, policy
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*_kept(problem, x, k, y, ctx.needs_input_grad[1:4]))
        ctx.save_for_forward(x, k, y)
        return below(x, k, y, problem, policy)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor | None) -> tuple:
        if cotangent is None:
            return (None,) * 6
        text, policy = ctx.texts
        found = _gradients(_layered, text, policy, ctx.saved_tensors, cotangent, ctx.needs_input_grad[1:4])
        return None, *found, None, None

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


def _layered(problem: str, policy: str, x: Tensor | None, k: Tensor | None, y: Tensor | None) -> Tensor:
    return _OP(x, k, y, problem, policy)


def _in_order(known: Mapping[str, Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(known[slot] for slot in _SLOTS)


def _differentiate(keyset: Any, x: Any, k: Any, y: Any, problem: str, policy: str) -> Tensor:
    """The layer of derivatives: leaves a trace where one can be asked for, and goes on below."""
    reverse, forward = torch.is_grad_enabled(), torch._C._is_fwd_grad_enabled()
    nested = torch._C._functorch.peek_interpreter_stack() is not None
    wanted = nested or forward_ad._current_level >= 0 or (reverse and torch._C._any_requires_grad(x, k, y))
    traced = wanted and _differentiable(problem)

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
