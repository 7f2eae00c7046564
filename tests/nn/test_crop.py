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


def agreed(layer, scene, k, moved):
    """How often the layer finds the same place of scenes in two views of k samples an axis, the second `moved` along."""
    one, two = (scene[(..., *(slice(m, m + k) for m in start))] for start in ((0,) * len(moved), moved))
    return (layer.place(one) == layer.place(two) + torch.tensor(moved)).all(1).double().mean().item()


@pytest.mark.parametrize("k", [9, 33])
def test_the_bound_by_simulation(k):
    """Independent scores: pixels themselves as crops of one, so that two views see k places each, all but one in common."""
    scene = torch.rand(40_000, 1, k + 1, generator=torch.Generator().manual_seed(k)) * 2**16
    found = agreed(nn.CropSelect1d(1), scene, k, (1,))
    assert found == pytest.approx((k - 1) / (k + 1), abs=0.015)
    assert abs(found - (k - 1) / k) > 0.015 or k > 9, "what the winner's place alone would say is another number"


@pytest.mark.parametrize("k", [5, 17])
def test_the_diagonal_bound_by_simulation(k):
    """Along both axes at once fewer places are common, and a winner among all is in both views less often."""
    scene = torch.rand(8_000, 1, k + 1, k + 1, generator=torch.Generator().manual_seed(k)) * 2**16
    found = agreed(nn.CropSelect2d(1), scene, k, (1, 1))
    assert found == pytest.approx((k - 1) ** 2 / (2 * k * k - (k - 1) ** 2), abs=0.015)


def test_a_model_behind_resized_crops():
    """The model sees the resized crop of the layer without it; resizing is torch's linear one; its parameters are the layer's."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * 8 * 7, 3))
    x = torch.randn(4, 2, 9, 10)
    for cyclic in (False, True):
        crop = nn.CropSelect2d((5, 6), cyclic=cyclic)
        layer = nn.CropSelect2d((5, 6), cyclic=cyclic, resize=(8, 7), model=net)
        seen = torch.nn.functional.interpolate(crop(x), (8, 7), mode="bilinear", align_corners=False)
        assert torch.allclose(layer(x), net(seen), atol=1e-6)
        assert torch.allclose(nn.CropSelect2d((5, 6), cyclic=cyclic, resize=(8, 7)).definition(x), seen if not cyclic else
                              torch.nn.functional.interpolate(crop.definition(x), (8, 7), mode="bilinear"), atol=1e-6)  # fmt: skip
    assert layer.parameter_count() == sum(p.numel() for p in net.parameters())
    wanted = layer(x)
    for row, column in ((1, 0), (4, 7), (8, 9)):
        assert torch.equal(layer(x.roll((row, column), (2, 3))), wanted)
    layer(x).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_module_gives_scores(cyclic):
    """A small network without padding judges every crop; the winner is the one it likes best by itself."""
    torch.manual_seed(0)
    judge = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, (2, 3))).double()
    layer, x = nn.CropSelect2d((4, 5), judge, cyclic), torch.randn(3, 2, 7, 8).double()
    assert torch.equal(layer(x), layer.definition(x))
    whole = torch.nn.functional.pad(x, (0, 4, 0, 3), mode="circular") if cyclic else x
    assert torch.equal(layer.place(x)[:, 0] * whole.shape[3] + layer.place(x)[:, 1],
                       torch.nn.functional.pad(judge(whole)[:, 0], (0, 4), value=-9e9).flatten(1).argmax(1))  # fmt: skip
    with pytest.raises(ArgumentError, match="one for every crop"):
        nn.CropSelect2d((4, 4), judge)(x)


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
    with pytest.raises(ArgumentError):
        nn.CropSelect1d(4, model="net")
    with pytest.raises(ArgumentError):
        nn.CropSelect1d(4, resize=0)


def test_shapes_are_those_of_the_models_result():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 7, 3, stride=2), torch.nn.BatchNorm2d(7), torch.nn.Flatten())
    for dtype in (torch.float32, torch.float64):
        layer = nn.CropSelect2d((5, 6), resize=(8, 7), model=net.to(dtype))
        x = torch.randn(2, 3, 9, 10, dtype=dtype)
        before = {name: value.clone() for name, value in net.state_dict().items()}
        assert layer.shapes((2, 3, 9, 10)) == (2, 7 * 3 * 3)
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert net.training
        assert tuple(layer(x).shape) == layer.shapes(tuple(x.shape))


class Counted(torch.nn.Module):
    def forward(self, x):
        return x[x > 0]


def test_shapes_that_values_decide_are_not_made_up():
    with pytest.raises(ArgumentError, match="follows from its input's"):
        nn.CropSelect1d(3, model=Counted()).shapes((1, 1, 5))
