"""Problems say all there is to say in one line, both ways, and hold the facts that follow."""

import math
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings

from faltung import Problem, Spec, convolve, plan
from faltung.domains import Boundary
from faltung.door import problem_of
from faltung.errors import ArgumentError
from faltung.testing.problems import draw, operands, problems

FULL = (
    'correlate "b c *s, o c *s -> b o *s" x=2x3x8x9:float32 k=4x3x3x2:float32 out=float32 '
    "pad=1:1,0:1 stride=2x1 dilation=1x2 boundary=edge,wrap"
)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(problems())
def test_problems_survive_their_text(problem):
    again = Problem.parse(problem.text)
    assert again == problem
    assert hash(again) == hash(problem)
    assert again.text == problem.text
    assert "\n" not in problem.text


def test_drawn_problems_survive_their_text():
    for seed in range(1000):
        problem = draw(seed)
        assert Problem.parse(problem.text) == problem, problem.text


def test_draws_repeat():
    assert [draw(s).text for s in range(50)] == [draw(s).text for s in range(50)]
    assert len({draw(s).text for s in range(50)}) == 50
    one, other = (operands(draw(3), 7) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in "xky")


def test_a_line_says_everything():
    p = Problem.parse(FULL)
    assert not p.flip
    assert p.pattern == "b c *s, o c *s -> b o *s"
    assert (p.x_shape, p.k_shape, p.out_shape) == ((2, 3, 8, 9), (4, 3, 3, 2), (2, 4, 4, 8))
    assert p.pads == ((1, 1), (0, 1))
    assert p.stride == (2, 1)
    assert p.dilation == (1, 2)
    assert p.boundary == (Boundary("edge"), Boundary("wrap"))
    assert (p.algebra, p.domain, p.unknown, p.host, p.device) == ("real", "grid", "out", "numpy", "cpu")
    assert (p.depth, p.macs) == (18, 2 * 4 * 3 * (4 * 8) * 6)


@pytest.mark.parametrize("value", [0, 1.5, -2.0, float("inf"), -0.25, 1e300, 1e-310])
def test_constants_survive_the_text(value):
    p = problem_of(True, Spec((5,)), Spec((3,)), boundary=value)
    assert Problem.parse(p.text) == p
    assert Problem.parse(p.text).boundary[0].value == value


@pytest.mark.parametrize("value", [1 + 2j, -1 - 2j, 3j, -0.5j, 1e-9 + 1j])
def test_complex_constants_survive_the_text(value):
    p = problem_of(True, Spec((5,), "complex64"), Spec((3,), "complex64"), boundary=value)
    assert Problem.parse(p.text) == p
    assert Problem.parse(p.text).boundary[0].value == value


def test_every_field_tells_problems_apart():
    p = Problem.parse(FULL)
    others = {
        "flip": True,
        "pattern": "b c *s,  o c *s -> b o *s",
        "x_shape": (3, 3, 8, 9),
        "k_shape": (5, 3, 3, 2),
        "x_dtype": "float64",
        "k_dtype": "float64",
        "out_dtype": "float64",
        "pads": ((1, 1), (0, 2)),
        "stride": (1, 1),
        "dilation": (1, 1),
        "boundary": (Boundary("wrap"), Boundary("wrap")),
        "algebra": "max-plus",
        "domain": "other",
        "unknown": "x",
        "host": "torch",
        "device": "cuda:0",
    }
    assert set(others) == {f.name for f in fields(Problem)}
    changed = [replace(p, **{name: value}) for name, value in others.items()]
    assert p not in changed
    assert len({p, *changed}) == len(others) + 1
    assert len({q.text for q in (p, *changed)}) == len(others) + 1


def test_problems_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Problem.parse(FULL).flip = True


