"""Convolution on finite sets of indices: the domains' laws, every method against the definition, known values."""

from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung import convolve, correlate, domains, methods
from faltung.domains import FiniteDomain
from faltung.errors import ArgumentError
from faltung.problem import Problem
from faltung.testing.conformance import check
from faltung.testing.sets import GROUPS, NAMES, SIZES, TREES, check_domain, draw_on_sets, reference, size_of

SET_METHODS = [name for name, m in methods.BY_NAME.items() if "index" in m.places]


@pytest.mark.parametrize("name", NAMES + GROUPS + TREES)
def test_domains_keep_their_laws(name):
    domain = domains.named(name)
    fixed = isinstance(domain, (domains.Group, domains.Tree))
    sizes = [size_of(domain, Random(0))] if fixed else SIZES.get(name, (1, 2, 7, 20))
    for size in sizes:
        check_domain(domain, size)


class Wrong(FiniteDomain):
    """u · v = |u − v|: commutative, and associative it is not."""

    name = "wrong"
    laws = frozenset({"commutative", "associative"})

    def product(self, u, v, size):
        return np.abs(u - v)


class Listed(FiniteDomain):
    """A list of triples that forgets one."""

    name = "forgetful"

    def product(self, u, v, size):
        return np.maximum(u, v)

    def triples(self, size):
        t = super().triples(size)
        return t._replace(u=t.u[:-1], v=t.v[:-1], w=t.w[:-1])


@pytest.mark.parametrize(("domain", "reason"), [(Wrong(), "is not u·"), (Listed(), "list of triples")])
def test_a_false_law_is_found(domain, reason):
    with pytest.raises(AssertionError, match=reason):
        check_domain(domain, 8)


@pytest.mark.parametrize("name", NAMES + GROUPS + TREES)
def test_methods_on_sets_equal_the_definition(name):
    for seed in range(24):
        problem = draw_on_sets(seed, domain=name)
        verdicts = {method: check(problem, method, seed=seed) for method in SET_METHODS}
        assert verdicts["definition"] == "right", problem.text
        assert Problem.parse(problem.text) == problem


def test_methods_for_grids_refuse_sets():
    problem = draw_on_sets(3, algebra="real", host="numpy", unknown="out")
    for name, method in methods.BY_NAME.items():
        if name not in SET_METHODS:
            assert "works on grids" in check_refusal(problem, method)


def check_refusal(problem, method):
    assert check(problem, method.name) == "refuses"
    return method.refusal(problem)


whole = st.integers(-99, 99)


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.data(), st.sampled_from(NAMES + GROUPS + TREES))
def test_exact_values_are_those_of_two_loops(data, name):
    domain = domains.named(name)
    size = size_of(domain, Random(data.draw(st.integers(0, 9))))
    x, k = (data.draw(st.lists(whole, min_size=size, max_size=size)) for _ in range(2))
    wanted = reference(domain, x, k)
    assert convolve(np.array(x), np.array(k), on=domain).tolist() == wanted
    ones = [Fraction(v, 3) for v in k]
    assert convolve(np.array(x, object), np.array(ones, object), on=domain, over="rational").tolist() == [
        Fraction(v, 3) for v in wanted
    ]


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.data(),
    st.sampled_from(["dyadic", "or", "and", "subsets", "max", "min"]),
    st.sampled_from(["int64", "uint64", "int8"]),
)
def test_wide_integers_are_exact_by_transforms_too(data, name, dtype):
    """Values whose sums come near 2^62: what transforms add up on the way is larger than any result."""
    reach = 2**7 - 1 if dtype == "int8" else 2**28
    each = st.integers(0 if dtype[0] == "u" else -reach, reach)
    x, k = (np.array(data.draw(st.lists(each, min_size=16, max_size=16)), dtype) for _ in range(2))
    method = {"dyadic": "walsh", "max": "prefix", "min": "prefix"}.get(name, "zeta")
    y = convolve(x, k, on=name, policy=faltung.Policy(only=(method,)))
    assert y.tolist() == reference(domains.named(name), x.tolist(), k.tolist())


