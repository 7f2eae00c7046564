"""Winograd mathematics: exact identities, published matrices and numbers, and the error model held against measurement."""

from fractions import Fraction as F

import numpy as np
import pytest

from faltung import winograd
from faltung.errors import ArgumentError
from faltung.kernels.winograd.points import _fast_amplification
from faltung.kernels.winograd.table import TABLE

SIZES = [(m, r) for m in range(1, 13) for r in range(1, 13) if 2 <= m + r - 1 <= 14]
TENSOR_CORES = {"float16": 2.0**-11, "float32": 2.0**-24}


@pytest.mark.parametrize("fractions_in", ["G", "A", "B"])
@pytest.mark.parametrize("balanced", [False, True])
def test_identity_is_exact_for_every_size_and_placement(fractions_in: str, balanced: bool) -> None:
    for m, r in SIZES:
        t = winograd.transforms(m, r, fractions_in=fractions_in, balanced=balanced)
        assert winograd.certify(t.AT, t.G, t.BT), (m, r)


def test_certificate_rejects_a_wrong_matrix() -> None:
    t = winograd.transforms(4, 3)
    wrong = [list(row) for row in t.G]
    wrong[2][1] += F(1, 10**9)
    assert not winograd.certify(t.AT, tuple(map(tuple, wrong)), t.BT)
    assert not winograd.certify(t.AT, t.G, t.BT[::-1])


def test_classical_matrices() -> None:
    t = winograd.transforms(2, 3, (0, 1, -1))
    assert t.AT == ((1, 1, 1, 0), (0, 1, -1, 1))
    assert ((1, 0, 0), (F(1, 2), F(1, 2), F(1, 2)), (F(1, 2), F(-1, 2), F(1, 2)), (0, 0, 1)) == t.G
    assert t.BT == ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))
    t = winograd.transforms(4, 3, (0, 1, -1, 2, -2))
    assert t.BT[0] == (4, 0, -5, 0, 1, 0)
    assert t.G[3] == (F(1, 24), F(1, 12), F(1, 6))
    t = winograd.transforms(6, 3, (0, 1, -1, 2, -2, "1/2", "-1/2"))
    assert t.BT[0] == (1, 0, F(-21, 4), 0, F(21, 4), 0, -1, 0)
    assert t.G[5] == (F(32, 45), F(16, 45), F(8, 45))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((0, 1, -1, 2, -2), 42.472),
        ((0, 1, -1, 2, -2, 3, -3), 2074.5),
        ((0, 1, -1, 2, -2, 3, -3, 4, -4), 1.96900e5),
        (winograd.nova_points(4, 3), 14.546),
        (winograd.nova_points(6, 3), 76.639),
        (winograd.nova_points(8, 3), 474.1006),
    ],
)
def test_condition_numbers(points: tuple, expected: float) -> None:
    assert winograd.kappa(tuple(F(p) for p in points)) == pytest.approx(expected, rel=3e-5)


def test_nova_headline_ratios() -> None:
    ratio = winograd.kappa(tuple(map(F, (0, 1, -1, 2, -2, 3, -3, 4, -4)))) / winograd.kappa(winograd.nova_points(8, 3))
    assert ratio == pytest.approx(415.312, rel=1e-5)
    assert ratio**2 == pytest.approx(172484.1, rel=1e-5)


def _alpha(m: int, r: int, points: tuple) -> float:
    t = winograd.transforms(m, r, points)
    return winograd.amplification(t.AT, t.G, t.BT)


def test_amplification_of_known_sets() -> None:
    assert _alpha(2, 3, (0, 1, -1)) == pytest.approx(5 / 3, abs=1e-14)
    assert _alpha(4, 3, (0, 1, -1, 2, -2)) == pytest.approx(10.77, rel=1e-3)
    assert _alpha(4, 3, (0, F(2, 3), -F(2, 3), F(3, 2), -F(3, 2))) == pytest.approx(4.762, rel=1e-3)
    assert _alpha(6, 3, (0, F(1, 2), -F(1, 2), 1, -1, 2, -2)) == pytest.approx(20.63, rel=1e-3)
    assert _alpha(8, 3, winograd.nova_points(8, 3)) == pytest.approx(1669, rel=1e-3)
    assert _alpha(8, 3, winograd.points(8, 3)) == pytest.approx(114.6, rel=1e-3)