def test_gradients_change_the_unknown_only():
    p = Problem.parse(FULL)
    for unknown, shape in (("x", p.x_shape), ("k", p.k_shape), ("out", p.out_shape)):
        g = p.gradient(unknown)
        assert g.unknown == unknown
        assert g.result_shape == shape
        assert g.out_shape == p.out_shape
        assert replace(g, unknown="out") == p
    with pytest.raises(ArgumentError, match="'out', 'x' or 'k'"):
        p.gradient("y")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    ("n", "t", "s", "d"), [(9, 3, 1, 1), (10, 4, 2, 1), (11, 3, 3, 2), (7, 1, 1, 3), (20, 5, 4, 3)]
)
def test_output_sizes(mode, n, t, s, d):
    reach = (t - 1) * d + 1
    whole = {"full": n + reach - 1, "same": n, "valid": n - reach + 1}[mode]
    p = problem_of(True, Spec((n,)), Spec((t,)), None, mode, "constant", s, d)
    assert p.out_shape == (math.ceil(whole / s),)
    assert convolve(np.ones(n), np.ones(t), mode=mode, stride=s, dilation=d).shape == p.out_shape


@pytest.mark.parametrize(
    ("x", "k", "over", "expected"),
    [
        ("float16", "float16", None, ("real", "float16", "float32")),
        ("bfloat16", "bfloat16", None, ("real", "bfloat16", "float32")),
        ("float16", "bfloat16", None, ("real", "float32", "float32")),
        ("float32", "float32", None, ("real", "float32", "float32")),
        ("float32", "float64", None, ("real", "float64", "float64")),
        ("uint8", "float32", None, ("real", "float32", "float32")),
        ("uint8", "float16", None, ("real", "float16", "float32")),
        ("int32", "float32", None, ("real", "float64", "float64")),
        ("bool", "float32", None, ("real", "float32", "float32")),
        ("complex64", "float32", None, ("complex", "complex64", "complex64")),
        ("complex64", "float64", None, ("complex", "complex128", "complex128")),
        ("float64", "float64", "complex", ("complex", "complex128", "complex128")),
        ("uint8", "uint8", None, ("integer", "int32", "int64")),
        ("int16", "int16", None, ("integer", "int64", "int64")),
        ("int64", "int64", None, ("integer", "int64", "int64")),
        ("uint64", "uint64", None, ("integer", "uint64", "uint64")),
        ("uint64", "int8", None, ("integer", "int64", "int64")),
        ("bool", "int8", None, ("integer", "int32", "int64")),
        ("bool", "bool", None, ("boolean", "bool", "bool")),
        ("bool", "bool", "integer", ("integer", "int64", "int64")),
        ("float32", "float32", "max-plus", ("max-plus", "float32", "float32")),
        ("float16", "float16", "max-plus", ("max-plus", "float16", "float32")),
    ],
)
def test_dtypes_of_results_and_of_the_arithmetic(x, k, over, expected):
    p = problem_of(True, Spec((9,), x), Spec((3,), k), over=over)
    assert (p.algebra, p.out_dtype, p.compute_dtype) == expected


@pytest.mark.parametrize("asked", ["float32", np.float32, np.dtype("float32")])
def test_dtypes_are_spelt_in_three_ways(asked):
    assert plan(Spec((9,)), Spec((3,)), dtype=asked).problem.out_dtype == "float32"


@pytest.mark.parametrize(
    ("dtype", "values"), [("uint8", [0, 0, 2, 2, 255]), ("int8", [-3, -2, 2, 2, 127]), ("int64", [-3, -2, 2, 2, 300])]
)
def test_integers_asked_for_round_half_to_even_and_saturate(dtype, values):
    y = convolve([-2.6, -1.5, 1.5, 2.5, 300.2], [1.0], dtype=dtype)
    assert y.dtype == dtype
    assert y.tolist() == values


def test_a_pattern_gives_the_axes_their_roles():
    p = problem_of(True, Spec((2, 8, 9, 3)), Spec((3, 3, 3, 5)), "b *s c, *s c o -> b *s o", "same")
    assert p.out_shape == (2, 8, 9, 5)
    assert vars(p.sizes) == {"B": 1, "N": 2, "O": 5, "C": 3}
    q = problem_of(True, Spec((4, 2, 3, 8)), Spec((2, 5, 3, 3)), "b g c *s, g o c *s -> b g o *s")
    assert vars(q.sizes) == {"B": 2, "N": 4, "O": 5, "C": 3}
    assert q.out_shape == (4, 2, 5, 10)


def test_specs_are_what_plans_need():
    assert plan(Spec((9, 9), "float32"), np.ones((3, 3), "float32")) is plan(
        np.ones((9, 9), "float32"), Spec((3, 3), "float32")
    )
