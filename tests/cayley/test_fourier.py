"""Fourier transforms on groups: the convolution theorem, Plancherel, inverses, characters, spectra, and Young's form itself."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faltung
from faltung.cayley import energies, generator_set, group_fourier, group_inverse, irreducibles, spectrum
from faltung.cayley.partitions import character, class_size, conjugate, contents, dimension, partitions, tableaux
from faltung.cayley.spectrum import cycle_type
from faltung.cayley.young import representation, young_convolve, young_fourier, young_inverse
from faltung.domains.group import cyclic, dihedral, group, symmetric
from faltung.errors import ArgumentError

QUATERNIONS = group(matrices=[[[0, 1], [2, 0]], [[1, 1], [1, 2]]], modulus=3)
FROBENIUS = group(permutations=[[1, 2, 3, 4, 5, 6, 0], [0, 2, 4, 6, 1, 3, 5]])
ICOSAHEDRAL = group(permutations=[[1, 2, 0, 3, 4], [0, 1, 3, 4, 2]])
GROUPS = [
    *map(symmetric, (1, 2, 3, 4, 5)), *map(dihedral, (1, 2, 5, 6)), *map(cyclic, (1, 2, 7, 12)),
    QUATERNIONS, FROBENIUS, ICOSAHEDRAL,
]  # fmt: skip


def norm(F):
    return max(np.abs(m).max() for m in F.values())


@pytest.mark.parametrize("G", GROUPS, ids=lambda G: G.text)
@pytest.mark.parametrize("kind", [float, complex])
def test_the_convolution_theorem_plancherel_and_the_inverse(G, kind):
    random = np.random.default_rng(G.order)
    x, k = (
        random.normal(size=G.order) + (1j * random.normal(size=G.order) if kind is complex else 0) for _ in range(2)
    )
    X, K, Y = (group_fourier(v, G) for v in (x, k, faltung.convolve(x, k, on=G)))
    assert max(np.abs(X[n] @ K[n] - Y[n]).max() for n in X) < 1e-12 * max(1.0, norm(X) * norm(K))
    assert sum(energies(X, G).values()) == pytest.approx(np.sum(np.abs(x) ** 2), rel=1e-12)
    assert sum(len(m) ** 2 for m in X.values()) == G.order
    back = group_inverse(X, G)
    np.testing.assert_allclose(back, x, atol=1e-12)


def test_on_s3_to_the_last_digits():
    x, k = np.random.default_rng(1).normal(size=(2, 6))
    X, K, Y = (group_fourier(v, "symmetric(3)") for v in (x, k, faltung.convolve(x, k, on="symmetric(3)")))
    assert max(np.abs(X[n] @ K[n] - Y[n]).max() for n in X) < 1e-14
    assert abs(sum(energies(X, "symmetric(3)").values()) - x @ x) < 1e-14


@pytest.mark.parametrize("G", [dihedral(5), dihedral(6), symmetric(4)], ids=lambda G: G.text)
def test_known_and_found_representations_have_the_same_characters(G):
    found = sorted(np.round(np.trace(r, axis1=1, axis2=2).real, 6).tolist() for r in irreducibles(G))
    deltas = [group_fourier(np.eye(G.order)[g], G) for g in range(G.order)]
    known = sorted(np.round([np.trace(d[name]).real for d in deltas], 6).tolist() for name in deltas[0])
    np.testing.assert_allclose(found, known, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_fast_transform_is_the_sum_over_all_permutations(n):
    x = np.random.default_rng(n).normal(size=math.factorial(n))
    F = young_fourier(x, n)
    for shape in partitions(n):
        wanted = sum(v * representation(shape, p) for v, p in zip(x, itertools.permutations(range(n)), strict=True))
        np.testing.assert_allclose(F[shape], wanted, atol=1e-12)


@given(st.data())
@settings(max_examples=30, deadline=None, database=None, derandomize=True)
def test_youngs_form_is_an_orthogonal_representation(data):
    n = data.draw(st.integers(1, 6))
    shape = data.draw(st.sampled_from(partitions(n)))
    p, q = (tuple(data.draw(st.permutations(range(n)))) for _ in range(2))
    P, Q = representation(shape, p), representation(shape, q)
    np.testing.assert_allclose(P @ Q, representation(shape, tuple(p[i] for i in q)), atol=1e-12)
    np.testing.assert_allclose(P @ P.T, np.eye(dimension(shape)), atol=1e-12)
    assert abs(np.trace(P) - character(shape, cycle_type(list(p)))) < 1e-10


@pytest.mark.parametrize("n", [6, 7])
def test_convolution_by_transforms_equals_the_list_of_pairs(n):
    x, k = np.random.default_rng(n).normal(size=(2, math.factorial(n)))
    wanted = faltung.convolve(x, k, on=f"symmetric({n})", policy=faltung.Policy(only="scatter"))
    came = young_convolve(x, k, n)
    assert np.abs(came - wanted).max() < 1e-12 * np.linalg.norm(x) * np.linalg.norm(k)


def test_eight_points_without_a_table():
    random = np.random.default_rng(8)
    x = random.normal(size=math.factorial(8))
    F = young_fourier(x, 8)
    np.testing.assert_allclose(young_inverse(F, 8), x, atol=1e-12)
    assert sum(energies(F, "symmetric(8)").values()) == pytest.approx(x @ x, rel=1e-12)
    # A function with three values: the convolution by hand, one gathered copy for each.
    places = [(1, 0, 2, 3, 4, 5, 6, 7), (7, 6, 5, 4, 3, 2, 1, 0), (1, 2, 3, 4, 5, 6, 7, 0)]
    k = np.zeros(math.factorial(8))
    perms = np.array(list(itertools.permutations(range(8))))
    codes = perms @ 8 ** np.arange(8)[::-1]
    wanted = np.zeros_like(x)
    for weight, s in zip((1.0, -2.0, 0.5), places, strict=True):
        k[np.searchsorted(codes, np.array(s) @ 8 ** np.arange(8)[::-1])] = weight
        before = perms[:, np.argsort(s)]  # y(p) = Σ x(p s⁻¹) k(s)
        wanted += weight * x[np.searchsorted(codes, before @ 8 ** np.arange(8)[::-1])]
    np.testing.assert_allclose(young_convolve(x, k, 8), wanted, atol=1e-11)


def test_partitions_tableaux_and_characters():
    assert [len(partitions(n)) for n in range(1, 11)] == [1, 2, 3, 5, 7, 11, 15, 22, 30, 42]
    for n in range(1, 9):
        assert sum(dimension(s) ** 2 for s in partitions(n)) == math.factorial(n)
        assert sum(class_size(c) for c in partitions(n)) == math.factorial(n)
        for s in partitions(n):
            assert len(tableaux(s)) == dimension(s) == character(s, (1,) * n)
            assert conjugate(conjugate(s)) == s
            if n > 1:  # a transposition's character ratio is the sum of contents
                ratio = math.comb(n, 2) * character(s, (2, *(1,) * (n - 2)))
                assert ratio == contents(s) * dimension(s)
    for n in (4, 6, 9):  # rows of the table of characters are orthonormal
        table = np.array([[character(s, c) for c in partitions(n)] for s in partitions(n)], dtype=object)
        sizes = np.array([class_size(c) for c in partitions(n)], dtype=object)
        assert np.array_equal((table * sizes) @ table.T, math.factorial(n) * np.eye(len(table), dtype=int))


def test_the_spectrum_of_all_transpositions():
    wanted = [(6, 1), (2, 9), (0, 4), (-2, 9), (-6, 1)]
    assert spectrum("symmetric(4)", generator_set("all_transpositions(4)")) == wanted
    assert spectrum("symmetric(20)", generator_set("all_transpositions(20)"))[:2] == [(190, 1), (170, 361)]


@pytest.mark.parametrize(
    "name", ["lrx(4)", "stars(5)", "pancake(5)", "lx(4)", "three_cycles(5)", "all_transpositions(5)"]
)
def test_the_spectrum_is_that_of_the_matrix(name):
    g = generator_set(name)
    perms = list(itertools.permutations(range(g.size)))
    number = {p: i for i, p in enumerate(perms)}
    A = np.zeros((len(perms), len(perms)))
    for i, p in enumerate(perms):
        for s in g.rows.tolist():
            A[i, number[tuple(p[j] for j in s)]] += 1
    came = spectrum(f"symmetric({g.size})", g)
    assert sum(count for _, count in came) == len(perms)
    if g.closed:
        np.testing.assert_allclose(
            np.repeat([v for v, _ in came], [c for _, c in came]), np.linalg.eigvalsh(A)[::-1], atol=1e-9
        )
    for power in range(1, 6):  # closed walks
        trace = sum(count * value**power for value, count in came)
        assert abs(trace - np.trace(np.linalg.matrix_power(A, power))) < 1e-6 * len(g) ** power * len(perms)


def test_spectra_of_other_groups():
    circle = spectrum(cyclic(6), [1, 5])
    np.testing.assert_allclose([v for v, _ in circle], [2, 1, -1, -2], atol=1e-12)
    assert [c for _, c in circle] == [1, 2, 2, 1]
    quaternions = spectrum(QUATERNIONS, [QUATERNIONS.elements[1], QUATERNIONS.elements[QUATERNIONS.inverses[1]]])
    assert sum(c for _, c in quaternions) == 8
    assert quaternions[0][0] == pytest.approx(2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: group_fourier(np.ones(5), "symmetric(3)"),
        lambda: group_fourier(np.ones(2), "nobody(2)"),
        lambda: young_fourier(np.ones(3), 11),
        lambda: young_inverse({(2,): np.eye(1)}, 2),
        lambda: spectrum("symmetric(4)", generator_set("lrx(5)")),
        lambda: spectrum("symmetric(10)", generator_set("lrx(10)")),
        lambda: spectrum("cyclic(4)", [1]),
        lambda: irreducibles(cyclic(2000)),
    ],
)
def test_bad_input(call):
    with pytest.raises(ArgumentError):
        call()
