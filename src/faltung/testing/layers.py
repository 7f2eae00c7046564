"""The contract of every layer: one check a function, run on every example of every class in `faltung.nn.ALL`.

A check takes a `Case` and raises AssertionError. `applicable` names the checks that a case must pass: all of them but those that
belong to a claim the layer does not make. Layers are judged in float64, with all parameters stirred, so that zeros that training
starts from hide nothing.
"""

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from faltung.errors import FaltungError
from faltung.nn.base import LINEAR, PER_SAMPLE, SHIFT_INVARIANT
from faltung.nn.functional.definition import conv_by_taps
from faltung.testing.layer_cases import Case, cases, derivatives, gradients, is_shape, matrix_of, near
from faltung.testing.layer_symmetry import declared, symmetric, symmetric_slopes, symmetric_trained

EXACT, SINGLE, HALF = 1e-10, 1e-4, 2e-2
LARGEST_MATRIX = 400

# The checks of every layer


def rebuilds(case: Case) -> None:
    """`repr` is a call that makes a layer with the same repr and the same parameters' shapes; copies and pickles are equal."""
    from faltung import Policy
    from faltung import nn as ours

    layer, inputs = case.layer(), case.inputs()
    known = {**vars(ours), type(layer).__name__: type(layer), "torch": torch, "Policy": Policy, "inf": math.inf}
    again = eval(repr(layer), known)
    assert repr(again) == repr(layer), f"{layer!r} rebuilds as {again!r}"
    described = {name: (value.shape, value.dtype) for name, value in layer.state_dict().items()}
    assert {name: (value.shape, value.dtype) for name, value in again.state_dict().items()} == described
    wanted = layer(*inputs)
    again.eval().load_state_dict(layer.state_dict())
    for what, other in (
        ("from the state dict", again),
        ("deep copy", copy.deepcopy(layer)),
        ("pickle", pickle.loads(pickle.dumps(layer))),
    ):
        near(other(*inputs), wanted, 0, what)


def shapes(case: Case) -> None:
    """`shapes` says what comes out, and so do meta tensors."""
    said = case.layer().shapes(*case.shapes())
    said = [tuple(said)] if is_shape(said) else [tuple(shape) for shape in said]
    results = pytree.tree_leaves(case.layer()(*case.inputs()))
    assert [tuple(y.shape) for y in results] == said, (
        f"shapes() says {said}, but {[tuple(y.shape) for y in results]} came"
    )
    if not case.kind.eager_only:
        fake = pytree.tree_leaves(case.layer(device="meta")(*case.inputs(device="meta")))
        assert [(tuple(y.shape), y.dtype) for y in fake] == [(tuple(y.shape), y.dtype) for y in results], (
            "on meta tensors"
        )


def definition(case: Case) -> None:
    """The layer equals its definition in float64, and float32 is as close as float32 can be and stays float32."""
    layer, inputs = case.layer(), case.inputs()
    wanted = layer.definition(*inputs)
    near(layer(*inputs), wanted, EXACT, "against the definition")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Complex modules")  # torch on every module that becomes complex
        single = layer.to(case.kind_of(torch.float32))
    results = single(*case.inputs(torch.float32))
    near(results, wanted, SINGLE, "float32 after .float()")
    wide = {y.dtype for y in pytree.tree_leaves(results)} & {torch.float64, torch.complex128}
    assert not wide, f"float32 became {wide}"


def inference(case: Case) -> None:
    """Where no derivative can be asked for, and other code may run, the result is that of the definition, too; inputs stay.

    With no_grad, in inference mode and with frozen parameters; for inputs as they come and with channels innermost in memory.
    """
    layer, inputs = case.layer(), case.inputs()
    wanted = layer.definition(*inputs)
    frozen = copy.deepcopy(layer).requires_grad_(False)
    for what, mode, ours in (
        ("without gradients", torch.no_grad, layer),
        ("in inference mode", torch.inference_mode, layer),
        ("with frozen parameters", torch.enable_grad, frozen),
    ):
        with mode():
            near(ours(*inputs), wanted, EXACT, what)
    lying = pytree.tree_map(_channels_innermost, inputs)
    with torch.no_grad():
        near(layer(*lying), wanted, EXACT, "without gradients, channels innermost in memory")
    near((inputs, lying), (case.inputs(), case.inputs()), 0, "inputs after calls without gradients")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Complex modules")
        single = layer.to(case.kind_of(torch.float32))
    with torch.no_grad():
        near(single(*case.inputs(torch.float32)), wanted, SINGLE, "float32 without gradients")


