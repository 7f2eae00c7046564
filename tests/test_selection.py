"""Gradients over ordered algebras: cotangents are neither lost nor doubled, and go where the definition sends them."""

import numpy as np
import pytest

import faltung
from faltung import Policy, Problem, methods
from faltung.planner import plan_problem
from faltung.testing.conformance import check
from faltung.testing.problems import draw

ORDERED = ["max-plus", "min-plus", "max-times", "max-min", "min-max"]


@pytest.mark.parametrize("unknown", ["x", "k"])
@pytest.mark.parametrize("algebra", ORDERED)
def test_selection_equals_the_definition(algebra, unknown):
    for seed in range(9000, 9025):
        problem = draw(seed, algebra=algebra, unknown=unknown)
        assert check(problem, "selection", seed=seed) == "right", problem.text


@pytest.mark.parametrize("unknown", ["x", "k"])
def test_ties_go_to_the_first_tap_as_in_the_definition(unknown):
    random = np.random.default_rng(3)
    line = 'correlate "b c *s, o c *s -> b o *s" x=2x3x60x70:float32 k=4x3x5x3:float32 out=float32 pad=2:2,1:1 algebra=max-plus'
    problem = Problem.parse(f"{line} unknown={unknown}")
    x, k, y = (
        random.integers(0, 3, s).astype("float32") for s in (problem.x_shape, problem.k_shape, problem.out_shape)
    )
    came, wanted = (plan_problem(problem, Policy(only=m))(x, k, y) for m in ("selection", "definition"))
    assert np.array_equal(came, wanted)


@pytest.mark.parametrize("over", ["max-plus", "min-plus"])
def test_gradients_sum_to_the_incoming_gradient(over):
    torch = pytest.importorskip("torch")
    x, k = (torch.randint(-9, 9, s).double().requires_grad_() for s in ((3, 50, 60), (7, 5)))
    y = faltung.convolve(x, k, "b *s, *s -> b *s", mode="valid", over=over)
    cotangent = torch.randint(-9, 9, y.shape).double()
    y.backward(cotangent)
    assert x.grad.sum() == k.grad.sum() == cotangent.sum()


def test_the_plan_of_a_gradient_is_the_compiled_one_and_bits_do_not_depend_on_threads():
    text = 'correlate "*s, *s -> *s" x=300x400:float32 k=7x7:float32 out=float32 pad=3:3,3:3 algebra=max-plus unknown=x'
    problem, random = Problem.parse(text), np.random.default_rng(0)
    assert plan_problem(problem).method == "selection"
    x, k, y = (
        random.standard_normal(s).astype("float32") for s in (problem.x_shape, problem.k_shape, problem.out_shape)
    )
    results = [plan_problem(problem, Policy(threads=t))(x, k, y) for t in (1, 2)]
    assert results[0].tobytes() == results[1].tobytes()


def test_selection_refuses_what_it_does_not_serve():
    for algebra, unknown, sentence in (
        ("max-plus", "out", "computes gradients"),
        ("log", "x", "hands on what is picked"),
        ("real", "x", "hands on what is picked"),
    ):
        problem = draw(1, algebra=algebra, unknown=unknown, host="numpy")
        assert sentence in methods.named("selection").refusal(problem)
