"""The torch gate: derivatives of every order and kind, batching, tracing, autocast, and proof that the checks can fail."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from torch.autograd import gradcheck, gradgradcheck
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

import faltung
from faltung import torch_gate
from faltung.door import problem_of
from faltung.errors import RefusedError
from faltung.problem import Problem, Spec
from faltung.testing.problems import problems

# torch warns of itself when forward derivatives are first used.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
KNOWN = {"out": ("x", "k"), "x": ("k", "y"), "k": ("x", "y")}


def few(count):
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    phases = [Phase.generate, Phase.shrink]
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, phases=phases, suppress_health_check=checks
    )  # fmt: skip


def wide(problem):
    """The problem in double precision, which numerical derivatives need."""
    double = {
        name: "complex128" if getattr(problem, name).startswith("complex") else "float64"
        for name in ("x_dtype", "k_dtype", "out_dtype")
    }
    return replace(problem, **double)


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


# -- derivatives --------------------------------------------------------------------------------------------------------


def check_all(problem, seed=0):
    """First and second derivatives, reverse and forward, batched: each against differences."""
    operands, function = random_operands(problem, KNOWN[problem.unknown], seed), function_of(problem)
    fast = {"fast_mode": True, "eps": 1e-5, "atol": 1e-5}
    assert gradcheck(function, operands, check_forward_ad=True, check_batched_grad=True, **fast)
    assert gradgradcheck(function, operands, check_fwd_over_rev=True, check_rev_over_rev=True, **fast)


@few(60)
@given(problems(host="torch", algebra="real"))
def test_derivatives_over_the_reals(problem):
    assume(problem.macs < 20_000)
    check_all(wide(problem))


@few(25)
@given(problems(host="torch", algebra="complex"))
def test_derivatives_over_the_complex_numbers(problem):
    assume(problem.macs < 20_000)
    check_all(wide(problem))


@pytest.mark.slow
@few(400)
@given(problems(host="torch", algebra="real"))
def test_derivatives_over_the_reals_at_length(problem):
    check_all(wide(problem))


@pytest.mark.parametrize("unknown", ["out", "x", "k"])
@pytest.mark.parametrize("boundary", ["constant", 2.5, "edge", "reflect", "symmetric", "wrap", (-1.5, "reflect")])
def test_every_entry_of_the_jacobians(boundary, unknown):
    problem = problem_of(
        True, Spec((2, 5, 4), "float64"), Spec((2, 2, 3, 2), "float64"), "c *s, o c *s -> o *s", [(2, 1), (1, 3)], boundary,
        (2, 1), (1, 2), host="torch",
    ).gradient(unknown)  # fmt: skip
    operands, function = random_operands(problem, KNOWN[unknown]), function_of(problem)
    assert gradcheck(function, operands, check_forward_ad=True)
    assert gradgradcheck(function, operands)


@few(30)
@given(problems(host="torch", algebra="max-plus", unknown="out"))
def test_a_maximum_passes_its_gradient_to_the_tap_that_attains_it(problem):
    problem = wide(problem)
    assume(problem.macs < 3_000)
    operands = random_operands(problem, ("x", "k"))
    assume(bool(function_of(problem)(*operands).isfinite().all()))
    assert gradcheck(function_of(problem), operands, fast_mode=True, eps=1e-7, atol=1e-4)


def test_a_maximum_has_no_second_and_no_forward_derivative():
    x, k = torch.randn(8, requires_grad=True), torch.randn(3, requires_grad=True)
    y = faltung.convolve(x, k, over="max-plus")
    (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RefusedError, match=r"expected a first derivative, but got a second one; .*create_graph"):
        gradient.sum().backward()
    with pytest.raises(RefusedError, match=r"forward derivative over max-plus.*use a reverse derivative"):
        torch.func.jvp(lambda x: faltung.convolve(x, k, over="max-plus"), (x.detach(),), (torch.ones(8),))


def test_third_derivatives_in_any_mixture():
    k = torch.randn(3, dtype=torch.float64)
    x = torch.randn(4, dtype=torch.float64)

    def ours(x):
        y = faltung.convolve(x, k, mode="same", boundary=0.5)
        return faltung.convolve(y, faltung.convolve(x, x), mode="same", boundary="wrap").sum()

    def full(a, b):
        return torch.stack(
            [sum(a[i - j] * b[j] for j in range(len(b)) if 0 <= i - j < len(a)) for i in range(len(a) + len(b) - 1)]
        )

    def theirs(x):
        padded = torch.cat([x.new_full((1,), 0.5), x, x.new_full((1,), 0.5)])
        y = full(padded, k)[2:6]
        square = full(x, x)
        return full(torch.cat([y[-3:], y, y[:3]]), square)[6:10].sum()

    for order in itertools.product((torch.func.jacfwd, torch.func.jacrev), repeat=3):
        got, expected = ours, theirs
        for derivative in order:
            got, expected = derivative(got), derivative(expected)
        torch.testing.assert_close(got(x), expected(x))


def test_forward_derivative_outside_of_torch_func():
    x, dx, k = (torch.randn(n, dtype=torch.float64) for n in (7, 7, 3))
    with dual_level():
        tangent = unpack_dual(faltung.convolve(make_dual(x, dx), k, boundary=4.0)).tangent
    torch.testing.assert_close(tangent, faltung.convolve(dx, k))


def test_vjp_and_no_grad():
    x, k = torch.randn(7, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    y, back = torch.func.vjp(lambda k: faltung.convolve(x, k), k)
    torch.testing.assert_close(back(torch.ones_like(y))[0], x.sum().expand(3))
    with torch.no_grad():
        assert not faltung.convolve(x.requires_grad_(), k).requires_grad


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_exact_results_have_no_derivative(dtype):
    x, k = torch.ones(5, dtype=dtype), torch.ones(3, dtype=dtype)
    assert not faltung.convolve(x, k).requires_grad


def test_a_rounded_result_has_no_derivative():
    x = torch.randn(5, requires_grad=True)
    assert not faltung.convolve(x, torch.ones(3), dtype="int16").requires_grad


def test_gradient_of_a_real_operand_among_complex_ones_is_real():
    x, k = (
        torch.randn(6, dtype=torch.float64, requires_grad=True),
        torch.randn(3, dtype=torch.complex128, requires_grad=True),
    )
    assert gradcheck(faltung.convolve, (x, k))
    assert gradgradcheck(faltung.correlate, (x, k))


def test_only_operands_that_others_need_are_kept():
    x, k = torch.randn(6, requires_grad=True), torch.randn(3)
    y = faltung.convolve(x, k)
    k_alone = [a for a in y.grad_fn.saved_tensors if a is not None]
    assert [a.shape for a in k_alone] == [k.shape]


# -- the checks can fail ------------------------------------------------------------------------------------------------


def turned(text):
    problem = Problem.parse(text)
    return replace(problem, flip=not problem.flip).text


@pytest.mark.parametrize("name", ["_partial", "_tangent"])
def test_a_wrong_derivative_is_caught(monkeypatch, name):
    right = getattr(torch_gate, name)
    check_all(plain())
    monkeypatch.setattr(torch_gate, name, lambda text, slot: turned(right(text, slot)))
    with pytest.raises(RuntimeError, match=r"Jacobian .*mismatch"):
        check_all(plain())


def test_a_constant_margin_in_the_wrong_place_is_caught(monkeypatch):
    problem = plain(boundary=3.0).gradient("k")
    check_all(problem)
    torch_gate._partial.cache_clear()
    torch_gate._tangent.cache_clear()
    monkeypatch.setattr(torch_gate, "_linear", lambda problem: problem)
    with pytest.raises(RuntimeError, match=r"Jacobian .*mismatch"):
        check_all(problem)
    torch_gate._partial.cache_clear()
    torch_gate._tangent.cache_clear()


def test_a_forgotten_conjugate_is_caught(monkeypatch):
    check_all(plain(dtype="complex128"))
    monkeypatch.setattr(torch_gate, "_conjugate", lambda a: a)
    with pytest.raises(RuntimeError, match=r"Jacobian .*mismatch"):
        check_all(plain(dtype="complex128"))
