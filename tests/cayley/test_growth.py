"""Growth: published layer sizes, one result from all storages, keys that collide, coloured words, directed sets, budgets."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import cayley
from faltung.cayley.storages import ALL, Sorted
from faltung.errors import ArgumentError, MemoryBudgetError, RefusedError

PUBLISHED = {
    "lrx(5)": [1, 3, 6, 10, 16, 24, 29, 21, 6, 3, 1],
    "lrx(6)": [1, 3, 6, 11, 20, 35, 55, 81, 109, 128, 126, 95, 40, 6, 3, 1],
    "lrx(7)": [1, 3, 6, 12, 22, 42, 73, 124, 203, 303, 425, 559, 678, 713, 746, 611, 355, 122, 28, 10, 3, 1],
    "lx(6)": [1, 2, 3, 5, 8, 13, 20, 30, 42, 56, 73, 87, 98, 101, 85, 59, 29, 7, 1],
    "pancake(7)": [1, 6, 30, 149, 543, 1357, 1903, 1016, 35],
    "coxeter(6)": [1, 5, 14, 29, 49, 71, 90, 101, 101, 90, 71, 49, 29, 14, 5, 1],
    "all_transpositions(5)": [1, 10, 35, 50, 24],
    "stars(7)": [1, 6, 30, 135, 460, 1110, 1689, 1254, 340, 15],
    "burnt_pancake(4)": [1, 4, 12, 36, 90, 124, 96, 18, 3],
    "heisenberg(3, 5)": [1, 4, 12, 32, 62, 12, 2],
    "heisenberg(3, 15)": [1, 4, 12, 36, 82, 164, 294, 476, 660, 688, 348, 248, 182, 120, 60],
    "special_linear(2, 7)": [1, 4, 12, 30, 64, 110, 105, 10],
}


def by_search(g, start=None):
    """Layers by sets of tuples, one state after the other."""
    state = g.start if start is None else np.asarray(start)
    met, last, sizes = {state.tobytes()}, [state], []
    while last:
        sizes.append(len(last))
        near = {n.tobytes(): n for s in last for i in range(len(g)) for n in (g.apply(s, i),)}
        last = [n for key, n in near.items() if key not in met]
        met |= set(near)
    return sizes


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layers_from_every_storage(name):
    g = cayley.generator_set(name)
    able = [s for s in ALL if s.refuses(g) is None]
    assert len(able) >= 1
    for storage in able:
        found = cayley.growth(g, storage=storage.name)
        assert list(found.layers) == PUBLISHED[name], storage.name
        assert found.complete
        assert found.diameter == len(PUBLISHED[name]) - 1
    assert list(cayley.growth(g).layers) == PUBLISHED[name]


def test_pancake_10_and_the_diameter_of_lrx():
    found = cayley.growth(cayley.generator_set("pancake(10)"))
    assert found.layers == (1, 9, 72, 575, 3963, 22825, 106461, 377863, 919365, 1309756, 814678, 73232)
    for n in (5, 6, 7, 8, 9):
        found = cayley.growth(cayley.generator_set(f"lrx({n})"))
        assert found.diameter == n * (n - 1) // 2
        assert found.order == math.factorial(n)


@pytest.mark.slow
def test_the_cube_of_size_2_from_colours():
    found = cayley.growth(cayley.generator_set("cube(2, 2)"), cayley.colours(2))
    assert found.layers == (1, 9, 54, 321, 1847, 9992, 50136, 227536, 870072, 1887748, 623800, 2644)
    assert found.order == 3674160


def test_the_first_layers_of_the_cube_of_size_3():
    """States of five words; the sizes have been known since 1981."""
    assert cayley.growth(cayley.generator_set("cube(3, 2)"), max_layers=4).layers == (1, 18, 243, 3240, 43239)
    assert cayley.growth(cayley.generator_set("cube(3, 1)"), max_layers=4).layers == (1, 12, 114, 1068, 10011)
    assert cayley.growth(cayley.generator_set("cube(2, 1)"), cayley.colours(2), max_layers=5).layers == (
        1, 6, 27, 120, 534, 2256,
    )  # fmt: skip


@given(st.data())
@settings(max_examples=40, deadline=None, database=None, derandomize=True)
def test_any_generators_and_any_start_equal_plain_search(data):
    n = data.draw(st.integers(1, 6))
    rows = data.draw(st.lists(st.permutations(range(n)), min_size=1, max_size=3))
    start = data.draw(st.one_of(st.none(), st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    g = cayley.permutations(rows)
    g = g.closure() if data.draw(st.booleans()) else g
    wanted = by_search(g if start is None else g.starting(start))
    threads = data.draw(st.integers(1, 3))
    for storage in ("bits", "thirds", "sorted"):
        if start is not None and storage != "sorted":
            continue
        if storage == "thirds" and not g.closed:
            continue
        found = cayley.growth(g, start, storage=storage, threads=threads)
        assert list(found.layers) == wanted, storage
        assert len(found.last_layer) == min(wanted[-1], 1000)


@given(st.data())
@settings(max_examples=20, deadline=None, database=None, derandomize=True)
def test_matrices_equal_plain_search(data):
    d, m = data.draw(st.sampled_from([(2, 2), (2, 3), (2, 4), (3, 2)]))
    entries = st.lists(st.integers(0, m - 1), min_size=d * d, max_size=d * d)
    made = []
    for flat in data.draw(st.lists(entries, min_size=1, max_size=4)):
        a = np.array(flat).reshape(d, d)
        if math.gcd(round(np.linalg.det(a)), m) == 1:
            made.append(a)
    if made:
        g = cayley.matrices(made, m)
        assert list(cayley.growth(g).layers) == by_search(g)
        assert list(cayley.growth(g.closure()).layers) == by_search(g.closure())
        vector = np.arange(d)[None] % m
        assert list(cayley.growth(g, vector).layers) == by_search(g, vector)


@pytest.mark.parametrize("key_bits", [1, 3, 64])
def test_keys_that_collide_change_nothing(key_bits):
    """States of two words whose keys have a bit or three: hundreds share each key and all stay apart."""
    g = cayley.permutations([[*np.roll(range(5), 1), *range(5, 20)], [1, 0, *range(2, 20)]]).closure()
    wide = Sorted(key_bits)
    assert wide._width(g) == 3
    assert list(cayley.growth(g, storage=wide).layers) == by_search(g)


def test_a_table_that_trusts_keys_would_be_caught():
    """The same search with keys in the place of states loses states: what the test above would see."""
    g = cayley.permutations([[*np.roll(range(5), 1), *range(5, 20)], [1, 0, *range(2, 20)]]).closure()

    class Trusting(Sorted):
        def _following(self, g, last, known, bits, used, limits):
            found = super()._following(g, last, known, bits, used, limits)
            return found[np.unique(found[:, 0], return_index=True)[1]] if len(found) else found

    assert list(cayley.growth(g, storage=Trusting(3), max_layers=5).layers) != by_search(g)[:6]


def test_directed_sets_keep_all_layers():
    """With the last two layers only, LX would meet old states again and never end."""
    g = cayley.generator_set("lx(6)")
    assert not g.closed
    known = {s.name: s.refuses(g) for s in ALL}
    assert known["thirds"] is not None
    assert cayley.growth(g, storage="sorted").order == 720
    assert cayley.growth(g.closure()).order == 720


def test_left_and_right_conventions_agree_on_closed_sets():
    for name in ("lrx(6)", "pancake(6)", "prefix_cycles(5)"):
        g = cayley.generator_set(name)
        other = cayley.permutations(np.argsort(g.rows, axis=1))
        assert cayley.growth(g).layers == cayley.growth(other, storage="sorted").layers


def test_coloured_words():
    word = cayley.growth(cayley.generator_set("coxeter(6)"), "000111")
    assert word.layers == (1, 1, 2, 3, 3, 3, 3, 2, 1, 1)  # the Gaussian binomial coefficient (6, 3)
    assert word.order == math.comb(6, 3)
    assert word.last_layer.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_the_last_layer_and_the_limit():
    g = cayley.generator_set("coxeter(5)")
    for storage in ("closed form", "bits", "thirds", "sorted"):
        assert cayley.growth(g, storage=storage).last_layer.tolist() == [[4, 3, 2, 1, 0]]
        short = cayley.growth(g, storage=storage, max_layers=2)
        assert short.layers == (1, 4, 9)
        assert not short.complete
        assert sorted(map(tuple, short.last_layer.tolist())) == sorted(
            map(tuple, cayley.growth(g, storage="sorted", max_layers=2).last_layer.tolist())
        )
    assert len(cayley.growth(cayley.generator_set("all_transpositions(8)")).last_layer) == 1000
    assert cayley.growth(g, max_layers=0).layers == (1,)


def test_paths_lead_where_they_should():
    g = cayley.generator_set("lrx(7)")
    found = cayley.growth(g, storage="thirds")
    for seed in range(20):
        target = np.random.default_rng(seed).permutation(7)
        word, state = found.path(target), np.arange(7)
        for s in word:
            state = g.apply(state, s)
        assert np.array_equal(state, target)
        assert len(word) == _distance(g, target)
    assert found.path(range(7)) == []
    short = cayley.growth(g, storage="thirds", max_layers=5)
    with pytest.raises(ArgumentError, match="max_layers"):
        short.path(range(6, -1, -1))
    with pytest.raises(ArgumentError, match="thirds"):
        cayley.growth(g).path(range(7))


def _distance(g, target):
    sizes, last, met = 0, {tuple(range(g.size))}, set()
    while tuple(target) not in last:
        met |= last
        last = {tuple(np.array(s)[r]) for s in last for r in g.rows} - met
        sizes += 1
    return sizes


def test_the_planner_chooses_and_says_why():
    plan = cayley.plan_growth(cayley.generator_set("coxeter(12)"))
    assert plan.storage.name == "closed form"
    assert "chosen" in str(plan)
    assert cayley.plan_growth(cayley.generator_set("lrx(12)")).storage.name == "bits"
    small = cayley.plan_growth(cayley.generator_set("lrx(12)"), memory=150_000_000)
    assert small.storage.name == "thirds"
    assert "too large" in str(small)
    assert cayley.plan_growth(cayley.generator_set("burnt_pancake(5)")).storage.name == "sorted"
    # The formula goes with the name: the same swaps without it are searched, and give the same.
    bare = cayley.permutations(cayley.generator_set("coxeter(6)").rows)
    assert cayley.plan_growth(bare).storage.name != "closed form"


def test_budgets_hold():
    g = cayley.generator_set("lrx(9)")
    with pytest.raises(MemoryBudgetError, match="max_layers"):
        cayley.growth(g, storage="sorted", memory=100_000)
    with pytest.raises(MemoryBudgetError):
        cayley.growth(g, storage="bits", memory=100_000)
    assert cayley.growth(g, storage="sorted", memory=20_000_000).order == math.factorial(9)


def test_progress_is_told(capsys):
    told = []
    cayley.growth(cayley.generator_set("pancake(4)"), progress=lambda *a: told.append(a[:2]))
    assert told == [(0, 1), (1, 3), (2, 6), (3, 11), (4, 3)]
    cayley.growth(cayley.generator_set("pancake(4)"), progress=True)
    assert "layer 3: 11 states" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (([[0, 0]],), {}),
        (([[1, 0]], "012"), {}),
        (([[1, 0]], [-1, 0]), {}),
        (([[1, 0]],), {"storage": "hash"}),
        (([[1, 0]],), {"max_layers": -1}),
    ],
)
def test_bad_input_is_refused(arguments, options):
    with pytest.raises(ArgumentError):
        cayley.growth(*arguments, **options)


def test_refusals_say_why():
    with pytest.raises(RefusedError, match="inverse"):
        cayley.growth(cayley.generator_set("lx(5)"), storage="thirds")
    with pytest.raises(RefusedError, match="matrices"):
        cayley.growth(cayley.generator_set("heisenberg(3, 5)"), storage="bits")
    with pytest.raises(ArgumentError, match="invertible"):
        cayley.matrices([[[2, 0], [0, 1]]], 4)
