"""OrderAgnosticLoss: unbiased for the mean over all orders, by enumeration; its masks are drawn as the formula asks."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from faltung import nn
from faltung.errors import ArgumentError

D = 4
SETS = [frozenset(s) for n in range(D) for s in itertools.combinations(range(D), n)]


def conditionals(seed):
    """A model by table: a logit for every pixel given every set of others, and a target."""
    generator = torch.Generator().manual_seed(seed)
    table = {s: 2 * torch.randn(D, dtype=torch.float64, generator=generator) for s in SETS}
    return table, torch.rand(D, generator=generator, dtype=torch.float64).round()


def over_orders(table, target):
    """The chain rule's sum, averaged over all D! orders."""
    total = 0.0
    for order in itertools.permutations(range(D)):
        for n, i in enumerate(order):
            total += cross_entropy(table[frozenset(order[:n])][i], target[i])
    return total / math.factorial(D)


def over_masks(table, target, loss):
    """The estimate, averaged over all masks: n uniform, then the set."""
    total = 0.0
    for s in SETS:
        observed = torch.tensor([i in s for i in range(D)])
        total += loss(table[s], target, observed, len(s)) / (D * math.comb(D, len(s)))
    return total


def ours(logits, target, observed, n):
    return nn.OrderAgnosticLoss()(logits[None], target[None], observed[None])


def with_the_factor_of_the_reference(logits, target, observed, n):
    return ours(logits, target, observed, n) * (D - n) / (D - n + 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_over_masks_is_the_mean_over_orders(seed):
    table, target = conditionals(seed)
    wanted = over_orders(table, target)
    torch.testing.assert_close(over_masks(table, target, ours), wanted, rtol=1e-12, atol=0)
    too_low = 1 - over_masks(table, target, with_the_factor_of_the_reference) / wanted
    assert 0.2 < too_low < 0.5  # 1/5 of the first term to 1/2 of the last


def test_how_much_the_factor_of_the_reference_is_too_low():
    """With equal terms it loses the mean of 1/5, 1/4, 1/3, 1/2: 32 %. More where the last pixels are worth more: 36 % here."""
    equal = {s: torch.zeros(D, dtype=torch.float64) for s in SETS}
    target = torch.ones(D, dtype=torch.float64)
    wanted = over_orders(equal, target)
    low = 1 - over_masks(equal, target, with_the_factor_of_the_reference) / wanted
    assert low.item() == pytest.approx((1 / 5 + 1 / 4 + 1 / 3 + 1 / 2) / 4)
    # A pixel given n others costs n + 1: logits with -log sigmoid(l) = n + 1.
    rising = {s: torch.full((D,), -math.log(math.expm1(len(s) + 1)), dtype=torch.float64) for s in SETS}
    wanted = over_orders(rising, target)
    assert wanted.item() == pytest.approx(1 + 2 + 3 + 4)
    low = 1 - over_masks(rising, target, with_the_factor_of_the_reference) / wanted
    assert low.item() == pytest.approx(0.37, abs=0.01)


def test_masks_are_drawn_with_uniform_size_and_uniform_sets():
    drawn = nn.OrderAgnosticLoss.draw((60_000, 1, 2, 2), torch.Generator().manual_seed(0))
    assert drawn.shape == (60_000, 1, 2, 2)
    counts = {}
    for row in drawn.flatten(1).tolist():
        key = frozenset(i for i, seen in enumerate(row) if seen)
        counts[key] = counts.get(key, 0) + 1
    assert set(counts) == set(SETS)  # never all of them
    for s, count in counts.items():
        chance = 1 / (D * math.comb(D, len(s)))
        assert abs(count / 60_000 - chance) < 5 * math.sqrt(chance / 60_000)


def test_everything_observed_costs_nothing_and_reductions_reduce():
    logits, target = torch.randn(3, 2, 2), torch.rand(3, 2, 2).round()
    assert nn.OrderAgnosticLoss()(logits, target, torch.ones(3, 2, 2, dtype=torch.bool)) == 0
    observed = nn.OrderAgnosticLoss.draw((3, 2, 2), torch.Generator().manual_seed(1))
    each = nn.OrderAgnosticLoss("none")(logits, target, observed)
    torch.testing.assert_close(nn.OrderAgnosticLoss()(logits, target, observed), each.mean())
    torch.testing.assert_close(nn.OrderAgnosticLoss("sum")(logits, target, observed.float()), each.sum())
    with pytest.raises(ArgumentError):
        nn.OrderAgnosticLoss()(logits, target[:2], observed)
    with pytest.raises(ArgumentError):
        nn.OrderAgnosticLoss("median")