def gradient(case: Case) -> None:
    """Finite differences agree with the derivatives for all parameters and inputs."""
    if not case.example.tiny:
        return
    layer, (leaves, spec) = case.layer(), pytree.tree_flatten(case.inputs())
    names = [name for name, p in layer.named_parameters() if p.requires_grad]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters() if p.requires_grad]
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def call(*flat: Tensor) -> Any:
        inputs = pytree.tree_unflatten(list(flat[len(names) :]), spec)
        results = torch.func.functional_call(layer, dict(zip(names, flat, strict=False)), inputs)
        return tuple(y for y in pytree.tree_leaves(results) if y.requires_grad)

    torch.autograd.gradcheck(call, (*values, *leaves), fast_mode=True, atol=1e-6, rtol=1e-4)


def counted(case: Case) -> None:
    """The formula for the number of parameters gives their number."""
    layer = case.layer()
    found = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    assert layer.parameter_count() == found, f"parameter_count() says {layer.parameter_count()}, there are {found}"


def trains(case: Case) -> None:
    """Every parameter takes part in the result and, in some example of the class, moves it; no derivative is NaN."""
    found, inputs = derivatives(case)
    dead = [name for name, values in found.items() if all(g is None for g in values)]
    assert not dead, f"no result depends on {dead}"
    wild = [
        n for n, values in (found | inputs).items() if any(g is not None and not g.isfinite().all() for g in values)
    ]
    assert not wild, f"derivatives for {wild} are not finite"
    still = {name for name, values in found.items() if not any(g is not None and g.any() for g in values)}
    for other in cases([case.kind]) if still else ():  # one example may hide a parameter behind a ReLU or an empty mask
        still -= {
            name for name, values in derivatives(other)[0].items() if any(g is not None and g.any() for g in values)
        }
    assert not still, f"no result of any example moves with {sorted(still)}"


def repeats(case: Case) -> None:
    """The same seed makes the same layer, the same call the same bits, gradients too; the inputs are left alone."""
    first, second = case.layer(torch.float32), case.layer(torch.float32)
    near(list(first.state_dict().values()), list(second.state_dict().values()), 0, "made twice from one seed")
    inputs, kept = case.inputs(torch.float32), case.inputs(torch.float32)
    near(first(*inputs), second(*inputs), 0, "called twice")
    near(gradients(first, inputs), gradients(second, inputs), 0, "differentiated twice")
    near(inputs, kept, 0, "inputs after the call")


def half(case: Case) -> None:
    """Under autocast in bfloat16 and float16 the result is that of float32 within the half type's accuracy."""
    if case.example.complex:
        return
    layer, inputs = case.layer(torch.float32), case.inputs(torch.float32)
    wanted = layer(*inputs)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            near(layer(*inputs), wanted, HALF, f"under autocast in {dtype}", norm=True)


def extremes(case: Case) -> None:
    """Without samples the result is empty, with one pixel or a prime number of them right; or a faltung error says why not."""
    layer = case.layer()

    def empty(shape: Any) -> Any:
        return (0, *shape[1:])

    said = layer.shapes(*case.shapes(empty))
    results = pytree.tree_leaves(layer(*case.inputs(change=empty)))
    assert [tuple(y.shape) for y in results] == ([tuple(said)] if is_shape(said) else [tuple(s) for s in said])
    for size in (1, 7):

        def sized(shape: Any, size: int = size) -> Any:
            return (*shape[:2], *(size,) * (len(shape) - 2))

        inputs = case.inputs(change=sized)
        try:
            got = layer(*inputs)
        except FaltungError:
            continue
        near(got, layer.definition(*inputs), EXACT, f"inputs of {size} samples along each axis")


