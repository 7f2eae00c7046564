"""The torch gate under torch's transforms: batching, tracing, autocast; tensors of all kinds and wrong calls."""

import itertools
from dataclasses import replace

import pytest
import torch

import faltung
from faltung import torch_gate
from faltung.door import problem_of
from faltung.errors import ArgumentError, DtypeError, RefusedError
from faltung.problem import Spec
from faltung.testing.problems import PATTERNS

# torch warns of itself when forward derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
KNOWN = {"out": ("x", "k"), "x": ("k", "y"), "k": ("x", "y")}


def random_operands(problem, names, seed=0, requires_grad=True):
    random = torch.Generator().manual_seed(seed)
    shapes = {"x": problem.x_shape, "k": problem.k_shape, "y": problem.out_shape}
    dtypes = {"x": problem.x_dtype, "k": problem.k_dtype, "y": problem.out_dtype}
    return tuple(
        torch.randn(shapes[n], dtype=getattr(torch, dtypes[n]), generator=random).requires_grad_(requires_grad)
        for n in names
    )


def function_of(problem, names=None):
    names = names or KNOWN[problem.unknown]
    return lambda *operands: torch_gate.solve(problem.text, **dict(zip(names, operands, strict=True)))


def plain(pattern="*s, *s -> *s", x=(6,), k=(3,), dtype="float64", host="torch", **options):
    options = {"mode": "same", **options}
    return problem_of(False, Spec(x, dtype), Spec(k, dtype), pattern, host=host, **options)


# -- batching -----------------------------------------------------------------------------------------------------------

LETTERS = {"b": 2, "c": 3, "o": 2, "g": 2}


def patterned(pattern, **options):
    def shape(axes, star):
        return tuple(n for a in axes.split() for n in (star if a == "*s" else (LETTERS[a],)))

    x, k = pattern.split("->")[0].split(",")
    return plain(pattern, shape(x, (5, 4)), shape(k, (3, 2)), **options)


