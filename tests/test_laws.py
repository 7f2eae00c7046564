"""The algebras keep the laws that they declare, and convolutions those of their name."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import algebras
from faltung.testing.laws import check_algebra, check_convolution, laws_of
from faltung.testing.problems import PATTERNS, draw, problems

COMPUTED = {
    "real": {"float32", "float64"},
    "complex": {"complex64", "complex128"},
    "integer": {"int64", "uint64"},
    "boolean": {"bool"},
    "max-plus": {"float32", "float64"},
    "min-plus": {"float32", "float64"},
    "max-times": {"float32", "float64"},
    "max-min": {"float32", "float64"},
    "min-max": {"float32", "float64"},
    "log": {"float32", "float64"},
    "count": {"object"},
    "rational": {"object"},
}


def computed(algebra):
    """The dtypes of an algebra's arithmetic, found by asking it."""
    return sorted({t for x in algebra.dtypes for k in algebra.dtypes if (t := algebra.compute(x, k))})


RESIDUES = [algebras.modular(p) for p in (2, 7, 12, 4_000_000_007, 2**62 - 57, 2**64 - 59)]


@pytest.mark.parametrize(
    ("algebra", "dtype"),
    [(a, t) for a in [*algebras.ALL, *RESIDUES] for t in computed(a)],
    ids=lambda v: getattr(v, "name", v),
)
def test_algebra_keeps_its_laws(algebra, dtype):
    check_algebra(algebra, dtype)


def test_the_dtypes_of_the_arithmetic():
    assert {a.name: set(computed(a)) for a in algebras.ALL} == COMPUTED


@pytest.mark.parametrize("algebra", algebras.ALL, ids=lambda a: a.name)
def test_every_declared_law_is_tested(algebra):
    plain = laws_of(algebras.Algebra(**{**vars(algebra), "laws": frozenset()}))
    for law in algebra.laws:
        assert len(laws_of(algebras.Algebra(**{**vars(algebra), "laws": frozenset({law})}))) > len(plain), law


@pytest.mark.parametrize("chunk", range(4))
def test_convolutions_keep_their_laws(chunk):
    applied = Counter()
    for seed in range(20_000 + chunk * 60, 20_060 + chunk * 60):
        fixed = {"pattern": PATTERNS[0]} if seed % 2 else {}
        applied.update(check_convolution(draw(seed, host="numpy", **fixed), seed))
    assert all(applied[law] >= 5 for law in ("linearity", "impulse", "adjointness", "shift")), applied


def test_convolutions_over_min_plus_keep_their_laws():
    """A test of its own: the draws above stay what they were before the algebra came."""
    applied = Counter()
    for seed in range(80):
        fixed = {"pattern": PATTERNS[0]} if seed % 2 else {}
        applied.update(check_convolution(draw(seed, host="numpy", algebra="min-plus", **fixed), seed))
    assert all(applied[law] >= 5 for law in ("linearity", "impulse", "shift")), applied


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(problems(host="numpy"))
def test_convolutions_found_by_hypothesis_keep_their_laws(problem):
    check_convolution(problem)


small = st.lists(st.integers(-9, 9), min_size=1, max_size=8).map(np.array)


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(small, small, small, st.sampled_from(["integer", "real", "max-plus", "complex", "min-plus"]))
def test_full_convolutions_form_a_commutative_monoid(a, b, c, over):
    """Whole numbers, so that even rounding algebras are exact here."""
    if over != "integer":
        a, b, c = (v.astype("complex128" if over == "complex" else "float64") for v in (a, b, c))

    def star(left, right):
        return faltung.convolve(left, right, over=over, policy=faltung.Policy(only="direct"))

    assert np.array_equal(star(a, b), star(b, a))
    assert np.array_equal(star(star(a, b), c), star(a, star(b, c)))
    one = np.array([0.0 if over in ("max-plus", "min-plus") else 1]).astype(a.dtype)
    assert np.array_equal(star(a, one), a)


@pytest.mark.parametrize("boundary", ["constant", "edge", "reflect", "symmetric", "wrap", ("edge", "wrap", "reflect")])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "int32"])
def test_tensor_products_of_filters_are_passes_along_the_axes(boundary, dtype):
    random = np.random.default_rng(3)
    x = random.integers(-50, 50, (7, 9, 8)).astype(dtype)
    u, v, w = (random.integers(-5, 5, n).astype(dtype) for n in (3, 4, 5))
    per_axis = (boundary,) * 3 if isinstance(boundary, str) else boundary
    whole = faltung.convolve(x, u[:, None, None] * v[:, None] * w, mode="same", boundary=per_axis)
    passes = x
    for axis, line in enumerate((u, v, w)):
        shape = [-1 if a == axis else 1 for a in range(3)]
        passes = faltung.convolve(passes, line.reshape(shape), mode="same", boundary=per_axis)
    if dtype == "int32":
        assert np.array_equal(whole, passes)
    else:
        assert np.allclose(whole, passes, rtol=0, atol=1e-5 * np.abs(passes).max())


@pytest.mark.parametrize("flip", [True, False])
def test_convolution_is_correlation_with_the_reversed_conjugate(flip):
    random = np.random.default_rng(4)
    x = random.standard_normal((6, 7)) + 1j * random.standard_normal((6, 7))
    k = random.standard_normal((3, 2)) + 1j * random.standard_normal((3, 2))
    one, other = (faltung.convolve, faltung.correlate) if flip else (faltung.correlate, faltung.convolve)
    assert np.allclose(one(x, k), other(x, k[::-1, ::-1].conj()), rtol=0, atol=1e-13)