def refuses(case: Case) -> None:
    """A wrong number of channels or axes, or whole numbers, are computed with or refused with an error of faltung."""
    layer = case.layer()
    for change in (lambda s: (s[0], s[1] + 1, *s[2:]), lambda s: (*s, 2), lambda s: s[:1]):
        try:
            layer(*case.inputs(change=change))
        except FaltungError:
            continue
    try:
        layer(*pytree.tree_map(lambda a: a.real.to(torch.int64), case.inputs()))
    except FaltungError:
        return
    raise AssertionError("whole numbers were taken for signals")


def compiles(case: Case) -> None:
    """torch.compile takes the layer whole, and result and gradients are the same."""
    layer, inputs = case.layer(torch.float32), case.inputs(torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    near(compiled(*inputs), layer(*inputs), SINGLE, "compiled")
    near(gradients(compiled, inputs), gradients(layer, inputs), SINGLE, "gradients, compiled")


def exports(case: Case) -> None:
    """torch.export takes the layer, and what was stored and loaded gives the same."""
    layer, inputs = case.layer(torch.float32), case.inputs(torch.float32)
    stored = io.BytesIO()
    torch.export.save(torch.export.export(layer, inputs), stored)
    stored.seek(0)
    near(torch.export.load(stored).module()(*inputs), layer(*inputs), SINGLE, "exported")


def on_gpu(case: Case) -> None:
    """Result and gradients on a CUDA device are those of the CPU."""
    inputs = case.inputs(torch.float32)
    there = pytree.tree_map(lambda a: a.cuda(), inputs)
    ours, judge = case.layer(torch.float32, "cuda"), case.layer(torch.float32)
    near(pytree.tree_map(lambda a: a.cpu(), ours(*there)), judge(*inputs), SINGLE, "on the GPU")
    near([g.cpu() for g in gradients(ours, there)], gradients(judge, inputs), 1e-3, "gradients on the GPU")


def bounded(case: Case) -> None:
    """No difference of two results is longer than the stated gain times that of the inputs."""
    layer, inputs = case.layer(), case.inputs()
    gain = layer.gain()
    if gain is None:
        return
    if LINEAR in layer.claims and math.prod(inputs[0].shape[1:]) <= LARGEST_MATRIX:
        found = torch.linalg.matrix_norm(matrix_of(layer, inputs[0]), 2).item()
    else:
        pairs = [(inputs[0], case.inputs(seed=seed)[0]) for seed in range(2, 22)]
        found = max(((layer(a, *inputs[1:]) - layer(b, *inputs[1:])).norm() / (a - b).norm()).item() for a, b in pairs)
    assert found <= gain * (1 + 1e-9), f"gain() says {gain}, but {found} was found"


# The checks of claims


def linear(case: Case) -> None:
    """The first input enters linearly but for a constant; the effective matrix is that of the definition."""
    layer, (x, *rest) = case.layer(), case.inputs()
    z, zero = case.inputs(seed=2)[0], torch.zeros_like(x)
    wanted = 2 * (layer(x, *rest) - layer(zero, *rest)) - 3 * (layer(z, *rest) - layer(zero, *rest))
    near(layer(2 * x - 3 * z, *rest) - layer(zero, *rest), wanted, EXACT, "superposition")
    if not rest and math.prod(x.shape[1:]) <= LARGEST_MATRIX:
        got = matrix_of(layer, x) @ x[0].reshape(-1)
        wanted = layer.definition(x[:1]) - layer.definition(zero[:1])
        near(got, wanted.reshape(-1), EXACT, "the effective matrix")


def shift_invariant(case: Case) -> None:
    """The layer is the plain convolution with its effective kernel and bias; frozen, it is torch's layer with the same result."""
    layer, (x,) = case.layer(), case.inputs()
    kernel, bias = layer.effective_kernel(), layer.effective_bias()
    settings = (layer.stride, layer.pads, layer.dilation, layer.groups, layer.padding_mode)
    wanted = conv_by_taps(x, kernel, bias, *settings)
    near(layer(x), wanted, EXACT, "against its effective kernel")
    frozen = layer.freeze()
    near(frozen(x), wanted, EXACT, "frozen")
    assert {name for name, _ in frozen.named_parameters()} == {"weight"} | ({"bias"} if bias is not None else set())
    near(frozen.weight, kernel, 0, "the frozen weight")
    if type(frozen).__module__.startswith("torch.") and not case.example.complex:
        _in_onnx(frozen.float(), x.float())


def per_sample(case: Case) -> None:
    """A sample's result does not depend on the other samples of its batch, in evaluation mode."""
    layer, inputs = case.layer(), case.inputs(change=lambda shape: (3, *shape[1:]))
    whole = layer(*inputs)
    for n in range(3):
        alone = layer(*pytree.tree_map(lambda a, n=n: a[n : n + 1], inputs))
        near(pytree.tree_map(lambda a, n=n: a[n : n + 1], whole), alone, EXACT, f"sample {n} with and without company")


def invertible(case: Case) -> None:
    """`inverse` gives the input back; a second result is the logarithm of the determinant's absolute value for each sample."""
    layer, (x,) = case.layer(), case.inputs()
    results = layer(x)
    y, logdet = results if isinstance(results, tuple) else (results, None)
    near(layer.inverse(y), x, 1e-8, "inverse")
    if logdet is not None and math.prod(x.shape[1:]) <= LARGEST_MATRIX:
        jacobian = torch.func.jacrev(lambda one: layer(one)[0])(x[:1]).reshape(math.prod(x.shape[1:]), -1)
        wanted = torch.linalg.slogdet(jacobian)[1]
        assert abs(wanted - logdet[0]) <= 1e-9 * max(1, abs(wanted)), f"log-determinant {logdet[0]}, but {wanted}"


def norm_preserving(case: Case) -> None:
    """The 2-norm of the result is that of the input."""
    (x,) = case.inputs()
    near(case.layer()(x).norm(), x.norm(), EXACT, "the norm")


def causal(case: Case) -> None:
    """Along the last axis a result depends on no later input."""
    layer, (x,) = case.layer(), case.inputs()
    wanted = layer(x)
    for n in range(x.shape[-1]):
        changed = x.clone()
        changed[..., n:] += 1
        near(layer(changed)[..., :n], wanted[..., :n], 0, f"results before sample {n}")


__all__ = ["CHECKS", "CLAIMS", "Case", "applicable", "cases", "near"]

CHECKS = {c.__name__: c for c in (
    rebuilds, shapes, definition, inference, gradient, counted, trains, repeats, half, extremes, refuses, compiles, exports,
    symmetric, symmetric_slopes, symmetric_trained, bounded,
)}  # fmt: skip
CLAIMS = {
    LINEAR: linear, SHIFT_INVARIANT: shift_invariant, PER_SAMPLE: per_sample, "invertible": invertible,
    "norm-preserving": norm_preserving, "causal": causal,
}  # fmt: skip


def applicable(case: Case) -> dict[str, Callable[[Case], None]]:
    """The checks that the case must pass: those of every layer, and those of its claims."""
    layer = case.layer()
    claims = layer.claims
    unknown = claims - set(CLAIMS)
    assert not unknown, f"{case.text} claims {sorted(unknown)}, which no check knows"
    traced = () if not case.kind.eager_only else ("compiles", "exports")
    still = () if declared(layer, case.inputs(), 1) else ("symmetric_slopes", "symmetric_trained")
    chosen = {name: check for name, check in CHECKS.items() if name not in (*traced, *still)}
    return chosen | {name: CLAIMS[name] for name in sorted(claims)}


def _channels_innermost(values: Tensor) -> Tensor:
    """The same numbers, lying in memory as torch.channels_last has them, for any number of axes."""
    return values.movedim(1, -1).contiguous().movedim(-1, 1) if values.ndim > 2 else values


def _in_onnx(layer: nn.Module, x: Tensor) -> None:
    """The layer, stored as ONNX and run by onnxruntime, gives the same."""
    import onnxruntime

    stored = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(layer, (x,), stored, dynamo=False, input_names=["x"])
    session = onnxruntime.InferenceSession(stored.getvalue(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x.numpy()})
    near(torch.from_numpy(got), layer(x), SINGLE, "in ONNX")