def test_walsh_transforms_stay_within_their_bound():
    """Constants, impulses, signs and rows of the transform: what gathers rounding noise in one place."""
    random = np.random.default_rng(0)
    forced = faltung.Policy(only=("walsh",))
    for n in (16, 256, 4096):
        row = faltung.fwht(np.eye(1, n, n // 3)[0])
        signals = [np.full(n, 1 / 3), random.standard_normal(n), random.choice([-1.0, 1.0], n), np.eye(1, n, 3)[0], row]
        for x in signals:
            for k in (*signals, random.random(n)):
                narrow = [a.astype("float32") for a in (x, k)]
                came = convolve(*narrow, on="dyadic", policy=forced)
                wanted = convolve(*(a.astype("float64") for a in narrow), on="dyadic", policy=forced)
                bound = faltung.plan(*narrow, on="dyadic", policy=forced).error
                assert np.abs(came - wanted).max() <= bound * np.abs(narrow[0]).max() * np.abs(narrow[1]).sum()


def test_transforms_are_chosen_where_lists_are_long():
    spec = faltung.Spec((1 << 16,), "int64")
    assert faltung.plan(spec, spec, on="dyadic").method == "walsh"
    assert faltung.plan(spec, spec, on="or").method == "zeta"
    assert faltung.plan(spec, spec, on="max").method == "prefix"
    assert faltung.plan(faltung.Spec((24,)), faltung.Spec((24,)), on="symmetric(4)").method == "scatter"
    for p in (3, 2**31 - 1):
        x, k = np.random.default_rng(p).integers(0, p, (2, 64))
        wanted = convolve(x, k, on="dyadic", over=f"modular({p})", policy=faltung.Policy(only=("definition",)))
        assert (
            convolve(x, k, on="dyadic", over=f"modular({p})", policy=faltung.Policy(only=("walsh",))) == wanted
        ).all()


def test_products_of_numbers():
    """φ ∗ 1 = id, μ ∗ 1 = δ₁, (1 ∗ 1)(12) = 6, (1 ∗ 1)(60) = 12."""
    n = np.arange(1, 61)
    one, delta = np.ones(60, dtype=np.int64), (n == 1).astype(np.int64)
    phi = np.array([sum(np.gcd(d, m) == 1 for d in range(1, m + 1)) for m in n])
    divisors = convolve(one, one, on="dirichlet")
    assert (divisors[11], divisors[59]) == (6, 12)
    assert (convolve(phi, one, on="dirichlet") == n).all()
    moebius = np.array(
        [
            0
            if any(m % (p * p) == 0 for p in (2, 3, 5, 7))
            else (-1) ** sum(m % p == 0 and all(p % q for q in range(2, p)) for p in range(2, m + 1))
            for m in n
        ]
    )
    assert (convolve(moebius, one, on="dirichlet") == delta).all()


def test_ways_between_nodes_turn_at_an_ancestor():
    """Over min-plus with depths: twice the depth of the turn less is the distance."""
    parents = np.array([0, 0, 0, 1, 1, 2, 5, 5, 3, 8])
    tree = domains.tree(parents)
    depth = tree.depth.astype(float)
    pairs = np.array([[tree.product(np.array([u]), np.array([v]), 10)[0] for u in range(10)] for v in range(10)])
    nearest = convolve(depth, depth, on=tree, over="min-plus") - 2 * depth
    wanted = [
        min(depth[u] + depth[v] - 2 * depth[w] for u in range(10) for v in range(10) if pairs[u, v] == w)
        for w in range(10)
    ]
    assert nearest.tolist() == wanted
    ways = convolve(np.ones(10, int), np.ones(10, int), on=tree)
    assert ways.tolist() == np.bincount(pairs.ravel(), minlength=10).tolist()
    long = domains.tree(np.maximum(np.arange(20_000) - 1, 0))
    assert faltung.plan(faltung.Spec((20_000,)), faltung.Spec((20_000,)), on=long).method == "ancestors"


def test_the_circle_and_series_are_grids():
    x, k = np.random.default_rng(0).standard_normal((2, 12))
    spectrum = np.fft.ifft(np.fft.fft(x) * np.fft.fft(k)).real
    assert np.allclose(convolve(x, k, on="cyclic"), spectrum, atol=1e-12)
    assert np.allclose(convolve(x, k, on="cyclic"), convolve(x, k, on=domains.cyclic(12)), atol=1e-12)
    assert np.allclose(correlate(x, k, on="cyclic"), correlate(x, k, on=domains.cyclic(12)), atol=1e-12)
    assert np.allclose(convolve(x, k, on="series"), np.convolve(x, k)[:12], atol=1e-12)
    both = np.random.default_rng(1).standard_normal((2, 4, 6))
    assert np.allclose(convolve(*both, on="cyclic"), np.fft.ifft2(np.prod(np.fft.fft2(both), axis=0)).real, atol=1e-12)


def test_correlation_is_the_adjoint_on_groups():
    """⟨x ∗ k, y⟩ = ⟨x, y ⋆ k⟩, exactly in integers."""
    for name in ("symmetric(4)", "dihedral(6)", "dyadic"):
        size = 24 if "sym" in name else 12 if "di" in name and name != "dyadic" else 16
        x, k, y = np.random.default_rng(2).integers(-9, 9, (3, size))
        assert (convolve(x, k, on=name) * y).sum() == (x * correlate(y, k, on=name)).sum()


def test_groups_made_in_three_ways_are_one():
    s3 = domains.group(permutations=[[1, 0, 2], [0, 2, 1]])
    again = domains.group(s3.table)
    assert s3.order == 6
    assert again == s3
    assert "commutative" not in s3.laws
    sl2 = domains.group(matrices=[[[1, 1], [0, 1]], [[1, 0], [1, 1]]], modulus=3)
    assert sl2.order == 24
    check_domain(sl2, 24)
    check_domain(s3, 6)
    g, h = (2, 0, 1), (1, 0, 2)
    assert s3.elements[s3.table[s3.index(g), s3.index(h)]] == tuple(g[i] for i in h)


WRONG = {
    "no power of two": (lambda: convolve([1, 2, 3], [1, 2, 3], on="dyadic"), "a power of two", "3"),
    "another size": (lambda: convolve([1, 2], [1, 2, 3, 4], on="or"), "as many values in the filter", "4 and 2"),
    "wrong order": (lambda: convolve([1, 2, 3], [1, 2, 3], on="symmetric(3)"), "6 values", "3"),
    "a boundary": (lambda: convolve([1, 2], [1, 2], on="or", boundary="wrap"), "no boundary", "wrap"),
    "a mode": (lambda: convolve([1, 2], [1, 2], on="cyclic", mode="valid"), "no mode", "valid"),
    "a stride": (lambda: convolve([1, 2], [1, 2], on="or", stride=2), "no stride", "2"),
    "two axes": (lambda: convolve([[1, 2]], [[1, 2]], on="or"), "one axis", "(1, 2)"),
    "unknown": (lambda: convolve([1, 2], [1, 2], on="lattice"), "one of grid, cyclic, series, dyadic", "lattice"),
    "no inverses": (lambda: correlate([1, 2], [1, 2], on="or"), "a group", "union"),
    "no group": (lambda: domains.group([[0, 1], [1, 1]]), "each once", "(2, 2)"),
    "no permutation": (lambda: domains.group(permutations=[[0, 0]]), "once", "0"),
    "too large": (lambda: domains.symmetric(9), "from 1 to 7", "9"),
    "two roots": (lambda: domains.tree([0, 1]), "the root alone", "[0, 1]"),
    "a circle": (lambda: domains.tree([0, 2, 1]), "ways from every node", "circle"),
    "no node": (lambda: domains.tree([0, 7]), "among 0 ... n − 1", "[0, 7]"),
    "no element": (lambda: domains.symmetric(3).index((0, 0, 1)), "an element", "(0, 0, 1)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_says_what_is_wrong(case):
    call, expected, came = WRONG[case]
    with pytest.raises(ArgumentError) as caught:
        call()
    assert expected in str(caught.value)
    assert came in str(caught.value)


def test_gradients_on_a_group_are_those_of_finite_differences():
    torch = pytest.importorskip("torch")
    for over in (None, "log"):
        x, k = (torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))

        def f(x, k, over=over):
            return faltung.convolve(x, k, "b c *s, o c *s -> b o *s", on="symmetric(3)", over=over)

        assert torch.autograd.gradcheck(f, (x, k))
