"""Packed truth values: every shift, stride and boundary; what the filter holds changes the time only."""

import numpy as np
import pytest

import faltung
from faltung import Policy
from faltung.testing.conformance import check
from faltung.testing.problems import draw

ONLY = Policy(only="bits")


@pytest.mark.parametrize("chunk", range(3))
def test_bits_equal_the_definition(chunk):
    for seed in range(chunk * 60, (chunk + 1) * 60):
        problem = draw(7000 + seed, algebra="boolean")
        assert check(problem, "bits", seed=seed) == "right", problem.text


@pytest.mark.parametrize("taps", [1, 63, 64, 65, 129, 300])
@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 1000])
def test_rows_that_end_within_and_at_words(n, taps):
    random = np.random.default_rng(n + taps)
    x, k = random.random(n) < 0.2, random.random(taps) < 0.3
    wanted = np.convolve(x.astype(int), k.astype(int)) > 0
    assert np.array_equal(faltung.convolve(x, k, over="boolean", policy=ONLY), wanted)


def test_empty_filters_give_nothing_and_long_ones_are_planned_so():
    x = np.ones((300, 400), bool)
    assert not faltung.convolve(x, np.zeros((9, 9), bool), over="boolean", policy=ONLY).any()
    assert faltung.plan(x, np.ones((25, 25), bool), mode="same", policy=Policy(without=("window",))).method == "bits"


def test_the_support_of_a_product_is_that_of_the_boolean_one():
    """(n > 0) is a homomorphism from counting to truth values."""
    random = np.random.default_rng(2)
    x, k = (random.integers(0, 3, s) * (random.random(s) < 0.2) for s in ((40, 90), (6, 70)))
    assert np.array_equal(faltung.convolve(x, k) > 0, faltung.convolve(x > 0, k > 0, over="boolean", policy=ONLY))
