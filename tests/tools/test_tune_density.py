"""The search finds the least loss within its budget and says what it tried."""

import math

import pytest

from faltung.errors import ArgumentError
from faltung.tools import tune_density


@pytest.mark.parametrize(("taps", "best"), [(3, [0.8]), (5, [0.4, 1.1]), (7, [0.2, 0.7, 0.6])])
def test_it_finds_the_density_of_a_smooth_loss(taps, best):
    found = tune_density(lambda d: sum((a - b) ** 2 for a, b in zip(d, best, strict=True)), taps, budget=200)
    assert found.density == pytest.approx(best, abs=0.06)
    assert found.loss == min(loss for _, loss in found.tried)
    assert (found.density, found.loss) in found.tried


def test_every_training_is_counted_and_none_is_repeated():
    calls = []
    found = tune_density(lambda d: calls.append(d) or math.sin(20 * d[0]), 3, [(0.0, 2.0)], budget=17)
    assert len(calls) <= 17
    assert len(found.tried) == len(calls) == len({tuple(d) for d in calls})
    assert calls[0] == [1.0]  # the middle
    assert all(0 <= d[0] <= 2 for d in calls)
    again = tune_density(lambda d: math.sin(20 * d[0]), 3, [(0.0, 2.0)], budget=17)
    assert again == found


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((1,), "odd number"), ((4,), "odd number"), ((9,), "auto"), ((3, [(0, 1), (0, 1)]), "pairs"), ((3, [(1, 0)]), "pairs"),
        ((3, "auto", 2), "at least 3"),
    ],
)  # fmt: skip
def test_wrong_calls_are_refused(arguments, word):
    with pytest.raises(ArgumentError, match=word):
        tune_density(lambda d: 0.0, *arguments)


def test_a_training_that_fails_is_said():
    with pytest.raises(ArgumentError, match="lower the learning rate"):
        tune_density(lambda d: math.nan, 3)
