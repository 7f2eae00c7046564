"""The linear-time check: it accepts what is right and sees every wrong entry."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faltung import Policy, convolve, correlate, plan
from faltung.engine import verify
from faltung.errors import ArgumentError, RefusedError, VerificationError
from faltung.methods.blocks import BLOCKS
from faltung.planner import plan_problem
from faltung.planner.verify import MERSENNE, _prime, _whole
from faltung.testing.problems import draw, operands

EXACT = ("integer", "rational", "modular(4000000007)", f"modular({2**61 - 1})", f"modular({2**89 - 1})")


@pytest.mark.parametrize("algebra", [*EXACT, "real", "complex"])
def test_right_results_are_accepted_and_wrong_entries_seen(algebra):
    """Every mode, boundary, stride, dilation and pattern that the suite draws."""
    for seed in range(24 if algebra in ("real", "complex") else 60):
        problem = draw(seed, host="numpy", unknown="out", algebra=algebra)
        given_ = {name: a for name, a in operands(problem, seed).items() if name != "y"}
        made = plan_problem(problem)
        if problem.over.exact and problem.out_dtype not in _whole(problem):
            with pytest.raises(RefusedError, match="exact results"):
                made.check(*given_.values(), made(**given_))
            continue
        y = made(**given_)
        assert made.check(*given_.values(), y, seed=seed), problem.text
        wrong = y.copy()
        at = tuple(np.random.default_rng(seed).integers(n) for n in y.shape)
        if problem.over.exact:
            step = 1 if y.dtype == object or wrong[at] < np.iinfo(y.dtype).max else -1
            wrong[at] = wrong[at] + step
        elif problem.out_dtype[:3] in ("int", "uin"):
            continue
        else:
            verdict = made.check(*given_.values(), y, seed=seed)
            with np.errstate(over="ignore", invalid="ignore"):
                wrong[at] += np.asarray(3 * verdict.allowed + 1).astype(y.real.dtype)
        assert not made.check(*given_.values(), wrong, seed=seed), f"{problem.text}: misses a wrong entry at {at}"


def test_ten_thousand_corruptions_are_all_seen():
    random = np.random.default_rng(0)
    x, k = random.integers(-100, 100, 300), random.integers(-100, 100, 40)
    y = convolve(x, k)
    made = plan(x, k)
    for trial in range(10_000 // 50):
        wrong = y.copy()
        wrong[random.integers(y.size)] += random.integers(1, 1000)
        assert not made.check(x, k, wrong, seed=trial)


whole = st.integers(0, MERSENNE - 1)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(whole, whole)
def test_products_modulo_the_mersenne_prime_are_pythons(a, b):
    from faltung.planner.verify import _Prime

    field = _Prime(MERSENNE)
    left, right = np.array([a], np.uint64), np.array([b], np.uint64)
    assert int(field.mul(left, right)[0]) == a * b % MERSENNE
    assert int(field.sub(left, right)[0]) == (a - b) % MERSENNE
    many = np.full(1000, a, np.uint64)
    assert int(field.total(many)) == 1000 * a % MERSENNE
    assert int(field.running(many)[-1]) == 1000 * a % MERSENNE


def test_primes():
    assert [n for n in range(2, 60) if _prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]
    assert not _prime(3_215_031_751)  # a strong pseudoprime to the bases 2, 3, 5 and 7
    assert _prime(2**127 - 1)


def test_a_policy_checks_every_result(monkeypatch):
    checked = Policy(only=("blocks",), verify=True)
    x, k = np.arange(50), np.arange(7)
    assert (convolve(x, k, policy=checked) == np.convolve(x, k)).all()
    right = type(BLOCKS).run

    def wrong(self, problem, operands, prepared, context):
        y = right(self, problem, operands, prepared, context)
        y[..., 3] += 1
        return y

    monkeypatch.setattr(type(BLOCKS), "run", wrong)
    with pytest.raises(VerificationError, match="verify blocks"):
        convolve(x, k, policy=checked)
    assert convolve(x, k, policy=Policy(only=("blocks",)))[3] == np.convolve(x, k)[3] + 1


def test_floats_that_are_not_finite_have_nothing_to_compare():
    y = convolve([1.0, np.nan], [1.0, 2.0], policy=Policy(verify=True))
    assert np.isnan(y).any()


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(RefusedError, match="over a ring"):
        verify([1.0, 2.0], [1.0], [0.0, 1.0], over="max-plus")
    with pytest.raises(RefusedError, match="on a grid"):
        convolve([1, 2], [1, 2], on="or", policy=Policy(verify=True))
    with pytest.raises(RefusedError, match="modulo 7"):
        verify([1], [1], [1], over="modular(7)")
    with pytest.raises(ArgumentError, match="shape"):
        verify([1, 2], [1, 2], [1, 2])


def test_the_door_to_it():
    x = np.array([Fraction(1, 2), 3], object)
    y = correlate(x, x, over="rational")
    verdict = verify(y, x, x, flip=False, over="rational", repeats=2)
    assert verdict
    assert verdict.missed < 1e-30
    y[0] += Fraction(1, 10**30)
    assert not verify(y, x, x, flip=False, over="rational")
