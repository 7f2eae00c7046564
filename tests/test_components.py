"""Values with components, and algebras of the caller's: against the definition, loops and laws."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

import faltung
from faltung import Policy, algebras, convolve, correlate
from faltung.algebras import given, hypercomplex, matrix, own, truncated, with_components
from faltung.errors import ArgumentError, DtypeError
from faltung.testing.laws import check_algebra

RINGS = (
    "dual",
    "split",
    "quaternion",
    "octonion",
    "Cl(0,1)",
    "Cl(1,2)",
    "Cl(3,0)",
    "matrix(2)",
    "matrix(3)",
    "truncated(4)",
)


def by_definition(values, x, k):
    """The full convolution of two rows of values."""
    y = np.zeros((len(x) + len(k) - 1, *values.value))
    for i, j in itertools.product(range(len(x)), range(len(k))):
        y[i + j] += values.multiply(x[i], k[j])
    return y


@pytest.mark.parametrize("name", RINGS)
def test_values_multiply_by_their_table(name):
    values = with_components(name)
    random = np.random.default_rng(0)
    x, k = random.standard_normal((12, *values.value)), random.standard_normal((5, *values.value))
    wanted = by_definition(values, x, k)
    assert np.allclose(convolve(x, k, over=name), wanted, atol=1e-12)
    backwards = by_definition(values, x, k[::-1])
    assert np.allclose(correlate(x, k, over=name), backwards, atol=1e-12)
    whole = [random.integers(-9, 9, a.shape) for a in (x, k)]
    exact = by_definition(values, *whole)
    assert (convolve(*whole, over=name) == exact).all()
    assert (convolve(*whole, over=own_base(values, "modular(101)")) == exact % 101).all()


def own_base(values, base):
    return algebras.Components(values.name, values.value, values.table, base=base)


@pytest.mark.parametrize("name", ["quaternion", "octonion", "split", "Cl(2,0)"])
@pytest.mark.parametrize("form", ["dense", "products"])
def test_both_forms_are_the_definition(name, form, monkeypatch):
    from faltung import componentwise

    monkeypatch.setattr(componentwise, "_cheaper", lambda *_: form == "products")
    values = with_components(name)
    random = np.random.default_rng(1)
    x, k = random.standard_normal((20, *values.value)), random.standard_normal((7, *values.value))
    assert np.allclose(convolve(x, k, over=name), by_definition(values, x, k), atol=1e-12)
    layers = random.standard_normal((2, 3, 9, 8, values.n)), random.standard_normal((4, 3, 3, 2, values.n))
    y = convolve(*layers, "b c *s, o c *s -> b o *s", mode="same", over=name)
    one = sum(convolve(layers[0][1, c], layers[1][2, c], mode="same", over=name) for c in range(3))
    assert np.allclose(y[1, 2], one, atol=1e-12)


def test_the_cheaper_form_is_planned():
    spec = faltung.Spec
    large = faltung.plan(spec((64, 64, 4)), spec((15, 15, 4)), over="quaternion")
    assert "each_" in large.problem.pattern
    assert "in_" in faltung.plan(spec((128, 128, 2)), spec((15, 15, 2)), over="dual").problem.pattern


def test_known_products():
    i, j, k = np.eye(4)[1:]
    assert (convolve(i[None], j[None], over="quaternion") == k).all()
    assert (convolve(j[None], i[None], over="quaternion") == -k).all()
    assert convolve([[1.0, 2.0]], [[3.0, 4.0]], over="dual").tolist() == [[3.0, 10.0]]
    pairs = np.random.default_rng(0).standard_normal((2, 8, 2))
    as_complex = convolve(*(p[..., 0] + 1j * p[..., 1] for p in pairs))
    came = convolve(*pairs, over=hypercomplex("complex"))
    assert np.allclose(came[..., 0] + 1j * came[..., 1], as_complex)
    line = np.array([[0.0, 1.0, 0.0, 0.0]])  # t, and its powers
    assert convolve(line, line, over="truncated(4)").tolist() == [[0.0, 0.0, 1.0, 0.0]]


def test_matrices_over_semirings():
    random = np.random.default_rng(3)
    a, b = random.standard_normal((6, 2, 2)), random.standard_normal((3, 2, 2))
    wanted = np.full((8, 2, 2), -np.inf)
    for i, j, p, q, m in itertools.product(range(6), range(3), range(2), range(2), range(2)):
        wanted[i + j, p, q] = max(wanted[i + j, p, q], a[i, p, m] + b[j, m, q])
    assert (convolve(a, b, over=matrix(2, "max-plus")) == wanted).all()
    edges = random.random((1, 4, 4)) < 0.4
    twice = convolve(edges, edges, over=matrix(4, "boolean"))
    assert (twice[0] == (edges[0].astype(int) @ edges[0].astype(int) > 0)).all()
    chance = np.log(random.random((5, 3, 3)))
    sums = convolve(chance, chance[:2], over=matrix(3, "log"))
    by_numbers = convolve(np.exp(chance), np.exp(chance[:2]), over="matrix(3)")
    assert np.allclose(np.exp(sums), by_numbers)


def test_expectations_are_dual_numbers():
    """(p, p·v): convolving distributions carries the expected sum of values along."""
    p = np.full(6, 1 / 6)
    pairs = np.stack([p, p * np.arange(1, 7)], axis=-1)
    two = convolve(pairs, pairs, over="dual")
    assert np.allclose(two[:, 1], two[:, 0] * np.arange(2, 13))


def test_gradients_flow_through_components():
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    k = torch.randn(5, 3, 2, 4, dtype=torch.float64, requires_grad=True)

    def f(x, k):
        return convolve(x, k, "b c *s, o c *s -> b o *s", over="quaternion", mode="same", stride=2)

    assert torch.autograd.gradcheck(f, (x, k))
    assert np.allclose(f(x, k).detach().numpy(), f(x.detach().numpy(), k.detach().numpy()))
    tropical = matrix(2, "max-plus")
    a, b = (torch.randn(n, 2, 2, dtype=torch.float64, requires_grad=True) for n in (5, 2))
    assert torch.autograd.gradcheck(lambda a, b: convolve(a, b, over=tropical), (a, b))


TROPICAL, HALVES = hypercomplex("quaternion", "max-plus"), given(np.full((2, 2, 2), 0.5))
WRONG = {
    "no components": (
        lambda: convolve(np.zeros((5, 3)), np.zeros((2, 4)), over="quaternion"),
        "last axes (4,)",
        "(5, 3)",
    ),
    "no table": (lambda: given(np.zeros((2, 2))), "(n, n, n)", "(2, 2)"),
    "unknown": (lambda: hypercomplex("sedenion"), "one of complex", "sedenion"),
    "huge": (lambda: hypercomplex("Cl(5,5)"), "at most 6", "Cl(5,5)"),
    "matrix": (lambda: matrix(0), "from 1 to 16", "0"),
    "truncated": (lambda: truncated(0), "from 1 to 64", "0"),
    "subtraction": (
        lambda: convolve(np.zeros((5, 4)), np.zeros((2, 4)), over=hypercomplex("quaternion", "max-plus")),
        "zeros and ones",
        "another",
    ),
    "a constant": (
        lambda: convolve(np.zeros((5, 4)), np.zeros((2, 4)), over="quaternion", boundary=1.0),
        "by its word",
        "1.0",
    ),
    "halves": (
        lambda: convolve(np.ones((5, 2), int), np.ones((2, 2), int), over=HALVES),
        "whole numbers",
        "others",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_says_what_is_wrong(case):
    call, expected, came = WRONG[case]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert expected in str(caught.value)
    assert came in str(caught.value)


# -- algebras of the caller's -----------------------------------------------------------------------------------------------


def nearer(a, b):
    return a if a < b else b


def both(a, b):
    return math.sqrt(a * a + b * b)


def test_an_algebra_of_two_functions():
    """Distances along perpendicular ways: the smallest of √(a² + b²)."""
    algebra = own(nearer, both, math.inf, 0.0, name="pythagoras", laws={"commutative", "idempotent"})
    random = np.random.default_rng(0)
    x, k = random.random(40), random.random(6)
    wanted = np.full(45, np.inf)
    for i, j in itertools.product(range(40), range(6)):
        wanted[i + j] = min(wanted[i + j], math.sqrt(x[i] ** 2 + k[j] ** 2))
    for policy in (Policy(only=("direct",)), Policy(only=("definition",)), None):
        assert np.allclose(convolve(x, k, over=algebra, policy=policy), wanted, rtol=1e-15)
    assert faltung.plan(x, k, over=algebra).method == "direct"
    assert np.allclose(
        convolve(x[:8], x[8:16], on="dyadic", over=algebra),
        [min(math.hypot(x[u], x[8 + (u ^ w)]) for u in range(8)) for w in range(8)],
    )
    planes = convolve(
        random.random((2, 12, 9)), random.random((2, 3, 3)), "c *s, c *s -> c *s", mode="same", over=algebra
    )
    assert planes.shape == (2, 12, 9)


def test_a_known_algebra_from_two_functions():
    shortest = own(nearer, lambda a, b: a + b, math.inf, 0.0, name="shortest")
    x, k = np.random.default_rng(1).random((2, 9))
    assert (convolve(x, k, over=shortest) == convolve(x, k, over="min-plus")).all()


def test_functions_that_differ_have_names_that_differ():
    made = [own(lambda a, b, c=c: a + b, lambda a, b: a * b, 0.0, 1.0).name for c in ()]
    scale = 2.0
    made += [own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0).name]
    made += [own(lambda a, b: a + b, lambda a, b: scale * a * b / scale, 0.0, 1.0).name]
    scale = 3.0
    made += [own(lambda a, b: a + b, lambda a, b: scale * a * b / scale, 0.0, 1.0).name]
    assert len(set(made)) == 3
    again = own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0).name
    assert again == made[0]


def test_names_are_the_same_in_another_process():
    code = (
        "from faltung.algebras import own; import math\n"
        "def nearer(a, b):\n    return a if a < b else b\n"
        "def both(a, b):\n    return math.sqrt(a * a + b * b)\n"
        "print(own(nearer, both, math.inf, 0.0).name)"
    )
    names = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(names) == 1


def test_false_laws_are_caught():
    right = own(nearer, both, math.inf, 0.0, laws={"commutative", "idempotent"})
    check_algebra(algebras.Algebra(**{**vars(right), "least": 0.0}), "float64", examples=40)
    lying = own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0, laws={"idempotent"})
    with pytest.raises(AssertionError, match="idempotent"):
        check_algebra(lying, "float64", examples=40)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: own(max, lambda a, b: a + b, 0.0, 0.0), ArgumentError, "function of two numbers"),
        (lambda: own(lambda a: a, lambda a, b: a, 0.0, 0.0), ArgumentError, "function of two numbers"),
        (lambda: own(lambda a, b: a + b, lambda a, b: a * b, 1.0, 1.0), ArgumentError, "add\\(zero, one\\)"),
        (lambda: own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0, laws={"ring"}), ArgumentError, "laws among"),
        (lambda: own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0, dtype="int7"), ArgumentError, "dtype among"),
        (lambda: own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0, name="two words"), ArgumentError, "a name of"),
        (
            lambda: convolve([1, 2], [1], over=own(lambda a, b: a + b, lambda a, b: a * b, 0.0, 1.0)),
            DtypeError,
            "float64",
        ),
    ],
)
def test_wrong_algebras_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()
