"""The best terms of every result against all terms sorted, and what they are good for."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import convolve
from faltung.engine import best
from faltung.errors import ArgumentError

row = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=7)


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(row, row, st.integers(1, 5), st.sampled_from(["max-plus", "min-plus", "max-min", "min-max"]))
def test_they_are_the_first_of_all_terms(x, k, count, over):
    came = best(x, k, count, over=over)
    sign = -1 if over.startswith("max") else 1
    mul = (lambda a, b: a + b) if "plus" in over else (min if over == "max-min" else max)
    for p in range(len(x) + len(k) - 1):
        terms = [(mul(x[p - u], k[u]), u, p - u) for u in range(len(k)) if 0 <= p - u < len(x)]
        terms.sort(key=lambda term: (sign * term[0], term[1]))
        wanted = terms[:count]
        n = len(wanted)
        assert came.values[p, :n].tolist() == [t[0] for t in wanted]
        assert came.tap[p, :n].tolist() == [t[1] for t in wanted]
        assert came.place[p, :n].tolist() == [t[2] for t in wanted]
        assert (came.tap[p, n:] == -1).all()
    assert (came.values[:, 0] == convolve(x, k, over=over)).all()


def test_two_dimensions_modes_and_boundaries():
    random = np.random.default_rng(0)
    x, k = random.standard_normal((6, 7)), random.standard_normal((3, 2))
    for mode, boundary in (("same", "reflect"), ("valid", "constant"), ("full", "wrap")):
        came = best(x, k, 2, mode=mode, boundary=boundary)
        assert (came.values[..., 0] == convolve(x, k, mode=mode, boundary=boundary, over="max-plus")).all()
        inside = came.place >= 0
        again = x.ravel()[came.place] + k.ravel()[came.tap]
        assert (again[inside] == came.values[inside]).all()


def test_lists_form_a_semiring():
    """The three best of three factors, in either order."""
    random = np.random.default_rng(1)
    a, b, c = random.standard_normal((3, 4))
    left = best(best(a, b, 3).values, c[:, None], 3, listed=True).values
    right = best(a[:, None], best(b, c, 3).values, 3, listed=True).values
    assert np.allclose(left, right)
    for p in range(10):
        sums = sorted(
            (a[i] + b[j] + c[p - i - j] for i, j in itertools.product(range(4), range(4)) if 0 <= p - i - j < 4),
            reverse=True,
        )
        assert np.allclose(left[p, : len(sums[:3])], sums[:3])


def test_a_path_is_traced_back():
    """Viterbi on a ring of eight places: steps of −1, 0, 1 with costs, observations at every time."""
    random = np.random.default_rng(2)
    seen = random.standard_normal((12, 8))
    step = np.array([-0.7, -0.1, -0.7])
    score, origins = seen[0], []
    for t in range(1, 12):
        came = best(score, step, mode=((1, 1),), boundary="wrap")
        origins.append(came.place[:, 0])
        score = came.values[:, 0] + seen[t]
    path = [int(np.argmax(score))]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    path = path[::-1]
    total = seen[0, path[0]]
    for t in range(1, 12):
        total += seen[t, path[t]] + step[(path[t] - path[t - 1] + 1) % 8]
    assert np.isclose(total, score.max())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: best([1.0], [1.0], over="real"), "picks"),
        (lambda: best([1.0], [1.0], 0), "from 1 to 64"),
        (lambda: best([1.0], [1.0], listed=True), "last axes"),
        (lambda: best([-1.0], [1.0], over="max-times"), "at least 0"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
