"""Crops chosen by what they show: the bound on shifts by simulation, bitwise agreement, exact scores, cyclic classifiers."""

import pytest
import torch

from faltung import nn
from faltung.errors import ArgumentError


def bound(n, m):
    k = n - m + 1
    return (k - 1) / (k + 1)


def test_the_reference_bounds():
    assert [round(bound(256, m), 4) for m in (224, 192, 160, 112)] == [0.9412, 0.9697, 0.9796, 0.9863]


@pytest.mark.parametrize("k", [9, 33])
def test_the_bound_by_simulation(k):
    """Independent scores of k + 1 places, of which two views see k each: how often both choose the same."""
    scores = torch.rand(40_000, k + 1, generator=torch.Generator().manual_seed(k))
    first, second = scores[:, :-1].argmax(1), scores[:, 1:].argmax(1) + 1
    assert (first == second).double().mean().item() == pytest.approx((k - 1) / (k + 1), abs=0.015)


@pytest.mark.parametrize("score", ["mean", "contrast", "filter"])
def test_a_common_winner_gives_the_same_pixels_bit_for_bit(score):
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(64, 3, 21, 20, generator=generator)
    kind = torch.randn(6, 6, generator=generator) if score == "filter" else score
    layer = nn.CropSelect2d(6, kind)
    one, two = scene[..., :20, :], scene[..., 1:, :]
    here, there = layer.place(one), layer.place(two)
    common = ((here - torch.tensor([1, 0])) == there).all(1)
    assert common.sum() > 30
    assert torch.equal(layer(one)[common], layer(two)[common])
    shared = layer.scores(one)[:, 1:]
    assert torch.equal(shared, layer.scores(two)[:, :-1]), "a crop has one score, wherever it lies"


@pytest.mark.parametrize("score", ["mean", "contrast", "filter"])
def test_cyclic_classifiers_say_the_same_under_every_roll_bitwise(score):
    torch.manual_seed(0)
    kind = torch.randn(5, 5) if score == "filter" else score
    layers = (torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 3))
    model = torch.nn.Sequential(nn.CropSelect2d(5, kind, cyclic=True), *layers)
    x = torch.randn(4, 2, 9, 8)
    wanted = model(x)
    for row in range(9):
        for column in range(8):
            assert torch.equal(model(x.roll((row, column), (2, 3))), wanted)


def test_wrong_settings_are_refused():
    with pytest.raises(ArgumentError):
        nn.CropSelect2d(4, "best")
    with pytest.raises(ArgumentError):
        nn.CropSelect2d(4, [[1.0]])
    with pytest.raises(ArgumentError):
        nn.CropSelect1d(4)(torch.randn(1, 1, 3))
