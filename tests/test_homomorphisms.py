"""h(a ∗ b) = h(a) ∗ h(b): maps between algebras and between domains that convolution does not notice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import convolve, domains, fwht, lift
from faltung.algebras import matrix, truncated

natural = st.lists(st.integers(0, 5), min_size=1, max_size=9).map(lambda v: np.array(v, dtype=object))
whole = st.lists(st.integers(-9, 9), min_size=8, max_size=8).map(np.array)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(natural, natural)
def test_whether_there_is_a_way_follows_from_how_many(a, b):
    counted = convolve(a, b, over="count")
    assert ((counted > 0) == convolve(a > 0, b > 0, over="boolean")).all()


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(whole, whole, st.sampled_from([2, 7, 12, 1_000_003]))
def test_residues_follow_from_integers(a, b, p):
    assert (convolve(a, b) % p == convolve(a, b, over=f"modular({p})")).all()
    for on in ("cyclic", "dyadic", "or", "subsets"):
        assert (convolve(a, b, on=on) % p == convolve(a, b, on=on, over=f"modular({p})")).all()


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(whole, whole)
def test_reversal_is_one_because_sums_commute(a, b):
    assert (convolve(a, b)[::-1] == convolve(a[::-1], b[::-1])).all()


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from(["integer", "max-plus", "boolean"]))
def test_an_image_is_a_signal_of_signals(seed, over):
    """Currying: the second axis may as well be the exponent of truncated polynomials, with room for the whole product."""
    random = np.random.default_rng(seed)
    a, b = random.integers(0, 9, (4, 3)), random.integers(0, 9, (3, 3))
    if over != "integer":
        a, b = (v > 4 if over == "boolean" else v.astype(float) for v in (a, b))
    zero = {"integer": 0, "boolean": False, "max-plus": -np.inf}[over]
    wide = [np.pad(v, ((0, 0), (0, 2)), constant_values=zero) for v in (a, b)]
    assert (convolve(*wide, over=truncated(5, over)) == convolve(a, b, over=over)).all()


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(whole, whole)
def test_walsh_turns_convolution_into_products(a, b):
    assert (fwht(convolve(a, b, on="dyadic")) == fwht(a) * fwht(b)).all()


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(whole, whole)
def test_signs_of_permutations_and_cosets_push_forward(a, b):
    """From the symmetries of a square onto reflections or not; from the circle of eight onto that of four."""
    group, two = domains.dihedral(4), domains.cyclic(2)

    def reflected(u):
        return np.array([group.elements[i][1] for i in range(8)])[u]

    left = lift(reflected, convolve(a, b, on=group), size=2)
    assert (left == convolve(lift(reflected, a, size=2), lift(reflected, b, size=2), on=two)).all()
    fold = [lift(lambda u: u % 4, v) for v in (a, b)]
    assert (lift(lambda u: u % 4, convolve(a, b, on="cyclic")) == convolve(*fold, on="cyclic")).all()


def test_a_group_acts_by_matrices():
    """Σ_g x(g) ρ(g), ρ by permutation matrices: convolution of weights is multiplication of matrices."""
    group = domains.symmetric(3)
    shapes = np.array([np.eye(3, dtype=int)[:, list(p)] for p in group.elements])
    x, k = np.random.default_rng(0).integers(-5, 6, (2, 6))
    matrices = [np.einsum("g,gij->ij", v, shapes)[None] for v in (x, k, convolve(x, k, on=group))]
    assert (convolve(matrices[0], matrices[1], over=matrix(3)) == matrices[2]).all()
    direct = np.einsum("g,gij->ij", convolve(x, k, on=group), shapes)
    assert (matrices[0][0] @ matrices[1][0] == direct).all()


def test_tropical_polynomials_add_where_they_are_evaluated():
    """eval(a ∗ b)(t) = eval(a)(t) + eval(b)(t) over max-plus, eval(c)(t) = max_i c_i + i·t."""
    random = np.random.default_rng(0)
    a, b = random.standard_normal(6), random.standard_normal(4)
    t = np.linspace(-3, 3, 61)[:, None]

    def evaluated(c):
        return (c + np.arange(c.size) * t).max(axis=1)

    assert np.allclose(evaluated(convolve(a, b, over="max-plus")), evaluated(a) + evaluated(b), atol=1e-14)


def test_max_plus_is_the_degree_of_ordinary_products():
    """With ε^v for v: the largest exponent of the product's coefficients."""
    random = np.random.default_rng(1)
    a, b = random.integers(0, 12, 6), random.integers(0, 12, 5)
    powers = [np.eye(24, dtype=int)[v] for v in (a, b)]
    product = convolve(*powers, over=truncated(24))
    degree = np.array([np.flatnonzero(row).max() for row in product])
    assert (degree == convolve(a.astype(float), b.astype(float), over="max-plus")).all()