def test_amplification_ignores_powers_of_two() -> None:
    rng = np.random.default_rng(0)
    t = winograd.transforms(4, 3)
    scale = [(F(2) ** int(a), F(2) ** int(b)) for a, b in rng.integers(-5, 6, (6, 2))]
    at = tuple(tuple(v / (a * b) for v, (a, b) in zip(row, scale, strict=True)) for row in t.AT)
    g = tuple(tuple(v * a for v in row) for row, (a, _) in zip(t.G, scale, strict=True))
    bt = tuple(tuple(v * b for v in row) for row, (_, b) in zip(t.BT, scale, strict=True))
    assert winograd.certify(at, g, bt)
    assert winograd.amplification(at, g, bt) == pytest.approx(winograd.amplification(t.AT, t.G, t.BT), rel=1e-12)


def test_search_finds_novas_points_and_beats_them() -> None:
    assert winograd.kappa(winograd.points(8, 3, "kappa", 6)) == pytest.approx(474.1006, rel=1e-6)
    found = winograd.points(8, 3, "error", 5, search=True)
    assert max(p.denominator for p in found) <= 5
    assert _alpha(8, 3, found) <= 114.6
    dyadic = winograd.points(4, 3, "dyadic", 8)
    assert all(p.denominator & (p.denominator - 1) == 0 for p in dyadic)
    assert _alpha(4, 3, dyadic) == pytest.approx(4.780, rel=1e-3)


@pytest.mark.parametrize(("m", "r"), [(2, 3), (3, 3), (4, 3), (5, 3), (6, 3)])
def test_no_small_fraction_beats_the_table_by_much(m: int, r: int) -> None:
    found = winograd.points(m, r, "error", 8, search=True)
    assert _alpha(m, r, winograd.points(m, r)) <= 1.01 * _alpha(m, r, found)


def test_float_and_exact_amplification_agree() -> None:
    for count, points in TABLE.items():
        for r in (2, 3, 5):
            if count + 2 - r >= 1:
                fast = _fast_amplification(count + 2 - r, r, np.array([float(p) for p in points]))
                assert fast == pytest.approx(_alpha(count + 2 - r, r, points), rel=1e-9)


def test_integers_are_exact() -> None:
    rng = np.random.default_rng(1)
    q, t = winograd.transforms(2, 3, (0, 1, -1)).integral()
    at, g, bt = (np.array([[int(v) for v in row] for row in rows]) for rows in (t.AT, t.G, t.BT))
    assert q == 2
    d, k = rng.integers(-128, 128, (64, 4, 4)), rng.integers(-128, 128, (64, 3, 3))
    y = at @ np.sum((g @ k @ g.T) * (bt @ d @ bt.T), axis=0) @ at.T
    direct = sum(d[:, a : a + 2, b : b + 2] * k[:, a, b][:, None, None] for a in range(3) for b in range(3)).sum(axis=0)
    assert (y % q**2 == 0).all()
    assert np.array_equal(y // q**2, direct)


def measured_error(m: int, points: tuple, dtype: str) -> float:
    """Relative RMS error of a 64-channel 3×3 layer whose transformed operands are stored in `dtype`, products summed wide."""
    rng = np.random.default_rng(2)
    at, g, bt = winograd.transforms(m, 3, points, balanced=True).as_arrays()
    d, k = rng.normal(size=(200, 64, m + 2, m + 2)), rng.normal(size=(64, 3, 3)) * (2 / 576) ** 0.5
    d, k = d.astype(dtype).astype(float), k.astype(dtype).astype(float)
    stored = [(a @ v @ a.T).astype(dtype).astype(float) for a, v in ((g, k), (bt, d))]
    y = (at @ np.sum(stored[0] * stored[1], axis=1) @ at.T).astype(dtype).astype(float)
    exact = sum(d[:, :, a : a + m, b : b + m] * k[:, a, b][:, None, None] for a in range(3) for b in range(3)).sum(
        axis=1
    )
    return float(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("m", [2, 4, 6, 8])
def test_error_model_predicts_measured_error(m: int, dtype: str) -> None:
    points = winograd.points(m, 3)
    predicted = 2**0.5 * 0.42 * TENSOR_CORES[dtype] * _alpha(m, 3, points)
    assert predicted / 1.5 <= measured_error(m, points, dtype) <= predicted * 1.5


def test_nova_is_an_order_of_magnitude_less_accurate_at_8() -> None:
    ours, nova = (measured_error(8, p, "float16") for p in (winograd.points(8, 3), winograd.nova_points(8, 3)))
    assert nova > 8 * ours


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: winograd.transforms(0, 3), "at least 1"),
        (lambda: winograd.transforms(2, 3, (0, 1)), "3 distinct points"),
        (lambda: winograd.transforms(2, 3, (0, 1, 1)), "distinct"),
        (lambda: winograd.transforms(2, 3, fractions_in="C"), "fractions_in"),
        (lambda: winograd.points(4, 3, "beauty"), "objective"),
        (lambda: winograd.nova_points(2, 3), "5, 7, 9"),
    ],
)
def test_wrong_calls_say_what_was_expected(call, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        call()
