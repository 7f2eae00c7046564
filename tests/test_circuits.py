"""The circuit of recipes/circuits.py: its mass, its algebras, its prefixes, and the coder."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def circuits(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "recipes"))
    import circuits

    return circuits


def small(circuits, count=7, states=3, seed=0):
    return circuits.drawn(count, states, np.random.default_rng(seed))


@pytest.mark.parametrize(("count", "states"), [(2, 1), (7, 3), (10, 4)])
def test_the_mass_is_one_in_every_algebra(circuits, count, states):
    circuit, free = small(circuits, count, states), np.full(count, circuits.FREE)
    assert circuit.over("count").root(free)[0] == circuits.UNIT ** (2 * count - 1)
    assert math.isclose(circuit.over("real").root(free)[0], 1, rel_tol=1e-14)
    assert abs(circuit.over("log").root(free)[0]) < 1e-14
    every = np.array(list(itertools.product((0, 1), repeat=count)))
    assert sum(circuit.over("count").root(every)) == circuits.UNIT ** (2 * count - 1)


def test_real_log_and_whole_numbers_agree(circuits):
    circuit = small(circuits)
    evidence = np.array(list(itertools.product((0, 1, circuits.FREE), repeat=circuit.count)))
    exact = [value / circuits.UNIT ** (2 * circuit.count - 1) for value in circuit.over("count").root(evidence)]
    np.testing.assert_allclose(circuit.over("real").root(evidence), exact, rtol=1e-13)
    np.testing.assert_allclose(np.exp(circuit.over("log").root(evidence)), exact, rtol=1e-13)


def test_free_pixels_sum_and_over_max_times_pick(circuits):
    circuit = small(circuits, 6)
    for name, join in (("count", sum), ("max-times", max)):
        values = circuit.over(name)
        for known in itertools.product((0, 1, circuits.FREE), repeat=circuit.count):
            ways = [(v,) if v != circuits.FREE else (0, 1) for v in known]
            states = np.array(list(itertools.product(*ways)))
            assert values.root(np.array(known))[0] == join(values.root(states))


def test_the_largest_term_is_the_one_over_all_choices(circuits):
    """(max, ×) is the most probable state together with the choice of every sum, by enumeration of both."""
    circuit = small(circuits, 3, 2)
    (left, right), (low, high) = circuit.children[-1], circuit.children[0]
    assert {left, right} == {0, 3}
    assert (low, high) == (1, 2)
    inner, top = (w / circuits.UNIT for w in circuit.weights)
    leaf = circuit.leaves / circuits.UNIT
    largest = max(
        top[0, k] * leaf[0, x, k] * inner[k, j] * leaf[1, y, j] * leaf[2, z, j]
        for x, y, z, j, k in itertools.product((0, 1), repeat=5)
    )
    assert math.isclose(circuit.over("max-times").root(np.full(3, circuits.FREE))[0], largest, rel_tol=1e-14)


@pytest.mark.parametrize("count", [2, 5, 10])
def test_prefixes_equal_the_sum_over_what_may_follow(circuits, count):
    circuit = small(circuits, count, 2, seed=count)
    assert circuits.wrong_prefixes(circuit) == 0


def test_the_comparison_of_prefixes_sees_a_wrong_one(circuits, monkeypatch):
    real = circuits.Prefix.set
    monkeypatch.setattr(circuits.Prefix, "set", lambda self, pixel, value: real(self, pixel, value) + (pixel == 2))
    assert circuits.wrong_prefixes(small(circuits, 4)) == 8


def test_a_pixel_moves_only_the_regions_above_it(circuits):
    prefix = circuits.Prefix(small(circuits, 64, 2))
    for pixel in range(64):
        prefix.set(pixel, pixel % 2)
    assert prefix.computed == 64 * 6


def test_digits_come_back_bit_for_bit(circuits):
    from recipe import digits

    images = (digits(True)[2].numpy() > 0.5).reshape(-1, 64).astype(np.int64)[:4, circuits.in_order()]
    circuit = small(circuits, 64, 3)
    bits = circuits.coded(circuit, images)
    assert np.array_equal(circuits.decoded(circuit, bits, 4), images)
    ideal = -circuit.over("log").root(images).sum() / math.log(2)
    assert ideal - 1 < len(bits) < 1.001 * ideal + 34
    bits[len(bits) // 2] ^= 1
    assert not np.array_equal(circuits.decoded(circuit, bits, 4), images)


@pytest.mark.parametrize("ones", [1, 2**15, 2**16 - 1, None])
def test_the_coder_gives_back_what_came(circuits, ones):
    random = np.random.default_rng(3)
    of_one = random.integers(1, circuits.TOTAL, 5000) if ones is None else np.full(5000, ones)
    for symbols in (random.integers(0, 2, 5000), (random.random(5000) < of_one / circuits.TOTAL).astype(int)):
        code = circuits.encoded(zip(symbols.tolist(), of_one.tolist(), strict=True))
        decoder = circuits.Decoder(code)
        assert [decoder.bit(n) for n in of_one.tolist()] == symbols.tolist()
        share = np.where(symbols == 1, of_one, circuits.TOTAL - of_one) / circuits.TOTAL
        assert len(code) <= -np.log2(share).sum() + 3


def test_shares_become_whole_numbers_that_sum(circuits):
    shares = np.random.default_rng(0).dirichlet(np.full(9, 0.2), 100)
    whole = circuits.whole(shares)
    assert (whole.sum(1) == circuits.UNIT).all()
    assert whole.min() >= 1
    assert np.abs(whole / circuits.UNIT - shares).max() < 10 / circuits.UNIT


def test_learning_raises_the_likelihood(circuits):
    images = np.random.default_rng(0).integers(0, 2, (40, 8))
    images[:, 4:] = images[:, :4]
    found = [circuits.learnt(images, 4, rounds).over("log").root(images).mean() for rounds in (0, 3, 30)]
    assert found[0] < found[1] < found[2]


def test_pixels_are_ordered_by_halves(circuits):
    order = circuits.in_order()
    assert sorted(order) == list(range(64))
    for size in (4, 16):
        for first in range(0, 64, size):
            rows, columns = np.divmod(order[first : first + size], 8)
            assert np.ptp(rows) == np.ptp(columns) == math.isqrt(size) - 1
