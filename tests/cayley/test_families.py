"""Generating sets by name: their number, the groups that they generate, which are directed."""

import math

import pytest

from faltung import cayley
from faltung.errors import ArgumentError

ORDERS = {
    "lrx(5)": 120, "lx(5)": 120, "top_spin(6, 4)": 720, "larx(5)": 120, "lsl(5)": 120, "shuffles(8)": 3 * 2**3,
    "cyclic_coxeter(5)": 120, "bipartite(6, 2)": 720, "binary_tree(6)": 720, "hypercube(5)": 32,
    "double_transpositions(5)": 60, "full_reversals(5)": 120, "reversals(7, 4)": 2520, "transposons(5)": 120,
    "block_interchange(5)": 120, "insertions(5)": 120, "burnt_pancake(4)": 384, "signed_reversals(4)": 384,
    "coxeter_b(4)": 384, "coxeter_d(4)": 192, "three_cycles(5)": 60, "alternating(6)": 360, "zero_cycles(5)": 60,
    "all_cycles(5)": 120, "consecutive_cycles(6, 3)": 360, "wrapped_cycles(6, 3)": 360, "increasing_cycles(6, 4)": 720,
    "prefix_cycles(6)": 720, "down_cycles(5)": 120, "derangements(5)": 120, "matchings(6)": 720, "circle(12)": 12,
    "circulant(101, 10)": 101, "dihedral(12)": 24, "torus(3, 4)": 64, "unitriangular(4, 3)": 3**6,
    "heisenberg(4, 3)": 3**5, "special_linear(2, 13)": 13 * (13**2 - 1), "special_linear(3, 2)": 168,
    "special_linear(3, 3)": 5616, "special_linear_weyl(2, 7)": 336, "special_linear_weyl(3, 3)": 5616,
    "transvections(2, 3)": 24, "affine(2, 5)": 20,
}  # fmt: skip
DIRECTED = {"lx", "increasing_cycles", "down_cycles"}


def test_there_are_more_than_a_hundred():
    assert len(cayley.names()) == len(set(cayley.names())) >= 150
    assert len(cayley.FAMILIES) >= 40
    assert all(f.summary for f in cayley.FAMILIES.values())


@pytest.mark.parametrize("name", ORDERS)
def test_the_group_that_they_generate(name):
    g = cayley.generator_set(name)
    assert cayley.growth(g).order == ORDERS[name]
    if not g.modulus:  # counted without listing it
        assert g.order == ORDERS[name]


def test_every_listed_set_is_what_its_name_says():
    for name in cayley.names():
        g = cayley.generator_set(name)
        assert g.text.replace(" ", "") == name.replace(" ", "")
        assert len({r.tobytes() for r in g.rows}) == len(g)
        family = name.partition("(")[0]
        assert g.closed == (family not in DIRECTED) or g.closed, name
        assert not (family in DIRECTED and g.closed and g.size > 3), name


def test_the_action_is_the_one_that_is_written():
    lrx = cayley.generator_set("lrx(5)")
    assert [lrx.apply(range(5), i).tolist() for i in range(3)] == [[1, 2, 3, 4, 0], [4, 0, 1, 2, 3], [1, 0, 2, 3, 4]]
    assert cayley.generator_set("top_spin(5, 4)").rows[2].tolist() == [3, 2, 1, 0, 4]
    # a = old places 0, 1; b = 2: "exchange of two blocks that touch"
    assert [2, 0, 1] in cayley.generator_set("transposons(3)").rows.tolist()


def test_orders_too_large_to_list():
    assert cayley.generator_set("lrx(16)").order == math.factorial(16)
    assert cayley.generator_set("cube(2, 1)").order == 3674160
    assert cayley.generator_set("cube(3, 1)").order == 43252003274489856000


def test_counts_of_generators():
    n = 6
    counts = {"full_reversals": math.comb(n, 2), "transposons": math.comb(n + 1, 3), "derangements": 265,
              "all_transpositions": 15, "three_cycles": 40, "signed_reversals": 21}  # fmt: skip
    for family, count in counts.items():
        assert len(cayley.generator_set(f"{family}({n})")) == count
    assert len(cayley.generator_set("cube(3, 2)")) == 18
    assert len(cayley.generator_set("cube(2, 2)")) == 9


@pytest.mark.parametrize(
    "text", ["lrx", "lrx(x)", "nobody(3)", "lrx(3, 4, 5)", "pancake(1)", "cube(4, 1)", "heisenberg(3)", "shuffles(7)"]
)
def test_names_that_mean_nothing(text):
    with pytest.raises(ArgumentError):
        cayley.generator_set(text)