@pytest.mark.parametrize("unknown", ["out", "x", "k"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_vmap_equals_a_loop(pattern, unknown):
    problem = patterned(pattern, boundary=("reflect", 1.5)).gradient(unknown)
    function = function_of(problem)
    for dims in itertools.product((None, 0, -1), repeat=2):
        if dims == (None, None):
            continue
        operands = random_operands(problem, KNOWN[unknown], requires_grad=False)
        batched = [
            a if at is None else torch.stack([a * (n + 1) - n for n in range(3)], at)
            for a, at in zip(operands, dims, strict=True)
        ]
        got = torch.func.vmap(function, dims)(*batched)
        rows = [[a if at is None else a.select(at, n) for a, at in zip(batched, dims, strict=True)] for n in range(3)]
        torch.testing.assert_close(got, torch.stack([function(*row) for row in rows]))


def test_vmap_of_gradients_over_max_plus():
    x, k = torch.randn(4, 9, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def gradients(x, k):
        return torch.func.grad(
            lambda x, k: faltung.convolve(x, k, over="max-plus", mode="valid").square().sum(), (0, 1)
        )(x, k)

    got = torch.func.vmap(gradients, (0, None))(x, k)
    for mine, expected in zip(got, zip(*[gradients(row, k) for row in x], strict=True), strict=True):
        torch.testing.assert_close(mine, torch.stack(expected))


def test_vmap_in_vmap_and_with_letters_already_taken():
    x, k = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(3, 4, 2, dtype=torch.float64)

    def function(x, k):
        return faltung.convolve(x, k, "*s, v *s -> v *s", mode="same")

    got = torch.func.vmap(torch.func.vmap(function, (0, 0)), (0, None))(x, k)
    expected = torch.stack([torch.stack([function(x[i, j], k[j]) for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(got, expected)


def test_gradient_for_each_sample():
    x, k = torch.randn(4, 2, 8, dtype=torch.float64), torch.randn(3, 2, 3, dtype=torch.float64)

    def loss(k, x):
        return faltung.correlate(x, k, "c *s, o c *s -> o *s").pow(3).sum()

    got = torch.func.vmap(torch.func.grad(loss), (None, 0))(k, x)
    torch.testing.assert_close(got, torch.stack([torch.func.grad(loss)(k, row) for row in x]))


# -- tracing ------------------------------------------------------------------------------------------------------------


def test_torch_s_own_checks_of_an_operator():
    for unknown in ("out", "x", "k"):
        problem = patterned("b c *s, o c *s -> b o *s", boundary="wrap").gradient(unknown)
        known = dict(zip(KNOWN[unknown], random_operands(problem, KNOWN[unknown]), strict=True))
        arguments = (known.get("x"), known.get("k"), known.get("y"), problem.text, "")
        verdict = torch.library.opcheck(torch.ops.faltung.solve.default, arguments)
        assert len(verdict) >= 4
        assert set(verdict.values()) == {"SUCCESS"}


def scaled(x, k, scale=2.0, **options):
    return faltung.convolve(x * scale, k, mode="same", **options).tanh()


@pytest.mark.parametrize(
    "dynamic", [pytest.param(False, marks=pytest.mark.slow), None, pytest.param(True, marks=pytest.mark.slow)]
)
def test_compiled_in_one_graph_forwards_and_backwards(dynamic):
    torch._dynamo.reset()
    policy = faltung.Policy(without="fft")
    compiled = torch.compile(
        lambda x, k: scaled(x, k, boundary="reflect", policy=policy),
        fullgraph=True,
        dynamic=dynamic,
        backend="aot_eager",
    )
    for size in (9, 12, 14):
        operands = [torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (size, 3)]
        expected, got = scaled(*operands, boundary="reflect"), compiled(*operands)
        torch.testing.assert_close(got, expected)
        for a, b in zip(
            torch.autograd.grad(got.sum(), operands), torch.autograd.grad(expected.sum(), operands), strict=True
        ):
            torch.testing.assert_close(a, b)


def test_compiled_transforms():
    torch._dynamo.reset()
    x, k = torch.randn(9, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    for transform in (
        lambda x: torch.func.jvp(lambda x: scaled(x, k), (x,), (torch.ones_like(x),))[1],
        lambda x: torch.func.grad(lambda x: scaled(x, k).sum())(x),
        lambda x: torch.func.vmap(lambda x: scaled(x, k))(torch.stack([x, -x])),
    ):
        torch.testing.assert_close(torch.compile(transform, fullgraph=True, backend="aot_eager")(x), transform(x))


class Blur(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.k = torch.nn.Parameter(torch.randn(3, dtype=torch.float64))

    def forward(self, x):
        return scaled(x, self.k, boundary=1.0)


@pytest.mark.parametrize("strict", [False, True])
def test_export(strict):
    blur, x = Blur(), torch.randn(9, dtype=torch.float64)
    program = torch.export.export(blur, (x,), strict=strict)
    assert sum(node.target is torch.ops.faltung.solve.default for node in program.graph.nodes) == 1
    torch.testing.assert_close(program.module()(x), blur(x))


def test_export_says_that_sizes_are_constants():
    open_size = {"x": {0: torch.export.Dim("n", min=4, max=100)}}
    with pytest.raises(Exception, match=r"L\['x'\]|specialized"):
        torch.export.export(Blur(), (torch.randn(9, dtype=torch.float64),), dynamic_shapes=open_size, strict=False)


@pytest.mark.parametrize("unknown", ["out", "x", "k"])
def test_meta_tensors_have_the_shape_and_dtype_of_the_result(unknown):
    problem = patterned("b g c *s, g o c *s -> b g o *s", dtype="float32").gradient(unknown)
    operands = random_operands(problem, KNOWN[unknown], requires_grad=False)
    real = function_of(problem)(*operands)
    shapeless = function_of(replace(problem, device="meta"))(*[a.to("meta") for a in operands])
    assert (shapeless.shape, shapeless.dtype, shapeless.stride()) == (real.shape, real.dtype, real.stride())


# -- autocast -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_narrows_as_torch_s_convolutions(dtype):
    x, k = torch.randn(2, 3, 8, requires_grad=True), torch.randn(4, 3, 3, requires_grad=True)
    pattern = "b c *s, o c *s -> b o *s"
    with torch.autocast("cpu", dtype=dtype):
        y = faltung.correlate(x, k, pattern, mode="valid")
        theirs = torch.nn.functional.conv1d(x, k)
    assert y.dtype == theirs.dtype == dtype
    assert torch.equal(y, faltung.correlate(x.to(dtype), k.to(dtype), pattern, mode="valid"))
    torch.testing.assert_close(y, theirs, rtol=2e-2, atol=2e-2)
    y.float().sum().backward()
    assert x.grad.dtype == k.grad.dtype == torch.float32


def test_autocast_leaves_alone_what_torch_leaves_alone():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.float64, torch.complex64, torch.int64):
            x, k = torch.ones(5, dtype=dtype), torch.ones(3, dtype=dtype)
            assert faltung.convolve(x, k).dtype == dtype
        assert faltung.convolve(torch.randn(5), torch.randn(3), over="max-plus").dtype == torch.float32
        assert faltung.convolve(torch.randn(5), torch.randn(3), dtype="float64").dtype == torch.float64


def test_autocast_does_not_reach_into_methods():
    x, k = torch.randn(2, 16, 20, 20, dtype=torch.float64), torch.randn(16, 16, 3, 3, dtype=torch.float64)
    policy = faltung.Policy(only="onednn")
    pattern = "b c *s, o c *s -> b o *s"
    expected = faltung.correlate(x, k, pattern, policy=policy)
    x32, k32 = x.float(), k.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(faltung.correlate(x, k, pattern, policy=policy), expected)
        wide = faltung.correlate(x32, k32, pattern, policy=policy, dtype="float64")
    torch.testing.assert_close(wide, expected, rtol=0, atol=1e-3)


def test_autocast_inside_a_compiled_graph():
    torch._dynamo.reset()

    def function(x, k):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return faltung.convolve(x, k)

    x, k = torch.randn(9), torch.randn(3)
    assert torch.equal(torch.compile(function, fullgraph=True, backend="aot_eager")(x, k), function(x, k))


# -- tensors of all kinds and wrong calls -------------------------------------------------------------------------------


def test_views_conjugates_and_expanded_tensors():
    z = torch.randn(6, 5, dtype=torch.complex128)
    k = torch.randn(3, dtype=torch.complex128)
    for a in (z.T, z.conj(), z[::2], z[:1].expand(4, 5), z.imag, z.conj().imag, torch._neg_view(z)):
        copy = a.resolve_conj().resolve_neg().contiguous().clone()
        filters = torch.outer(k, k)
        assert torch.equal(faltung.convolve(a, filters), faltung.convolve(copy, filters))


def test_operands_are_not_changed_and_the_result_is_new():
    x, k = torch.randn(5), torch.ones(1)
    before = x.clone()
    y = faltung.convolve(x, k)
    y.zero_()
    assert torch.equal(x, before)


def test_an_empty_batch():
    x, k = torch.randn(0, 2, 5, requires_grad=True), torch.randn(3, 2, 2, requires_grad=True)
    y = faltung.convolve(x, k, "b c *s, o c *s -> b o *s")
    assert y.shape == (0, 3, 6)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(k.grad, torch.zeros_like(k))


def test_wrong_tensors():
    problem = plain()
    with pytest.raises(ArgumentError, match=r"x of shape \(6,\), but got shape \(7,\)"):
        torch_gate.solve(problem.text, x=torch.ones(7, dtype=torch.float64), k=torch.ones(3, dtype=torch.float64))
    with pytest.raises(DtypeError, match="x of dtype float64, but got float32"):
        torch_gate.solve(problem.text, x=torch.ones(6), k=torch.ones(3, dtype=torch.float64))
    with pytest.raises(ArgumentError, match="but got no k"):
        torch_gate.solve(problem.text, x=torch.ones(6, dtype=torch.float64))
    with pytest.raises(DtypeError, match="one kind"):
        faltung.convolve(torch.ones(6), [1.0, 2.0])
    with pytest.raises(ArgumentError, match="x and k on one device, but got cpu and meta"):
        faltung.convolve(torch.ones(6), torch.ones(3, device="meta"))


def test_policy_reaches_the_gradient():
    x = torch.randn(40, requires_grad=True)
    faltung.convolve(x, torch.ones(3), policy=faltung.Policy(only="definition")).sum().backward()
    torch.testing.assert_close(x.grad, torch.full((40,), 3.0))
    with pytest.raises(RefusedError, match="running"):
        faltung.convolve(x, torch.randn(3), policy=faltung.Policy(only="running"))
